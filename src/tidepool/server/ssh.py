"""SSH: a shell or a command in the sandbox that a token opens. The user name is the token; nothing else is asked for.

This file needs asyncssh and is imported only where an SSH port was asked for. File transfer, forwarding and everything
else of the protocol is refused; a connection ends with its token or its sandbox.
"""

import asyncio
import logging
import os
import secrets
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import asyncssh

from tidepool.engine import Command, Engine, Sandbox, State
from tidepool.engine.errors import SandboxLost, TidepoolError
from tidepool.engine.process import MAX_SIZE, Process
from tidepool.engine.result import ExecResult, Verdict
from tidepool.server.ssh_access import Access, Accesses, digest

HOST_KEY_FILE = "ssh_host_ed25519_key"
TICK_S = 1.0
"""How soon the end of a token's time or of a sandbox ends its connections."""
MOST_CONNECTIONS = 100
MOST_SESSIONS = 10
"""Of one connection at a time."""
FAILED = 255
"""Exit status where nothing could be run, as of `ssh` itself."""
_LOGIN_S = 20
_KEEP_ALIVE_S = 30
_WINDOW = 256 << 10
"""Bytes a client may send ahead of what the run has read."""
_CHUNK = 32 << 10
_DEFAULT_SIZE = (80, 24)
_SHELL = "if command -v bash >/dev/null; then exec bash -l; else exec sh -l; fi"

log = logging.getLogger("tidepool.server")

Bytes = asyncssh.SSHReader[bytes]
Writer = asyncssh.SSHWriter[bytes]
Channel = asyncssh.SSHServerChannel[bytes]
asyncssh.set_log_level(logging.WARNING)  # below it user names are logged, and here they are tokens


class Gateway:
    """Listens for SSH, and knows every connection."""

    def __init__(self, engine: Engine, accesses: Accesses) -> None:
        self._engine = engine
        self._accesses = accesses
        self._connections: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._acceptor: asyncssh.SSHAcceptor | None = None
        accesses.on_revoked = self.cut

    async def listen(self, listener: socket.socket, directory: Path) -> None:
        """Take connections from a bound socket.

        Args:
            listener: It is this object's from now on.
            directory: The server's own; the host key is kept there.

        Raises:
            OSError, ValueError: The host key cannot be kept, or what is there is none.
        """
        self._acceptor = await asyncssh.listen(
            sock=listener,
            server_factory=lambda: Connection(self),
            server_host_keys=[host_key(directory / HOST_KEY_FILE)],
            encoding=None,
            line_editor=False,
            window=_WINDOW,
            login_timeout=_LOGIN_S,
            keepalive_interval=_KEEP_ALIVE_S,
            public_key_auth=False,
            password_auth=False,
            kbdint_auth=False,
            host_based_auth=False,
            gss_host=None,
            agent_forwarding=False,
            x11_forwarding=False,
            server_version="tidepool",
        )

    async def run(self) -> None:
        """End connections whose time is over and keep sandboxes of the others awake, until cancelled; then end all."""
        try:
            while True:
                await asyncio.sleep(TICK_S)
                for connection in list(self._connections):
                    connection.tend()
        finally:
            await self._close()

    def cut(self, token_digest: str) -> None:
        """End every connection that came by this token."""
        for connection in list(self._connections):
            if connection.token_digest == token_digest:
                connection.close()

    async def find(self, token: str) -> tuple[Access, Sandbox] | None:
        """What a token opens."""
        access = await self._accesses.find(token)
        sandbox = self._engine.find(access.sandbox) if access is not None else None
        return (access, sandbox) if access is not None and sandbox is not None else None

    def enter(self, connection: "Connection") -> bool:
        """A connection has come; whether there is room for it."""
        if len(self._connections) >= MOST_CONNECTIONS:
            return False
        self._connections.add(connection)
        return True

    def leave(self, connection: "Connection") -> None:
        """A connection has ended."""
        self._connections.discard(connection)

    async def watched(self, session: Awaitable[None]) -> None:
        """Do a session's work in a task that the end of the server waits for."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await session
        finally:
            self._tasks.discard(task)

    async def _close(self) -> None:
        if self._acceptor is not None:
            self._acceptor.close()
        for connection in list(self._connections):
            connection.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)


class Connection(asyncssh.SSHServer):
    """One client's connection; what asyncssh asks of it that is not here is refused."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._connection: asyncssh.SSHServerConnection | None = None
        self._access: Access | None = None
        self._sandbox: Sandbox | None = None
        self._sessions = 0
        self.token_digest = ""

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        """A client is there; nothing is known of it."""
        self._connection = conn
        if not self._gateway.enter(self):
            conn.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """It has gone; its sessions see their channels close."""
        self._gateway.leave(self)

    async def begin_auth(self, username: str) -> bool:
        """Whether this name is not enough: then nothing is, for nothing else is asked for."""
        self.token_digest = digest(username)  # first: it may be revoked while it is looked up
        found = await self._gateway.find(username)
        if found is None:
            return True
        self._access, self._sandbox = found
        self._sandbox.touch()
        return False

    def session_requested(self) -> "Callable[[Bytes, Writer, Writer], Awaitable[None]] | bool":
        """Serve a session, unless there are too many."""
        return self._session if self._sessions < MOST_SESSIONS else False

    def tend(self) -> None:
        """Go on for another moment, or end."""
        if self._access is None or self._sandbox is None:
            return  # not let in yet; asyncssh waits for that only so long
        if self._access.is_over or self._sandbox.state is not State.STARTED:
            self.close()
        else:
            self._sandbox.touch()

    def close(self) -> None:
        """End it now."""
        self._gateway.leave(self)
        if self._connection is not None:
            self._connection.abort()

    async def _session(self, stdin: Bytes, stdout: Writer, stderr: Writer) -> None:
        self._sessions += 1
        try:
            await self._gateway.watched(self._serve(stdin, stdout, stderr))
        except Exception:  # asyncssh would end the connection without a word
            log.exception("an SSH session failed")
            raise
        finally:
            self._sessions -= 1

    async def _serve(self, stdin: Bytes, stdout: Writer, stderr: Writer) -> None:
        assert self._sandbox is not None
        channel = _channel(stdin)
        try:
            process = await self._sandbox.open(_command(channel), _terminal(channel))
            status = await _run(process, channel, (stdin, stdout, stderr))
        except (TidepoolError, _NotServed) as error:
            _say(stderr, str(error))
            status = FAILED
        with suppress(OSError):  # the client has closed the channel
            channel.exit(status)


