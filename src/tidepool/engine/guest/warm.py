"""What a preloaded interpreter relies on, and whether a run may be forked from it: one decision, as a pure function.

The rule: only if the forked program could not tell the interpreter from a fresh one. What differs (a variable, a file
with a module's name, a changed package) is answered with a sentence, and the caller starts the real interpreter.
"""

import itertools
import os
import site
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from tidepool.engine.guest import imports

Stamp = tuple[int, int]
"""Times of modification and of status change, in nanoseconds; nobody can set the second.

Not the inode: zygote and sandbox see the same directory through overlays of their own, which number it anew.
"""
_MAX_ENTRIES = 2_000
"""Of a work directory: more are not looked through, a fresh start is cheaper."""


@dataclass(frozen=True)
class Warm:
    """What a preloaded interpreter relies on."""

    environment: Mapping[str, str]
    """The variables it started with."""
    variables: frozenset[str]
    """Those that preloaded modules looked at while they were imported."""
    names: frozenset[str]
    """Top-level names of preloaded modules that a file in `sys.path[0]` would win over."""
    directories: Mapping[str, Stamp | None]
    """Where modules came from or might come from, and each .pth file, as it was; None: there was none."""
    files: Mapping[str, Stamp | None]
    """The modules' own files, as they were."""
    owners: frozenset[int]
    """User ids that may change those files in place."""
    user_site: str | None
    """The user's own site-packages, below HOME; None: this interpreter looks at none."""


_current: Warm | None = None


def settle() -> None:
    """Remember the present state as what later runs are compared with: the last act of a preload."""
    global _current
    _current = survey()


def is_settled() -> bool:
    """Whether anything is preloaded here that a run could be forked from."""
    return _current is not None


def survey() -> Warm:
    """The present state of this interpreter, whose modules `imports` has hidden."""
    record = imports.RECORD
    files = {file for module in (*record.fresh.values(), *record.hidden.values()) if (file := _file(module))}
    directories = {os.path.dirname(file) for file in files} | set(record.path)
    for path in record.path:
        if os.path.isdir(path):
            directories |= {os.path.join(path, name) for name in os.listdir(path) if name.endswith(".pth")}
    owners = frozenset(os.stat(path).st_uid for path in directories | files if os.path.exists(path))
    user_site = None
    if site.ENABLE_USER_SITE:
        user_site = f".local/lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    return Warm(
        environment=record.environment,
        variables=frozenset(record.read_variables),
        names=frozenset(name for name, module in record.hidden.items() if "." not in name and _file(module)),
        directories={path: stamp_of(path) for path in sorted(directories)},
        files={path: stamp_of(path) for path in sorted(files)},
        owners=owners | {0},
        user_site=user_site,
    )


def _file(module: object) -> str | None:
    found = getattr(module, "__file__", None)
    return found if isinstance(found, str) else None


def stamp_of(path: str) -> Stamp | None:
    """What tells one state of a file or directory from the next; None if there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ctime_ns


def obstacle(
    state: Warm, env: Mapping[str, str], entries: Iterable[str], uid: int, now: Callable[[str], Stamp | None]
) -> str:
    """Why a run with this environment, and these names in `sys.path[0]`, must not be forked; empty if it may be.

    `now` tells the present stamp of a path.
    """
    for key in {*env, *state.environment}:
        if _rules_the_start(key) and env.get(key) != state.environment.get(key):
            return f"{key} differs: the interpreter looks at it when it starts"
    for key in state.variables:
        if env.get(key) != state.environment.get(key):
            return f"{key} differs: a preloaded module looked at it when it was imported"
    for entry in entries:
        name, dot, _ = entry.partition(".")
        if name in state.names and (not dot or entry.endswith((".py", ".pyc", ".so"))):
            return f"{entry} in sys.path[0] has the name of a preloaded module"
    if state.user_site is not None and now(os.path.join(env.get("HOME", "/"), state.user_site)) is not None:
        return "the user has a site-packages directory of their own"
    # In place, only its owner and root can change a file; every other change shows in its directory.
    paths = {**state.directories, **(state.files if uid in state.owners else {})}
    for path, stamp in paths.items():
        if now(path) != stamp:
            return f"{path} has changed since the preload"
    return ""


def _rules_the_start(variable: str) -> bool:
    return variable.startswith(("PYTHON", "LC_")) or variable in ("LANG", "LANGUAGE")


def why_not_fork(env: Mapping[str, str], place: str, uid: int) -> str:
    """Why a run may not be forked from this interpreter, in a sentence; empty if it may be."""
    if _current is None:
        return "nothing is preloaded"
    try:
        with os.scandir(place) as found:
            entries = [entry.name for entry in itertools.islice(found, _MAX_ENTRIES + 1)]
    except OSError as error:
        return f"{place}: {error.strerror}"
    if len(entries) > _MAX_ENTRIES:
        return f"{place} has more than {_MAX_ENTRIES} entries"
    return obstacle(_current, env, entries, uid, stamp_of)
