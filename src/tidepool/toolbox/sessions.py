"""Sessions of sandboxes: one shell each, whose directory, variables and functions stay from command to command.

Commands of a session run one after the other; a command's exit code is known the moment it ends. What each wrote is
kept head and tail. What the driver in the sandbox (the engine's `guest.session`) says is bounded and strictly decoded.
"""

import asyncio
import contextlib
import uuid
import weakref
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import dataclass, field

import msgspec

from tidepool.engine import Sandbox, Shell, Verdict
from tidepool.engine.errors import Conflict, InvalidSpec, NotFound, SandboxLost, WrongState
from tidepool.engine.guest.session import CODE, END, ERR, HEADER, OUT
from tidepool.engine.process import Process

MAX_SESSIONS = 100
"""Of one sandbox."""
MAX_COMMANDS = 1000
"""Kept of one session: the oldest ended ones are forgotten."""
MAX_COMMAND_BYTES = 1 << 20
MAX_INPUT_BYTES = 1 << 20
"""Given at once."""
HEAD_BYTES = TAIL_BYTES = 512 << 10
"""Kept of what one command wrote."""
KEPT_BYTES = 64 << 20
"""Of all ended commands of a sandbox: beyond it the oldest ones' output is forgotten."""
_SHORT = 1000
"""Characters that stay of a command whose output is forgotten."""
_MAX_PAYLOAD = 1 << 16
_PIECE_COST, _COMMAND_COST = 200, 2000
"""Bytes that a piece and a command take beside their own."""
_STREAMS = {OUT: "stdout", ERR: "stderr"}

Piece = tuple[str, bytes]
"""stdout or stderr, and what was written."""


class SessionEnded(WrongState):
    """The session's shell has ended."""


class CommandCompleted(WrongState):
    """The command has ended and takes no input."""


@dataclass
class _Part:
    start: int
    """Where it lies in all that was written."""
    stream: str
    data: bytearray


class Log:
    """What one command wrote, in order: the head, then the newest; with the number of bytes left out between."""

    def __init__(self) -> None:
        self._head: list[_Part] = []
        self._tail: deque[_Part] = deque()
        self._costs = [0, 0]
        self._head_end = 0
        self.written = 0
        """Bytes in all, also of those that are left out."""

    @property
    def cost(self) -> int:
        """Bytes of memory, about."""
        return sum(self._costs)

    def add(self, stream: str, data: bytes) -> None:
        """Keep what fits."""
        in_head = not self._tail and self._costs[0] < HEAD_BYTES
        parts: list[_Part] | deque[_Part] = self._head if in_head else self._tail
        if parts and parts[-1].stream == stream and len(parts[-1].data) + len(data) <= _MAX_PAYLOAD:
            parts[-1].data += data
        else:
            parts.append(_Part(self.written, stream, bytearray(data)))
            self._costs[not in_head] += _PIECE_COST
        self.written += len(data)
        self._costs[not in_head] += len(data)
        if in_head:
            self._head_end = self.written
        while self._costs[1] > TAIL_BYTES and len(self._tail) > 1:
            self._costs[1] -= len(self._tail.popleft().data) + _PIECE_COST

    def forget(self) -> None:
        """Leave out all that was written so far."""
        self._head.clear()
        self._tail.clear()
        self._costs = [HEAD_BYTES, 0]  # what is still to come goes to the tail
        self._head_end = 0

    def since(self, position: int) -> tuple[list[Piece], int]:
        """What was written from a position on, and the position after it; the first one is 0."""
        found = [*_from(self._head, position)]
        first = self._tail[0].start if self._tail else self.written
        missing = first - max(position, self._head_end)
        if missing > 0:
            found.append(("stdout", b"\n[... %d bytes left out ...]\n" % missing))
        return [*found, *_from(self._tail, position)], self.written

    def text(self, stream: str | None = None) -> str:
        """One stream, or both as they came."""
        data = b"".join(data for name, data in self.since(0)[0] if stream in (None, name))
        return data.decode("utf-8", "replace")


def _from(parts: "list[_Part] | deque[_Part]", position: int) -> Iterator[Piece]:
    found: list[Piece] = []
    for part in reversed(parts):
        if part.start + len(part.data) <= position:
            break
        found.append((part.stream, bytes(part.data[max(0, position - part.start) :])))
    return reversed(found)


@dataclass(eq=False)
class Command:
    """One command of a session."""

    number: int
    """As the driver knows it."""
    text: str
    echo_input: bool
    takes_input: bool
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    log: Log = field(default_factory=Log)
    exit_code: int | None = None
    """None while it waits or runs."""
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    written: asyncio.Event = field(default_factory=asyncio.Event)
    """Set and replaced whenever there is more to read."""

    def note(self, stream: str, data: bytes) -> None:
        """It wrote something."""
        self.log.add(stream, data)
        self._wake()

    def end(self, exit_code: int) -> None:
        """It has ended."""
        self.exit_code = exit_code
        self.ended.set()
        self._wake()

    def forget(self) -> None:
        """Keep little more than that it was there."""
        self.log.forget()
        if len(self.text) > _SHORT:
            self.text = self.text[:_SHORT] + "..."

    def _wake(self) -> None:
        self.written.set()
        self.written = asyncio.Event()