class _NotServed(Exception):
    """The client asks for what is not there; the text says what."""


def _channel(stdin: Bytes) -> Channel:
    channel = stdin.channel
    assert isinstance(channel, asyncssh.SSHServerChannel)
    return channel


def _command(channel: Channel) -> Command:
    """What a client asks to be run, with the environment that it sends."""
    if channel.get_subsystem():
        raise _NotServed("only shells and commands are served here, no subsystems")
    env = {os.fsdecode(name): os.fsdecode(value) for name, value in channel.get_environment_bytes().items()}
    if (terminal := channel.get_terminal_type()) is not None:
        env["TERM"] = terminal
    return Command(shell=channel.get_command() or _SHELL, env=env)


def _terminal(channel: Channel) -> tuple[int, int] | None:
    """Columns and rows of the terminal that a client asks for; None: for none."""
    if channel.get_terminal_type() is None:
        return None
    cols, rows, *_ = channel.get_terminal_size()
    return _size(cols, rows)


def _size(cols: int, rows: int) -> tuple[int, int]:
    """A size that can be had; a client may say 0 for what it does not know (RFC 4254, section 6.2)."""
    return min(cols or _DEFAULT_SIZE[0], MAX_SIZE), min(rows or _DEFAULT_SIZE[1], MAX_SIZE)


async def _run(process: Process, channel: Channel, streams: tuple[Bytes, Writer, Writer]) -> int:
    """Move input and output until it ends, or its client has gone; its exit status."""
    stdin, stdout, stderr = streams
    try:
        async with asyncio.TaskGroup() as group:
            moving = [
                group.create_task(_feed(process, stdin)),
                group.create_task(_end_with(process, channel)),
            ]
            await _give(process, stdout, stderr)
            for task in moving:
                task.cancel()
    finally:
        result = await process.kill() if not process.over else await process.wait()
    return _status(result, stderr)


async def _end_with(process: Process, channel: Channel) -> None:
    await channel.wait_closed()
    await process.kill()


async def _give(process: Process, stdout: Writer, stderr: Writer) -> None:
    """Hand on what it writes, as fast as the client takes it, to its end; or until the client has gone."""
    with suppress(asyncssh.Error, OSError):
        while (piece := await process.read()) is not None:
            name, data = piece
            stream = stderr if name == "stderr" else stdout
            stream.write(data)
            await stream.drain()


async def _feed(process: Process, stdin: Bytes) -> None:
    """Hand on what the client sends, as fast as the run takes it, to its end."""
    # The client has gone, which `_end_with` sees too; or the sandbox, which ends the run.
    with suppress(asyncssh.Error, OSError, SandboxLost):
        while True:
            try:
                data = await stdin.read(_CHUNK)
            except asyncssh.TerminalSizeChanged as size:
                await process.resize(*_size(size.width, size.height))
            except asyncssh.BreakReceived:
                await process.interrupt()
            except asyncssh.SignalReceived as received:
                await _signal(process, received.signal)
            else:
                if not data:
                    process.close_stdin()
                    return
                with suppress(BrokenPipeError):  # it reads no more; what is signalled still counts
                    await process.write(data)


async def _signal(process: Process, name: str) -> None:
    if name == "INT":
        await process.interrupt()
    elif name in ("TERM", "KILL", "HUP"):
        await process.kill()


def _status(result: ExecResult, stderr: Writer) -> int:
    """The exit status for the client, which is told in words what a status does not say."""
    if result.verdict not in (Verdict.EXITED, Verdict.SIGNALED, Verdict.NOT_STARTED):
        _say(stderr, f"the run did not end by itself: {result.verdict.value}")
    return result.exit_code


def _say(stderr: Writer, sentence: str) -> None:
    with suppress(OSError):  # the client has closed the channel
        stderr.write(f"tidepool: {sentence}\r\n".encode("utf-8", "replace"))


def host_key(path: Path) -> asyncssh.SSHKey:
    """What this server shows itself by: made once, readable by its owner only; nobody ever sees half of it.

    Raises:
        OSError: The file cannot be read or made.
        ValueError: What is in it is no private key.
    """
    if not path.exists():
        part = path.with_name(f"{path.name}.{secrets.token_hex(8)}.part")
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(asyncssh.generate_private_key("ssh-ed25519").export_private_key())
            file.flush()
            os.fsync(fd)
        os.replace(part, path)
    try:
        return asyncssh.import_private_key(path.read_bytes())
    except asyncssh.KeyImportError as error:
        raise ValueError(
            f"{path} is no private key of SSH: {error}; remove it, and a new one is made"
        ) from None
