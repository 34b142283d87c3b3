"""Sessions of sandboxes: one shell each, whose directory, variables and functions stay from command to command.

Commands of a session run one after the other; a command's exit code is known the moment it ends. What each wrote is
kept head and tail. What the driver in the sandbox says is bounded, strictly decoded and never waited for without an end.
"""

import asyncio
import contextlib
import uuid
import weakref
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from tidepool.engine import CodeRun, Sandbox, Verdict, guest
from tidepool.engine.errors import Conflict, InvalidSpec, NotFound, WrongState
from tidepool.engine.process import Process

MAX_SESSIONS = 100
"""Of one sandbox."""
MAX_COMMANDS = 1000
"""Kept of one session: the oldest ended ones are forgotten."""
MAX_COMMAND_BYTES = 1 << 20
HEAD_BYTES = TAIL_BYTES = 512 << 10
"""Kept of what one command wrote."""
_MAX_LINE = 4096
_SOURCE = Path(guest.__file__).with_name("session.py").read_text("utf-8")
"""Of the driver; read now, while files are still within reach."""

Piece = tuple[str, bytes]
"""stdout or stderr, and what was written."""


class SessionEnded(WrongState):
    """The session's shell has ended."""


class CommandCompleted(WrongState):
    """The command has ended and takes no input."""


class _Line(msgspec.Struct):
    id: int | None = None
    code: int = 0
    ended: int | None = None


_decode = msgspec.json.Decoder(_Line).decode


@dataclass
class Log:
    """What one command wrote, in order: the head, then the newest; with the number of bytes left out between."""

    head: list[Piece] = field(default_factory=list)
    tail: deque[Piece] = field(default_factory=deque)
    left_out: int = 0
    _head_bytes: int = 0
    _tail_bytes: int = 0
    _gone: int = 0
    """Pieces of the tail that were left out."""

    def add(self, stream: str, data: bytes) -> None:
        """Keep what fits."""
        if self._head_bytes < HEAD_BYTES:
            self.head.append((stream, data))
            self._head_bytes += len(data)
            return
        self.tail.append((stream, data))
        self._tail_bytes += len(data)
        while self._tail_bytes > TAIL_BYTES and len(self.tail) > 1:
            dropped = len(self.tail.popleft()[1])
            self._tail_bytes -= dropped
            self.left_out += dropped
            self._gone += 1

    def since(self, position: int) -> tuple[list[Piece], int]:
        """Pieces from a position on, and the position after them; the first one is 0."""
        pieces = self.head[position:]
        first = len(self.head) + self._gone
        if self._gone and position < first:
            pieces.append(("stdout", b"\n[... %d bytes left out ...]\n" % self.left_out))
        pieces += list(self.tail)[max(0, position - first) :]
        return pieces, first + len(self.tail)

    def text(self, stream: str | None = None) -> str:
        """One stream, or both as they came."""
        data = b"".join(data for name, data in self.since(0)[0] if stream in (None, name))
        return data.decode("utf-8", "replace")


@dataclass
class Command:
    """One command of a session."""

    id: str
    text: str
    echo_input: bool
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
        if self.exit_code is None:
            self.exit_code = exit_code
            self.ended.set()
            self._wake()

    def _wake(self) -> None:
        self.written.set()
        self.written = asyncio.Event()


