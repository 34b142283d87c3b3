"""Looking for text and names below a directory of a sandbox, and replacing text in files.

It is a program that runs inside as the sandbox's user, bounded in time and in what it says; the host reads no file and
resolves no path. Links are not followed, and only regular files are opened.
"""

from collections.abc import Mapping
from typing import TypeVar

import msgspec

from tidepool.engine import CodeRun, Sandbox, Verdict
from tidepool.engine.errors import InvalidSpec, Refused, SandboxLost

T = TypeVar("T")
TIMEOUT_S = 60.0
MAX_FOUND = 10_000
"""Matches or names in one answer."""
MAX_LINE = 2000
"""Characters of a line that are told."""
MAX_FILES = 10_000
"""In one request to replace."""
_MAX_ANSWER = 8 << 20

_COMMON = """
import json, os, stat, sys
asked = json.load(sys.stdin.buffer)
left = asked["budget"]
def say(*fields):
    global left
    line = json.dumps(fields)
    left -= len(line) + 1
    if left < 0:
        print("null")
        sys.exit()
    print(line)
def text(name):
    return os.fsencode(name).decode("utf-8", "replace")
def walk(top):
    try:
        is_folder = stat.S_ISDIR(os.lstat(top).st_mode)
    except OSError:
        return  # gone since it was looked at, or there only for who looked
    if not is_folder:
        yield top
        return
    for place, folders, files in os.walk(top):
        folders.sort()
        for name in sorted(files + [one for one in folders if asked["folders"]]):
            yield os.path.normpath(os.path.join(place, name))
def regular(path):
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(22, "it is not a regular file")
    return open(fd, "rb")
"""
_FIND = """
wanted = asked["pattern"].encode()
for path in walk(asked["path"]):
    try:
        with regular(path) as file:
            if b"\\0" in file.read(8192):
                continue
            file.seek(0)
            number = 1
            while line := file.readline(64 << 20):
                if wanted in line:
                    found = line.rstrip(b"\\r\\n").decode("utf-8", "replace")
                    say(text(path), number, found[:asked["line"]])
                number += line.endswith(b"\\n")
    except OSError:
        continue
"""
_SEARCH = """
import fnmatch, re
fits = re.compile(fnmatch.translate(asked["pattern"].replace("[^", "[!"))).match
for path in walk(asked["path"]):
    if fits(os.path.basename(path)):
        say(text(path))
"""
_REPLACE = """
old, new = asked["pattern"].encode(), asked["new"].encode()
for path in asked["files"]:
    try:
        with regular(os.path.realpath(path)) as file:
            before = file.read()
        if old in before:
            with open(path, "r+b") as file:
                file.write(before.replace(old, new))
                file.truncate()
        say(path, "")
    except (OSError, ValueError) as error:
        say(path, getattr(error, "strerror", None) or str(error))
    except MemoryError:
        say(path, "it does not fit into memory")
"""


class TookTooLong(Refused):
    """It was not done in time."""


async def find(sandbox: Sandbox, path: str, pattern: str) -> tuple[list[tuple[str, int, str]], bool]:
    """Lines of text files that contain a text: path, number from 1, line. Files with a NUL byte are left out.

    The second is whether all of them are told: at most 10,000, and each up to 2,000 characters.

    Raises:
        NotFound, AccessDenied: As `Files.info`.
        InvalidSpec: The pattern is empty.
        TookTooLong: It took longer than a minute.
    """
    await _look(sandbox, path, pattern)
    asked = {"path": path, "pattern": pattern, "folders": False, "line": MAX_LINE}
    return await _run(sandbox, _FIND, asked, tuple[str, int, str])


async def search(sandbox: Sandbox, path: str, pattern: str) -> tuple[list[str], bool]:
    """Paths of files and directories whose base name fits a glob, and whether all are told, as for `find`.

    Raises:
        NotFound, AccessDenied, InvalidSpec, TookTooLong: As `find`.
    """
    await _look(sandbox, path, pattern)
    asked = {"path": path, "pattern": pattern, "folders": True}
    found, all_told = await _run(sandbox, _SEARCH, asked, tuple[str])
    return [path for (path,) in found], all_told


async def replace(sandbox: Sandbox, files: list[str], pattern: str, new: str) -> list[tuple[str, str]]:
    """Replace a literal text in files; for each file, as it was named, what went wrong, or "".

    Raises:
        InvalidSpec: The pattern is empty, or there are too many files.
        TookTooLong: As `find`; some files may have been changed.
    """
    _check(pattern)
    if len(files) > MAX_FILES:
        raise InvalidSpec(f"{len(files)} files are named; at most {MAX_FILES} can be changed at once")
    asked = {"files": files, "pattern": pattern, "new": new}
    done, all_told = await _run(sandbox, _REPLACE, asked, tuple[str, str])
    if not all_told or [path for path, _ in done] != files:
        raise SandboxLost("the sandbox did not say of each file whether it was changed")
    return done


def _check(pattern: str) -> None:
    if not pattern:
        raise InvalidSpec("the pattern is empty")


async def _look(sandbox: Sandbox, path: str, pattern: str) -> None:
    _check(pattern)
    await sandbox.files.info(path)


async def _run(
    sandbox: Sandbox, program: str, asked: Mapping[str, object], row: type[T]
) -> tuple[list[T], bool]:
    stdin = msgspec.json.encode({**asked, "budget": _MAX_ANSWER})
    run = CodeRun(_COMMON + program, stdin=stdin, timeout_s=TIMEOUT_S, max_output_bytes=2 * _MAX_ANSWER + 64)
    result = await sandbox.run_code(run)
    if result.verdict is Verdict.TIMED_OUT:
        raise TookTooLong(f"it took longer than {TIMEOUT_S:.0f} s; ask for less at once")
    if not result.succeeded or result.truncated_bytes:
        said = result.stderr[-300:].decode("utf-8", "replace").strip()
        raise SandboxLost(f"the program that looks through files failed ({result.verdict.value}): {said}")
    try:
        rows = msgspec.json.Decoder(row | None).decode_lines(result.stdout)
    except msgspec.MsgspecError:
        raise SandboxLost("the sandbox sent results that are not valid") from None
    found = [one for one in rows if one is not None]
    return found[:MAX_FOUND], len(found) == len(rows) and len(found) <= MAX_FOUND
