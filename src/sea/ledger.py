"""What happened to a library's files: changes that can be shown before and undone after, versions, uses.

A change is written to the journal before the first file is touched, each file is replaced by a rename, and a file that
a person edited is never among them. Which tools there are and what is in them is for `sea.library`.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

JOURNAL = "journal"
USES = "uses.jsonl"
LEDGER = "ledger.json"
STATES = ("candidate", "active", "deprecated", "archived")
Files = dict[str, str | None]
"""Path below the library to its text; None: not there."""


class CannotUndo(Exception):
    """There is nothing to undo, or undoing would lose what a person wrote; the message says which file."""


@dataclass(frozen=True)
class Change:
    """One change of a library, whole."""

    what: str
    files: Files

    def lines(self, directory: Path) -> list[str]:
        """What it would do, one line a file, in order."""
        words = []
        for name, text in sorted(self.files.items()):
            before = read(directory / name)
            if before != text:
                words.append(
                    f"{'remove' if text is None else 'write' if before is None else 'change'} {name}"
                )
        return words


@dataclass
class Uses:
    """What calls of one tool are known."""

    calls: int = 0
    saved_tokens: int = 0


def digest(text: str) -> str:
    """The content address of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def read(path: Path) -> str | None:
    """A file's text; None when there is no such file. Bytes that are no UTF-8 are kept as surrogates."""
    try:
        return path.read_bytes().decode("utf-8", "surrogateescape")
    except (FileNotFoundError, NotADirectoryError):
        return None


def write(path: Path, text: str) -> None:
    """A file's text, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(text.encode("utf-8", "surrogateescape"))
    temporary.rename(path)


@contextmanager
def alone(directory: Path) -> Iterator[None]:
    """No other process changes this library meanwhile; waits for one that does."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def apply(directory: Path, change: Change) -> None:
    """Make a change; nothing is written when nothing would differ."""
    with alone(directory):
        _apply(directory, change)


def _apply(directory: Path, change: Change) -> None:
    before = {name: read(directory / name) for name in change.files}
    files = {name: text for name, text in change.files.items() if before[name] != text}
    if not files:
        return
    entry = {
        "what": change.what,
        "before": {name: before[name] for name in sorted(files)},
        "after": {name: None if text is None else digest(text) for name, text in sorted(files.items())},
    }
    number = int(_entries(directory)[-1].stem) + 1 if _entries(directory) else 1
    write(directory / JOURNAL / f"{number:06}.json", json.dumps(entry, indent=1, ensure_ascii=True) + "\n")
    _put(directory, files)


def _put(directory: Path, files: Files) -> None:
    for name in in_order(files):
        text = files[name]
        if text is not None:
            write(directory / name, text)
        else:
            (directory / name).unlink(missing_ok=True)
            _prune(directory / name, directory)


def in_order(files: Files) -> list[str]:
    """New tools, then what names them, then what goes: a reader never finds a name without its file. Pure."""
    return sorted(files, key=lambda name: (files[name] is None, "/" not in name, name))


def _prune(path: Path, directory: Path) -> None:
    """Remove folders that became empty; compiled files do not count."""
    for folder in path.parents:
        if folder == directory or not folder.is_dir():
            return
        cache = folder / "__pycache__"
        if {entry.name for entry in folder.iterdir()} - {"__pycache__"}:
            return
        if cache.is_dir():
            for compiled in cache.iterdir():
                compiled.unlink()
            cache.rmdir()
        folder.rmdir()


def _entries(directory: Path) -> list[Path]:
    return sorted((directory / JOURNAL).glob("*.json"))


def history(directory: Path) -> list[str]:
    """What was done, the oldest first."""
    return [str(json.loads(path.read_text())["what"]) for path in _entries(directory)]


def last(directory: Path) -> Change:
    """The change that takes the last one back.

    Raises:
        CannotUndo: There is none, or a file was edited since.
    """
    entries = _entries(directory)
    if not entries:
        raise CannotUndo(f"{directory}: there is nothing to undo")
    entry: dict[str, Any] = json.loads(entries[-1].read_text())
    for name, after in entry["after"].items():
        now, before = read(directory / name), entry["before"][name]
        if now != before and (None if now is None else digest(now)) != after:
            raise CannotUndo(
                f"{directory / name} was edited after `{entry['what']}`, which is therefore not undone; "
                "move the file away or put it back as it was"
            )
    return Change(f"undo {entry['what']}", dict(entry["before"]))


def undo(directory: Path) -> Change:
    """Take the last change back; a change that was cut short is taken back too.

    Raises:
        CannotUndo: There is none, or a file was edited since.
    """
    with alone(directory):
        change = last(directory)
        _put(directory, {name: text for name, text in change.files.items() if read(directory / name) != text})
        newest = _entries(directory)[-1]
        newest.unlink()
        _prune(newest, directory)
    return change


def load(directory: Path) -> dict[str, Any]:
    """The ledger's record of each tool by name; empty where there is none yet."""
    text = read(directory / LEDGER)
    tools: dict[str, Any] = json.loads(text)["tools"] if text is not None else {}
    return tools


def note(directory: Path, tool: str, version: str, saved_tokens: int) -> None:
    """Add one call to what is known of a tool; lines of several processes do not mix."""
    line = json.dumps({"tool": tool, "version": version, "saved_tokens": saved_tokens}) + "\n"
    descriptor = os.open(directory / USES, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


def uses(directory: Path, skip: int = 0) -> dict[str, Uses]:
    """Calls by tool, without the first `skip` calls; a line that was cut short does not count."""
    found: dict[str, Uses] = {}
    text = read(directory / USES) or ""
    for line in text.splitlines()[skip:]:
        try:
            entry = json.loads(line)
            tool, saved = str(entry["tool"]), int(entry["saved_tokens"])
        except (ValueError, KeyError, TypeError):
            continue
        known = found.setdefault(tool, Uses())
        known.calls += 1
        known.saved_tokens += saved
    return found


def next_state(state: str, opportunities: int, used: Uses, cost: int, after: int) -> str:
    """Where a tool belongs by what its calls saved. Pure.

    A tool is judged once `after` calls of any tool were noted since it came: what saved its own cost is active; what
    did not is deprecated, and archived when it is deprecated already. A candidate becomes active when it pays.

    Args:
        state: Where it is now.
        opportunities: Calls of any tool since it came.
        used: Its own calls.
        cost: Tokens of its definition.
        after: Calls that must have been noted before it is judged.
    """
    if state == "archived" or (opportunities < after and used.saved_tokens < cost):
        return state
    if used.saved_tokens >= cost:
        return "active"
    return "archived" if state == "deprecated" else "deprecated"