class Session:
    """One shell; made by `Sessions.create`."""

    def __init__(self, name: str, sandbox: Sandbox, process: Process) -> None:
        self.id = name
        self._sandbox = sandbox
        self._process = process
        self.commands: dict[str, Command] = {}
        self._waiting: deque[Command] = deque()
        self._running: Command | None = None
        self._number = 0
        self._lines = bytearray()
        self.over = False
        """Whether its shell has ended."""
        self.lost = False
        """Whether it ended with the sandbox, and not by itself."""
        self._reading = asyncio.create_task(self._read())

    async def execute(self, text: str, echo_input: bool = True) -> Command:
        """Queue a command; it begins when those before it have ended.

        Raises:
            SessionEnded: The shell has ended.
            InvalidSpec: It is empty, too long or has a NUL.
        """
        if self.over:
            raise SessionEnded(f"session {self.id} has ended; create another one")
        if not text.strip() or len(text.encode("utf-8", "replace")) > MAX_COMMAND_BYTES or "\0" in text:
            raise InvalidSpec(f"a command has 1 to {MAX_COMMAND_BYTES} bytes and no NUL")
        command = Command(str(uuid.uuid4()), text, echo_input)
        self.commands[command.id] = command
        self._waiting.append(command)
        self._forget_old()
        await self._next()
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
        """A line for a running command's stdin.

        Raises:
            CommandCompleted: It has ended.
        """
        if command.exit_code is not None:
            raise CommandCompleted(f"command {command.id} has ended and takes no input")
        line = data if data.endswith("\n") else data + "\n"
        if command.echo_input:
            command.note("stdout", line.encode("utf-8", "replace"))
        await self._send({"input": line})

    async def follow(self, command: Command) -> AsyncGenerator[Piece, None]:
        """What a command writes, from its beginning to its end; reading it is activity."""
        position = 0
        self._sandbox.busy += 1
        try:
            while True:
                more = command.written
                pieces, position = command.log.since(position)
                for piece in pieces:
                    yield piece
                if command.exit_code is not None and position == command.log.since(position)[1]:
                    return
                if not pieces:
                    await more.wait()
        finally:
            self._sandbox.busy -= 1
            self._sandbox.touch()

    async def close(self) -> None:
        """End the shell and everything in it."""
        await self._process.kill()
        await asyncio.wait([self._reading])

    # inside

    async def _next(self) -> None:
        if self._running is None and self._waiting and not self.over:
            self._running = self._waiting.popleft()
            self._number += 1
            self._sandbox.busy += 1
            await self._send({"id": self._number, "command": self._running.text})

    async def _send(self, request: dict[str, object]) -> None:
        with contextlib.suppress(BrokenPipeError):  # then its end is about to be read
            await self._process.write(msgspec.json.encode(request) + b"\n")

    async def _read(self) -> None:
        try:
            while (item := await self._process.read()) is not None:
                stream, data = item
                if stream == "report":
                    await self._hear(data)
                elif self._running is not None:
                    self._running.note(stream, data)
        except msgspec.MsgspecError:
            await self._process.kill()
        finally:
            self.over = True
            result = await self._process.wait()
            self.lost = result.verdict is Verdict.LOST
            self._done(result.exit_code)
            for command in self._waiting:
                command.note("stderr", b"the session ended before this command began\n")
                command.end(126)
            self._waiting.clear()

    async def _hear(self, data: bytes) -> None:
        self._lines += data
        if len(self._lines) > _MAX_LINE:
            raise msgspec.ValidationError("a line that is too long")
        *lines, rest = bytes(self._lines).split(b"\n")
        self._lines[:] = rest
        for text in lines:
            line = _decode(text)
            if line.ended is not None:
                self.over = True
                self._done(line.ended)
            elif line.id == self._number:
                self._done(line.code)
                await self._next()

    def _done(self, exit_code: int) -> None:
        if self._running is not None:
            self._running.end(exit_code if exit_code >= 0 else 128 - exit_code)
            self._running = None
            self._sandbox.busy -= 1
            self._sandbox.touch()

    def _forget_old(self) -> None:
        over = [number for number, command in self.commands.items() if command.exit_code is not None]
        for number in over[: max(0, len(self.commands) - MAX_COMMANDS)]:
            del self.commands[number]


class Sessions:
    """All sessions of one sandbox."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = weakref.ref(sandbox)
        self._sessions: dict[str, Session] = {}
        self._making: set[str] = set()

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
        if len(self._sessions) >= MAX_SESSIONS:
            raise InvalidSpec(f"a sandbox has at most {MAX_SESSIONS} sessions; delete some")
        self._making.add(name)
        try:
            process = await sandbox.open(CodeRun(_SOURCE), counts=False)
            made = self._sessions[name] = Session(name, sandbox, process)
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

    def list(self) -> list[Session]:
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

    def _drop_lost(self) -> None:
        """Sessions end with the box they were in: a sandbox that was started again begins without any."""
        self._sessions = {name: session for name, session in self._sessions.items() if not session.lost}


_sessions: weakref.WeakKeyDictionary[Sandbox, Sessions] = weakref.WeakKeyDictionary()


def sessions_of(sandbox: Sandbox) -> Sessions:
    """The sessions of a sandbox."""
    found = _sessions.get(sandbox)
    if found is None:
        found = _sessions[sandbox] = Sessions(sandbox)
    return found