class Frames:
    """What a driver says, cut into frames."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def take(self, data: bytes) -> Iterator[tuple[bytes, int, int, bytes]]:
        """Kind, number, value and payload of each frame that a piece completes.

        Raises:
            ValueError: A driver never says that.
        """
        self._rest += data
        while len(self._rest) >= HEADER.size:
            kind, number, value = HEADER.unpack_from(self._rest)
            if kind not in (*_STREAMS, CODE, END) or (kind in _STREAMS and value > _MAX_PAYLOAD):
                raise ValueError(f"a frame of kind {kind!r} and {value} bytes")
            size = HEADER.size + (value if kind in _STREAMS else 0)
            if len(self._rest) < size:
                return
            payload = bytes(self._rest[HEADER.size : size])
            del self._rest[:size]
            yield kind, number, value, payload


class Session:
    """One shell; made by `Sessions.create`."""

    def __init__(
        self, name: str, sandbox: Sandbox, process: Process, on_command_end: Callable[[Command], None]
    ) -> None:
        self.id = name
        self._sandbox: Sandbox | None = (
            sandbox  # until its process has ended: it must not keep a sandbox alive
        )
        self._process = process
        self._on_command_end = on_command_end
        self.commands: dict[str, Command] = {}
        self._numbered: dict[int, Command] = {}
        self._unended: deque[Command] = deque()
        """The one that runs, and those that wait."""
        self._next_number = 1
        self._frames = Frames()
        self.over = False
        """Whether its shell has ended."""
        self.lost = False
        """Whether it ended with the sandbox, and not by itself."""
        self._reading = asyncio.create_task(self._read())

    async def execute(self, text: str, echo_input: bool = True, takes_input: bool = True) -> Command:
        """Queue a command; it begins when those before it have ended.

        Args:
            text: For the shell.
            echo_input: Whether what is given to it shows in its log.
            takes_input: Whether input can be given to it; else it reads the end of its input at once.

        Raises:
            SessionEnded: The shell has ended.
            InvalidSpec: It is empty, too long or has a NUL.
        """
        if self.over:
            raise SessionEnded(f"session {self.id} has ended; create another one")
        if not text.strip() or len(text.encode("utf-8", "replace")) > MAX_COMMAND_BYTES or "\0" in text:
            raise InvalidSpec(f"a command has 1 to {MAX_COMMAND_BYTES} bytes and no NUL")
        command = Command(self._next_number, text, echo_input, takes_input)
        self._next_number += 1
        self.commands[command.id] = self._numbered[command.number] = command
        self._unended.append(command)
        self._be_busy()
        self._forget_old()
        await self._send({"id": command.number, "command": text, "input": takes_input})
        return command

    def command(self, ref: str) -> Command:
        """One of its commands.

        Raises:
            NotFound: It has none of this id.
        """
        if ref not in self.commands:
            raise NotFound(f"session {self.id[:100]} has no command {ref[:100]}")
        return self.commands[ref]

    async def give_input(self, command: Command, data: str) -> None:
        """A line for a command's stdin; what it has not read when it ends is dropped.

        Raises:
            CommandCompleted: It has ended.
            WrongState: It was started to be waited for, and takes none.
            InvalidSpec: It is too long.
        """
        if command.exit_code is not None:
            raise CommandCompleted(f"command {command.id} has ended and takes no input")
        if not command.takes_input:
            raise WrongState(f"command {command.id} takes no input; start it with runAsync for that")
        line = data if data.endswith("\n") else data + "\n"
        encoded = line.encode("utf-8", "replace")
        if len(encoded) > MAX_INPUT_BYTES:
            raise InvalidSpec(f"input is {len(encoded)} bytes; at most {MAX_INPUT_BYTES} are taken at once")
        if command.echo_input:
            command.note("stdout", encoded)
        await self._send({"id": command.number, "give": encoded.decode()})

    async def follow(self, command: Command) -> AsyncGenerator[Piece, None]:
        """What a command writes, from its beginning to its end; reading it is activity."""
        position, sandbox = 0, self._sandbox
        if sandbox is not None:
            sandbox.busy += 1
        try:
            while True:
                more = command.written
                pieces, position = command.log.since(position)
                for piece in pieces:
                    yield piece
                if command.exit_code is not None and position == command.log.written:
                    return
                if not pieces:
                    await more.wait()
        finally:
            if sandbox is not None:
                sandbox.busy -= 1
                sandbox.touch()

    async def close(self) -> None:
        """End the shell and everything in it."""
        await self._process.kill()
        await asyncio.wait([self._reading])

    # inside

    async def _send(self, request: dict[str, object]) -> None:
        with contextlib.suppress(BrokenPipeError):  # then its end is about to be read
            await self._process.write(msgspec.json.encode(request) + b"\n")

    async def _read(self) -> None:
        try:
            while (item := await self._process.read()) is not None:
                if item[0] == "stdout":  # the rest are the last words of a driver that failed
                    for frame in self._frames.take(item[1]):
                        self._take(*frame)
        except ValueError:
            await self._process.kill()
        finally:
            await self._end()

    async def _end(self) -> None:
        try:
            result = await self._process.wait()
            self.lost, exit_code = result.verdict is Verdict.LOST, result.exit_code
        except SandboxLost:
            self.lost, exit_code = True, 137
        self._end_all(exit_code)
        self._sandbox = None

    def _take(self, kind: bytes, number: int, value: int, payload: bytes) -> None:
        """Do what a frame says.

        Raises:
            ValueError: It cannot come now.
        """
        if kind in _STREAMS:
            if number in self._numbered:  # it may have been forgotten while it wrote on
                self._numbered[number].note(_STREAMS[kind], payload)
        elif kind == CODE and self._unended and self._unended[0].number == number:
            self._done(value & 0xFF)
        elif kind == END:
            self._end_all(value & 0xFF)
        else:
            raise ValueError("the end of a command that does not run")

    def _end_all(self, exit_code: int) -> None:
        running = self._unended[0] if self._unended else None
        self.over = True
        while self._unended:
            if self._unended[0] is not running:
                self._unended[0].note("stderr", b"the session ended before this command began\n")
            self._done(exit_code if self._unended[0] is running else 126)

    def _done(self, exit_code: int) -> None:
        command = self._unended.popleft()
        command.end(exit_code)
        if self._sandbox is not None and not self._unended:
            self._sandbox.busy -= 1
            self._sandbox.touch()
        self._on_command_end(command)

    def _be_busy(self) -> None:
        if self._sandbox is not None and len(self._unended) == 1:
            self._sandbox.busy += 1

    def _forget_old(self) -> None:
        over = [command for command in self.commands.values() if command.exit_code is not None]
        for command in over[: max(0, len(self.commands) - MAX_COMMANDS)]:
            del self.commands[command.id], self._numbered[command.number]


class Sessions:
    """All sessions of one sandbox."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = weakref.ref(sandbox)
        self._sessions: dict[str, Session] = {}
        self._making: set[str] = set()
        self._ended: deque[tuple[Command, int]] = deque()
        """Ended commands whose output is kept, with what it takes; oldest first."""
        self._kept = 0

    async def create(self, name: str) -> Session:
        """A new session.

        Raises:
            Conflict: There is one of this name.
            InvalidSpec: The name is empty or too long, or there are too many sessions.
            WrongState: The sandbox is not started.
        """
        sandbox = self._sandbox()
        assert sandbox is not None
        if not 0 < len(name) <= 256 or "\0" in name:
            raise InvalidSpec("a session's id has 1 to 256 characters")
        self._drop_lost()
        if name in self._sessions or name in self._making:
            raise Conflict(f"Session with ID {name[:100]} already exists")
        if len(self._sessions) + len(self._making) >= MAX_SESSIONS:
            raise InvalidSpec(f"a sandbox has at most {MAX_SESSIONS} sessions; delete some")
        self._making.add(name)
        try:
            process = await sandbox.open(Shell(), counts=False)
            made = self._sessions[name] = Session(name, sandbox, process, self._on_command_end)
        finally:
            self._making.discard(name)
        return made

    def get(self, name: str) -> Session:
        """One of them, also when its shell has ended.

        Raises:
            NotFound: There is none of this id.
        """
        self._drop_lost()
        if name not in self._sessions:
            raise NotFound(f"Session with ID {name[:100]} not found")
        return self._sessions[name]

    def list(self) -> "list[Session]":
        """In order of creation."""
        self._drop_lost()
        return list(self._sessions.values())

    async def delete(self, name: str) -> None:
        """End one with everything in it.

        Raises:
            NotFound: There is none of this id.
        """
        session = self.get(name)
        del self._sessions[name]
        await session.close()
        self._release()

    def _on_command_end(self, command: Command) -> None:
        cost = command.log.cost + len(command.text) + _COMMAND_COST
        self._ended.append((command, cost))
        self._kept += cost
        while self._kept > KEPT_BYTES and self._ended:
            oldest, its = self._ended.popleft()
            oldest.forget()
            self._kept -= its

    def _drop_lost(self) -> None:
        """Sessions end with the box they were in: a sandbox that was started again begins without any."""
        if any(session.lost for session in self._sessions.values()):
            self._sessions = {name: session for name, session in self._sessions.items() if not session.lost}
            self._release()

    def _release(self) -> None:
        """Hold on to no output of sessions that are gone."""
        here = {command for session in self._sessions.values() for command in session.commands.values()}
        self._ended = deque((command, cost) for command, cost in self._ended if command in here)
        self._kept = sum(cost for _, cost in self._ended)


_sessions: "weakref.WeakKeyDictionary[Sandbox, Sessions]" = weakref.WeakKeyDictionary()


def sessions_of(sandbox: Sandbox) -> Sessions:
    """The sessions of a sandbox."""
    found = _sessions.get(sandbox)
    if found is None:
        found = _sessions[sandbox] = Sessions(sandbox)
    return found
