"""Builds Dockerfiles: each stage in a throw-away sandbox, frozen into an image that is named by its content.

The key of an action is made from the key before it, the action and the content it copies. A stage starts from the last
of its keys that is an image already; nothing is run when that is the last one. Images are one tenant's. A long step is
frozen on the way.
"""

import asyncio
import contextlib
import hashlib
import os
import posixpath
import tempfile
import time
import weakref
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import msgspec

from tidepool.engine import Command, Engine, ExecResult, Limits, Sandbox, SandboxSpec, Verdict
from tidepool.engine.errors import NotFound
from tidepool.images import copying, standin
from tidepool.images.bases import Base, Bases, Say
from tidepool.images.contexts import Entry, Tree
from tidepool.images.dockerfile import Dockerfile, parse
from tidepool.images.errors import BadDockerfile, BadImage, BuildFailed
from tidepool.images.plan import Action, base_of, globals_of, plan_of

TENANT = "tidepool-builds"
"""Owner of build sandboxes: no user's list shows them."""
STEP_TIMEOUT_S = 1800.0
MAX_BUILDS = 2
"""Of one tenant at the same time; others wait."""
WORTH_KEEPING_S = 1.0
"""A step that took longer is frozen on the way, so that other files that begin the same need not repeat it."""
_FORMAT = 1
_GIB = 1 << 30
_BUILT = "build-"
_MAX_LINE = 4000
_TAIL_LINES = 20
_MAX_EXPORT = 4 << 30
_RUN_ENV = {"PIP_NO_CACHE_DIR": "1", "PIP_ROOT_USER_ACTION": "ignore", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
"""For the time of a build: what a cache would leave in the image helps nobody."""


@dataclass(frozen=True)
class Built:
    """What came of a Dockerfile."""

    base: Base
    """The image and how it is run; its image is empty when no step changed the local base."""
    bytes: int
    """Of its own files; 0 where nothing was changed, or it was built by an earlier process."""
    was_cached: bool
    """Whether no step had to be run."""


class Builder:
    """All builds of one server.

    Args:
        engine: Runs the steps and keeps the images.
        place: A directory for what is under way; must exist.
        bases: Knows what FROM names.
    """

    def __init__(self, engine: Engine, place: Path, bases: Bases) -> None:
        self.engine = engine
        self.place = place
        self.bases = bases
        self._slots: weakref.WeakValueDictionary[str, asyncio.Semaphore] = weakref.WeakValueDictionary()
        self._locks: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()
        self.sizes: dict[str, int] = {}

    async def build(self, text: str, contexts: Sequence[Path], tenant: str, say: Say) -> Built:
        """Build a Dockerfile's last stage, with the stages that it needs.

        Args:
            text: The Dockerfile.
            contexts: Tars with the files that COPY names.
            tenant: Whose snapshots FROM may name, and whose the image is.
            say: Told every line of the log.

        Raises:
            BadDockerfile, BadImage: It cannot be built; nothing was run for what is wrong with the text of a stage.
            BuildFailed: A step failed; the message has the step, its exit code and its last output.
            RegistryUnavailable, NoCapacity, SetupFailed, SandboxLost.
        """
        file = parse(text)
        async with self._slots.setdefault(tenant, asyncio.Semaphore(MAX_BUILDS)):
            tree = await asyncio.to_thread(Tree, list(contexts))
            with tree:
                build = _Build(self, file, tree, tenant, say)
                base = await build.stage(len(file.stages) - 1)
        return Built(base, self.sizes.get(base.image, 0), not build.has_run)

    def lock(self, image: str) -> asyncio.Lock:
        """Held by who makes this image: callers at the same time share one build."""
        return self._locks.setdefault(image, asyncio.Lock())


@dataclass
class _Build:
    """One Dockerfile under way."""

    builder: Builder
    file: Dockerfile
    context: Tree
    tenant: str
    say: Say
    has_run: bool = False
    _done: dict[int, Base] = field(default_factory=dict)

    async def stage(self, number: int) -> Base:
        """A stage as a base, built if it has to be."""
        if number not in self._done:
            self._done[number] = await self._stage(number)
        return self._done[number]

    async def _stage(self, number: int) -> Base:
        stage, escape = self.file.stages[number], self.file.escape
        values = globals_of(self.file)
        name = base_of(stage, values, escape)
        self.say(f"FROM {name}" + (f" AS {stage.name}" if stage.name else ""))
        base = await self._named(name, number)
        plan = plan_of(stage, base.config, values, escape)
        identity = _digest([_FORMAT, self.tenant, base.identity])
        if not plan.actions:
            return Base(base.image, plan.config, _digest([identity, _plain(plan.config)]), base.is_local)
        keys = [identity]
        for action in plan.actions:
            keys.append(_digest([keys[-1], action.fingerprint, await self._content(action, number)]))
        image = _BUILT + keys[-1]
        async with self.builder.lock(image):
            await self._make(number, base, plan.actions, [_BUILT + key for key in keys[1:]])
        return Base(image, plan.config, _digest([keys[-1], _plain(plan.config)]), base.is_local)

    async def _named(self, name: str, before: int) -> Base:
        """An earlier stage by name or number, else a base."""
        for number in reversed(range(before)):
            if name.lower() in (self.file.stages[number].name, str(number)):
                return await self.stage(number)
        return await self.builder.bases.resolve(name, self.tenant, self.say)

    async def _content(self, action: Action, number: int) -> str:
        """What decides beside the Dockerfile what an action does: the files it copies."""
        if action.step.keyword not in ("COPY", "ADD"):
            return ""
        if action.origin:
            return (await self._named(action.origin, number)).identity
        return await asyncio.to_thread(self.context.digest, _matched(self.context, action))

    async def _make(self, number: int, base: Base, actions: Sequence[Action], images: Sequence[str]) -> None:
        known = await self.builder.engine.stored("images")
        start = next((n for n in range(len(images), 0, -1) if images[n - 1] in known), 0)
        for at, action in enumerate(actions[:start], 1):
            self.say(f"Step {at}/{len(actions)}: {_shown(action)} (cached)")
        if start == len(actions):
            return
        self.has_run = True
        engine = self.builder.engine
        sandbox = await engine.create(_spec(images[start - 1] if start else base.image))
        try:
            for at, action in enumerate(actions[start:], start + 1):
                title = f"Step {at}/{len(actions)}: {_shown(action)}"
                self.say(title)
                begun = time.monotonic()
                await self._do(sandbox, action, title, number, base)
                if at < len(actions) and time.monotonic() - begun > WORTH_KEEPING_S:
                    await engine.freeze(sandbox, images[at - 1])
            self.builder.sizes[images[-1]] = size = await engine.freeze(sandbox, images[-1])
            self.say(f"the image has {size} bytes of its own")
        finally:
            await engine.delete(sandbox)

    async def _do(self, sandbox: Sandbox, action: Action, title: str, number: int, base: Base) -> None:
        if action.step.keyword == "WORKDIR":
            await sandbox.files.make_folder(action.destination)
        elif action.step.keyword == "RUN":
            await self._run(sandbox, action, title, base)
        elif action.origin:
            origin = await self._named(action.origin, number)
            async with self._export(origin, action) as tree:
                count = await copying.copy(sandbox, action, tree, _matched(tree, action))
            self.say(f"{count} files")
        else:
            sources = _matched(self.context, action)
            self.say(f"{await copying.copy(sandbox, action, self.context, sources)} files")

    async def _run(self, sandbox: Sandbox, action: Action, title: str, base: Base) -> None:
        argv = action.argv
        if base.is_local and action.step.argv is None:
            rest = self._without_packages(action)
            if not rest:
                return
            argv = (*argv[:-1], rest)
        if action.step.heredocs and argv[-1].startswith("#!"):
            path = f"/tmp/.run-{action.step.line}"
            await sandbox.files.write(path, argv[-1].encode())
            await sandbox.files.set_permissions(path, 0o755)
            argv = (path,)
        before, env = await _become(sandbox, action)
        command = Command(
            argv=(*before, *argv),
            cwd=action.work_dir,
            env={**_RUN_ENV, **env, **action.env},
            timeout_s=STEP_TIMEOUT_S,
            max_output_bytes=1 << 20,
        )
        result, tail = await self._follow(sandbox, command)
        if argv[0].startswith("/tmp/.run-"):
            with contextlib.suppress(NotFound):
                await sandbox.files.delete(argv[0])
        if result.verdict is Verdict.NOT_STARTED and before:
            raise BuildFailed(
                f"{title}: USER {action.user} needs the program setpriv (util-linux), which the image does not have"
            )
        if not result.succeeded:
            raise BuildFailed(
                f"{title} (line {action.step.line}) {_ending(result)}: " + "\n".join(tail)[-2000:]
            )

    def _without_packages(self, action: Action) -> str:
        """What is left to run of a script on the local base, which has no package manager of the system."""
        split = standin.split_script(action.argv[-1])
        lost = standin.missing(split.packages)
        if lost and not set(split.packages) <= standin.PREAMBLE:
            raise BuildFailed(
                f"line {action.step.line}: {', '.join(lost)} cannot be installed: the local base has no package "
                "manager of the system and this host has no such programs; install them on the host, or set up a "
                "registry to build from a real image"
            )
        for name in split.packages:
            self.say(
                f"{name}: not there, and left out" if name in lost else f"{name}: part of the local base"
            )
        if split.rest != action.argv[-1] and not split.packages:
            self.say("nothing to do: the local base has no package manager of the system")
        return split.rest

    async def _follow(self, sandbox: Sandbox, command: Command) -> tuple[ExecResult, list[str]]:
        """Run it with its output told line by line; the result and the last lines."""
        tail: deque[str] = deque(maxlen=_TAIL_LINES)
        lines = {"stdout": b"", "stderr": b""}

        def tell(data: bytes) -> None:
            text = "".join(c for c in data.decode(errors="replace").rstrip() if c.isprintable() or c == "\t")
            tail.append(text[:_MAX_LINE])
            self.say(text[:_MAX_LINE])

        output = cast("AsyncGenerator[tuple[str, bytes] | ExecResult]", sandbox.stream(command))
        async with contextlib.aclosing(output) as stream:
            async for item in stream:
                if isinstance(item, ExecResult):
                    for left in lines.values():
                        if left:
                            tell(left)
                    return item, list(tail)
                *whole, lines[item[0]] = (lines[item[0]] + item[1]).split(b"\n")
                for line in whole:
                    tell(line)
                if len(lines[item[0]]) > _MAX_LINE:
                    tell(lines[item[0]])
                    lines[item[0]] = b""
        raise BuildFailed("a step of the build ended without a result")

    @contextlib.asynccontextmanager
    async def _export(self, origin: Base, action: Action) -> AsyncGenerator[Tree]:
        """Files of another stage or image, as a context."""
        with tempfile.TemporaryDirectory(prefix="build-", dir=self.builder.place) as work:
            target = Path(work) / "tar"
            sandbox = await self.builder.engine.create(_spec(origin.image))
            try:
                await _pack(sandbox, [_fixed(source) for source in action.sources], target, action)
            finally:
                await self.builder.engine.delete(sandbox)
            with await asyncio.to_thread(Tree, [target]) as tree:
                yield tree


def _matched(tree: Tree, action: Action) -> list[Entry]:
    found: list[Entry] = []
    for source in action.sources:
        entries = tree.match(source)
        if not entries:
            raise BadDockerfile(action.step.line, f"{source[:200]!r} is not in the context")
        found += entries
    return found


def _fixed(pattern: str) -> str:
    """The part of a path before anything that matches more than itself."""
    parts = posixpath.normpath("/" + pattern).lstrip("/").split("/")
    fixed = []
    for part in parts:
        if any(character in part for character in "*?["):
            break
        fixed.append(part)
    return "/".join(fixed) or "."


async def _pack(sandbox: Sandbox, names: Sequence[str], target: Path, action: Action) -> None:
    command = Command(argv=("tar", "-C", "/", "-cf", "-", "--", *names), timeout_s=STEP_TIMEOUT_S)
    output = cast("AsyncGenerator[tuple[str, bytes] | ExecResult]", sandbox.stream(command))
    size = 0
    with target.open("wb") as file:
        async with contextlib.aclosing(output) as stream:
            async for item in stream:
                if isinstance(item, ExecResult):
                    if not item.succeeded:
                        why = item.stderr[-500:].decode(errors="replace").strip()
                        raise BuildFailed(
                            f"line {action.step.line}: --from={action.origin}: {why or _ending(item)}"
                        )
                elif item[0] == "stdout":
                    size += len(item[1])
                    if size > _MAX_EXPORT:
                        raise BadImage(
                            f"line {action.step.line}: more than {_MAX_EXPORT} bytes are to be copied"
                        )
                    file.write(item[1])


async def _become(sandbox: Sandbox, action: Action) -> tuple[tuple[str, ...], dict[str, str]]:
    """What is put before a program that runs as USER says, and the environment that goes with it."""
    name, _, group = action.user.partition(":")
    if name in ("", "0", "root"):
        return (), {"HOME": "/root", "USER": "root", "LOGNAME": "root"}
    found = _account((await sandbox.files.read("/etc/passwd")).decode(errors="replace"), name)
    if found is None:
        raise BadDockerfile(action.step.line, f"the image has no user {name[:80]}")
    uid, gid, home = found
    words = ("setpriv", "--reuid", uid, "--regid", group or gid, "--clear-groups", "--")
    return words, {"HOME": home, "USER": name, "LOGNAME": name}


def _account(passwd: str, name: str) -> tuple[str, str, str] | None:
    """Uid, gid and home of a name or number; a number needs no entry."""
    for line in passwd.splitlines():
        fields = line.split(":")
        if len(fields) >= 6 and name in (fields[0], fields[2]):
            return fields[2], fields[3], fields[5] or "/"
    return (name, name, "/") if name.isdecimal() else None


def _ending(result: ExecResult) -> str:
    words = {
        Verdict.TIMED_OUT: f"took longer than {STEP_TIMEOUT_S:.0f} s",
        Verdict.OUT_OF_MEMORY: "needed more memory than a build has",
        Verdict.NOT_STARTED: f"could not be started (exit code {result.exit_code})",
        Verdict.LOST: "ended with its sandbox",
    }
    return words.get(result.verdict, f"ended with exit code {result.exit_code}")


def _shown(action: Action) -> str:
    return str(action.step)[:500]


def _spec(image: str) -> SandboxSpec:
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    memory = min(max(free // 2, _GIB), 8 * _GIB)
    limits = Limits(cpu=2.0, memory_bytes=memory, disk_bytes=memory * 3 // 4)
    return SandboxSpec(
        tenant=TENANT,
        user="root",
        network="packages",
        image=image,
        limits=limits,
        ephemeral=True,
        work_dir="/",
    )


def _plain(config: object) -> object:
    return msgspec.to_builtins(config)


def _digest(facts: list[object]) -> str:
    return hashlib.sha256(msgspec.json.encode(facts)).hexdigest()[:48]
