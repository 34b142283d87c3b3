"""Terminals of sandboxes: a login shell each, watched by any number of clients, whose end is told to all of them.

What is shown while nobody watches is kept, the newest of it, for whoever comes next. A client that does not take what
it is sent stops the shell for a while and is then left behind; a shell that nobody reads from is never stopped.
"""

import asyncio
import uuid
import weakref
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from tidepool.engine import Command, Sandbox, Verdict
from tidepool.engine.errors import Conflict, InvalidSpec, NotFound, SandboxLost, Unavailable, WrongState
from tidepool.engine.process import Process, check_size
from tidepool.engine.result import ExecResult

COLS, ROWS = 80, 24
MAX_TERMINALS = 100
"""Of one sandbox."""
MAX_WATCHERS = 32
"""Of one terminal."""
KEPT_BYTES = 256 << 10
"""Of what is shown while nobody watches."""
PATIENCE_S = 60.0
"""How long a shell waits for one client that does not take what it is sent."""
TYPING_S = 15.0
"""How long a client waits for a terminal that takes nothing: less than the 20 s it waits for an answer to its pings."""
_TYPED_BYTES = 4096
"""Typed at once: while one client's are, another's wait."""
_REMEMBERED = 256
"""Ids of terminals that have ended, so that a client can be told so."""
_QUEUED = 32
_MAX_ID = 256
_ENV = {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
_SHELL = "if command -v bash >/dev/null; then exec bash -l; else exec sh -l; fi"
_REASONS = {
    Verdict.EXITED: "",
    Verdict.SIGNALED: "killed by signal {signal}",
    Verdict.OUT_OF_MEMORY: "the sandbox ran out of memory",
    Verdict.LOST: "the sandbox has ended",
    Verdict.NOT_STARTED: "the shell could not be started",
}


class TerminalEnded(WrongState):
    """The terminal's shell has ended."""


@dataclass(frozen=True)
class End:
    """How a terminal's shell ended."""

    exit_code: int
    reason: str
    """Empty where it ended by itself."""


class Watcher:
    """One client that sees what a terminal shows; made by `Terminal.watch`, given back with `Terminal.leave`."""

    def __init__(self, first: bytes) -> None:
        self._items: asyncio.Queue[bytes | End | None] = asyncio.Queue(_QUEUED)
        if first:
            self._items.put_nowait(first)

    async def next(self) -> bytes | End | None:
        """What is shown next; its end, after which nothing comes; None for a client that was left behind."""
        return await self._items.get()

    async def show(self, item: bytes | End) -> bool:
        """Hand over; False when it was not taken in time."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._items.put(item)
        except TimeoutError:
            self.drop()
            return False
        return True

    def drop(self, last: End | None = None) -> None:
        """What it has not taken is lost; all that still comes is this: the end, or None where it is left behind."""
        while not self._items.empty():
            self._items.get_nowait()
        self._items.put_nowait(last)


class Terminal:
    """One terminal; made by `Terminals.create`."""

    def __init__(
        self, number: str, cwd: str, envs: Mapping[str, str], size: tuple[int, int], lazy_start: bool
    ) -> None:
        self.id = number
        self.cwd = cwd
        self.envs = dict(envs)
        self.cols, self.rows = size
        self.lazy_start = lazy_start
        self.created_at = datetime.now(UTC)
        self.end: End | None = None
        """None until its shell has ended."""
        self._process: Process | None = None
        self._watchers: list[Watcher] = []
        self._unseen = bytearray()
        self._starting = asyncio.Lock()
        self._typing = asyncio.Lock()
        self._reading: asyncio.Task[None] | None = None

    @property
    def active(self) -> bool:
        """Whether its shell runs."""
        return self._process is not None and self.end is None

    async def start(self, sandbox: Sandbox) -> None:
        """Start the shell unless it runs.

        Raises:
            InvalidSpec: A variable is no such.
            WrongState, SandboxLost: The sandbox is not started, or has died.
        """
        async with self._starting:
            if self._process is None and self.end is None:
                command = Command(shell=_SHELL, cwd=self.cwd, env={**_ENV, **self.envs})
                self._process = await sandbox.open(command, (self.cols, self.rows), counts=False)
                self._reading = asyncio.create_task(self._read(self._process))

    async def watch(self, sandbox: Sandbox) -> Watcher:
        """See what is shown from now on, after what nobody has seen yet; starts the shell where that was put off.

        Raises:
            TerminalEnded: Its shell has ended.
            Conflict: `MAX_WATCHERS` watch already.
            WrongState, SandboxLost: As `start`.
        """
        if len(self._watchers) >= MAX_WATCHERS:
            raise Conflict(f"{MAX_WATCHERS} clients watch terminal {self.id[:100]} already")
        await self.start(sandbox)
        if self.end is not None:
            raise TerminalEnded(f"terminal {self.id[:100]} has ended")
        watcher = Watcher(bytes(self._unseen))
        self._unseen.clear()
        self._watchers.append(watcher)
        return watcher

    def leave(self, watcher: Watcher) -> None:
        """It watches no more."""
        if watcher in self._watchers:
            self._watchers.remove(watcher)
        watcher.drop()

    async def write(self, data: bytes) -> None:
        """Type; waits while the terminal takes no more. Nothing happens where the shell has ended.

        Raises:
            Unavailable: For `TYPING_S` it took nothing.
        """
        if self._process is None:
            return
        for start in range(0, len(data), _TYPED_BYTES):
            try:
                async with asyncio.timeout(TYPING_S), self._typing:
                    await self._process.write(data[start : start + _TYPED_BYTES])
            except BrokenPipeError:
                return  # its end is told to everybody who watches
            except TimeoutError:
                raise Unavailable("nothing at this terminal takes what is typed") from None

    async def resize(self, cols: int, rows: int) -> None:
        """Give it another size.

        Raises:
            InvalidSpec: No screen has it.
            TerminalEnded: Its shell has ended.
        """
        check_size(cols, rows)
        if self.end is not None:
            raise TerminalEnded(f"terminal {self.id[:100]} has ended")
        if self._process is not None:
            await self._process.resize(cols, rows)
        self.cols, self.rows = cols, rows

    async def kill(self) -> None:
        """End the shell and all that was started at it; what was not taken by then is lost."""
        async with self._starting:
            end = End(137, "the terminal was closed")
            if self._process is not None:
                end = _end_of(await self._process.kill())
            self.end = self.end or end
            for watcher in self._watchers:  # now: one that takes nothing must not keep it from the others
                watcher.drop(self.end)
            self._watchers.clear()

    async def _read(self, process: Process) -> None:
        while (item := await process.read()) is not None:
            await self._show(item[1])
        try:
            end = _end_of(await process.wait())
        except SandboxLost as error:
            end = End(137, str(error))
        self.end = self.end or end
        await asyncio.gather(*(watcher.show(self.end) for watcher in self._watchers))

    async def _show(self, data: bytes) -> None:
        if not self._watchers:
            self._unseen += data
            del self._unseen[:-KEPT_BYTES]
        for watcher in list(self._watchers):
            if not await watcher.show(data) and watcher in self._watchers:
                self._watchers.remove(watcher)


def _end_of(result: ExecResult) -> End:
    reason = _REASONS.get(result.verdict, result.verdict.value)
    return End(result.exit_code, reason.format(signal=result.exit_code - 128))


class Terminals:
    """The terminals of one sandbox."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._made: dict[str, Terminal] = {}
        self._ended: OrderedDict[str, None] = OrderedDict()

    async def create(
        self,
        number: str = "",
        cwd: str | None = None,
        envs: Mapping[str, str] | None = None,
        size: tuple[int | None, int | None] = (None, None),
        lazy_start: bool = False,
    ) -> Terminal:
        """A new terminal.

        Args:
            number: Its id; empty: one is made.
            cwd: Where its shell starts; None is the work directory.
            envs: Added to the sandbox's own.
            size: Columns and rows; None are 80 and 24.
            lazy_start: Whether its shell starts only when somebody watches.

        Raises:
            Conflict: There is one of this id, or there are `MAX_TERMINALS`.
            InvalidSpec: A size, a variable or the id cannot be, or `cwd` is no directory.
            NotFound: There is no such directory.
            WrongState, SandboxLost: The sandbox is not started, or has died.
        """
        cols, rows = size[0] or COLS, size[1] or ROWS
        check_size(cols, rows)
        number = number or str(uuid.uuid4())
        if len(number) > _MAX_ID or not number.isprintable() or "/" in number:
            raise InvalidSpec(f"a terminal's id has 1 to {_MAX_ID} printable characters and no slash")
        Command(shell=_SHELL, cwd=cwd, env=envs or {})  # says what is wrong with either
        cwd = cwd or self._sandbox.work_dir
        if not (await self._sandbox.files.info(cwd)).is_dir:
            raise InvalidSpec(f"cwd {cwd[:200]} is not a directory")
        self._tidy()
        if number in self._made:
            raise Conflict(f"PTY session with ID '{number[:100]}' already exists")
        if len(self._made) >= MAX_TERMINALS:
            raise Conflict(f"the sandbox has {MAX_TERMINALS} terminals; close one first")
        self._ended.pop(number, None)
        terminal = self._made[number] = Terminal(number, cwd, envs or {}, (cols, rows), lazy_start)
        if not lazy_start:
            try:
                await terminal.start(self._sandbox)
            except BaseException:
                del self._made[number]
                raise
        return terminal

    def list(self) -> "list[Terminal]":
        """Those that have not ended, oldest first."""
        self._tidy()
        return list(self._made.values())

    def get(self, number: str) -> Terminal:
        """A terminal that has not ended.

        Raises:
            TerminalEnded: It has.
            NotFound: There was none of this id lately.
        """
        self._tidy()
        if number in self._made:
            return self._made[number]
        if number in self._ended:
            raise TerminalEnded(f"PTY session '{number[:100]}' has ended")
        raise NotFound(f"PTY session '{number[:100]}' not found")

    async def watch(self, number: str) -> tuple[Terminal, Watcher]:
        """Watch one; see `Terminal.watch`.

        Raises:
            As `get` and `Terminal.watch`.
        """
        terminal = self.get(number)
        return terminal, await terminal.watch(self._sandbox)

    async def delete(self, number: str) -> None:
        """Close a terminal: its shell and all that was started at it end.

        Raises:
            TerminalEnded, NotFound: As `get`.
        """
        await self.get(number).kill()
        self._tidy()

    def _tidy(self) -> None:
        for number in [number for number, terminal in self._made.items() if terminal.end is not None]:
            del self._made[number]
            self._ended[number] = None
        while len(self._ended) > _REMEMBERED:
            self._ended.popitem(last=False)


_of_sandbox: "weakref.WeakKeyDictionary[Sandbox, Terminals]" = weakref.WeakKeyDictionary()


def terminals_of(sandbox: Sandbox) -> Terminals:
    """The terminals of a sandbox; they live as long as it does."""
    found = _of_sandbox.get(sandbox)
    if found is None:
        found = _of_sandbox[sandbox] = Terminals(weakref.proxy(sandbox))  # else neither would ever go
    return found
