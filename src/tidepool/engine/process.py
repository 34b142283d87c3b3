"""A live process of a sandbox: written to, read from and interrupted while it runs.

It is a run like any other (`exec`), whose output waits in a bounded queue: a process that nobody reads from stops at a
full pipe. How it ended is a result; its verdict is completed by the sandbox.
"""

import asyncio
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress

from tidepool.engine.errors import InvalidSpec, SandboxLost
from tidepool.engine.exec import Outcome, Run
from tidepool.engine.result import ExecResult

KEPT_BYTES = 64 << 10
"""Of each stream in the result: all of it could be read as it came."""
_QUEUED_CHUNKS = 64

MAX_SIZE = 1000
"""Of a terminal: columns, and rows."""
_SIZE = struct.Struct("=HHHH")
"""struct winsize: rows, columns, and pixels that nobody knows."""

Finish = Callable[[Run], Awaitable[Outcome]]
"""Starts the run and waits for its end; completes the verdict."""


def check_size(cols: int, rows: int) -> None:
    """Refuse a terminal that no screen has.

    Raises:
        InvalidSpec: A number is not from 1 to `MAX_SIZE`.
    """
    for name, number in (("cols", cols), ("rows", rows)):
        if not 1 <= number <= MAX_SIZE:
            raise InvalidSpec(f"a terminal's {name} is {number}; allowed is 1 to {MAX_SIZE}")


class Process:
    """One live process; made by `Sandbox.open`."""

    def __init__(self, run: Run, finish: Finish) -> None:
        self._run = run
        self._items: asyncio.Queue[tuple[str, bytes] | None] = asyncio.Queue()
        self._room = asyncio.Event()
        self._unheard = False
        """Whether nobody wants the output any more."""
        self._at_end = False
        run.deliver_to(self._sink)
        self._ending: asyncio.Task[ExecResult] = asyncio.create_task(self._end(finish))

    async def started(self) -> None:
        """Wait until it has been asked for.

        Raises:
            SandboxLost: It could not be.
        """
        await asyncio.sleep(0)  # the first step of `_end`
        if self._ending.done():
            self._ending.result()

    @property
    def over(self) -> bool:
        """Whether it has ended and its verdict is known."""
        return self._ending.done()

    async def read(self) -> tuple[str, bytes] | None:
        """The next piece of output, of `stdout`, `stderr` or `report` (descriptor 4 of a Python text); None at the end.

        A piece of the report comes after all that was written to the others before it.
        """
        if self._at_end:
            return None
        item = await self._items.get()
        if self._items.qsize() <= _QUEUED_CHUNKS // 2:
            self._room.set()
        self._at_end = item is None
        return item

    async def write(self, data: bytes) -> None:
        """Write to its stdin; waits while its pipe is full.

        Raises:
            BrokenPipeError: It reads no more.
        """
        await self._run.write(data)

    async def resize(self, cols: int, rows: int) -> None:
        """Give its terminal another size; nothing happens where it has none or has ended.

        Raises:
            InvalidSpec: A number is not from 1 to `MAX_SIZE`.
        """
        check_size(cols, rows)
        self._run.tell(_SIZE.pack(rows, cols, 0, 0))

    def close_stdin(self) -> None:
        """It reads the end of its input."""
        self._run.close_stdin()

    async def interrupt(self) -> None:
        """SIGINT to the leader's process group; no error where it has ended."""
        await self._run.interrupt()

    async def kill(self) -> ExecResult:
        """End its whole tree, drop what was not read, and wait for its end."""
        self._unheard = True
        self._room.set()
        while not self._items.empty():
            self._items.get_nowait()
        self._items.put_nowait(None)
        with suppress(SandboxLost):
            await self._run.end()
        return await self.wait()

    async def wait(self) -> ExecResult:
        """Wait for its end. What was not read by then can still be read.

        Raises:
            SandboxLost: It could not even be asked for.
        """
        return await asyncio.shield(self._ending)

    async def _sink(self, name: str, data: bytes) -> None:
        if self._unheard:
            return
        self._items.put_nowait((name, data))
        if self._items.qsize() >= _QUEUED_CHUNKS and not self._run.over:
            self._room.clear()
            await self._room.wait()  # until the reader has caught up, or the run is over

    async def _end(self, finish: Finish) -> ExecResult:
        try:
            return (await finish(self._run)).result
        finally:
            self._items.put_nowait(None)
