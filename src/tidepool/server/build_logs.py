"""Logs of builds: one file per build, followed by clients while it grows.

A log is its build's alone: who may read it is decided by who asks for the snapshot or sandbox it belongs to. A file
that a crashed server left is complete as it stands.
"""

import asyncio
import os
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import IO

MAX_BYTES = 16 << 20
"""Of one log; what comes after is left out, with a line that says so."""
KEPT_S = 7 * 86400
_CHUNK = 1 << 16
_QUIET_S = 20.0
"""After so long without a line a follower is sent an empty one: a client that has gone is noticed."""


class BuildLog:
    """One log that is being written."""

    def __init__(self, path: Path) -> None:
        self._file: IO[bytes] = path.open("wb", buffering=0)
        self._size = 0
        self.grown = asyncio.Event()
        """Set when something is added, or it is done; the next one is another."""
        self.is_done = False

    def say(self, line: str) -> None:
        """Add a line."""
        data = line.encode(errors="replace") + b"\n"
        if self.is_done or self._size > MAX_BYTES:
            return
        self._size += len(data)
        self._file.write(data if self._size <= MAX_BYTES else b"(the log is longer; the rest is left out)\n")
        self._wake()

    def close(self) -> None:
        """Nothing comes any more."""
        if not self.is_done:
            self.is_done = True
            self._file.close()
            self._wake()

    def _wake(self) -> None:
        self.grown.set()
        self.grown = asyncio.Event()


class BuildLogs:
    """All logs of one server.

    Args:
        place: A directory of the server's own; must exist.
    """

    def __init__(self, place: Path) -> None:
        self._place = place
        self._open: dict[str, BuildLog] = {}

    def start(self, number: str) -> BuildLog:
        """A new log; `number` is a UUID of the server's own making."""
        log = self._open[number] = BuildLog(self._place / f"{number}.log")
        return log

    def end(self, number: str) -> None:
        """It is complete."""
        log = self._open.pop(number, None)
        if log is not None:
            log.close()

    def forget_old(self, now: float | None = None) -> None:
        """Remove logs that nobody has written to for a week."""
        before = (now or time.time()) - KEPT_S
        for path in self._place.glob("*.log"):
            if path.stem not in self._open and path.stat().st_mtime < before:
                path.unlink()

    async def read(self, number: str, follow: bool) -> AsyncGenerator[bytes, None]:
        """What a log holds; with `follow`, also what comes, until its build has ended. Nothing when there is none."""
        path = self._place / f"{number}.log"
        if not path.is_file():
            return
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            while True:
                log = self._open.get(number)
                grown = log.grown if log is not None and follow else None  # taken before it is read
                while data := os.read(fd, _CHUNK):
                    yield data
                if grown is None:
                    return
                try:
                    await asyncio.wait_for(grown.wait(), _QUIET_S)
                except TimeoutError:
                    yield b"\n"
        finally:
            os.close(fd)
