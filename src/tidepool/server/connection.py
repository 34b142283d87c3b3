"""One client's connection: who is at its other end, what ends with it, and one write for one answer.

uvicorn speaks HTTP; this adds what it lacks. A request handled under `ends_with_client` is cancelled when its
connection is lost: nobody would read the answer, and a run that nobody waits for must not keep a sandbox busy for ever.
"""

import asyncio
import functools
import resource
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import h11
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from tidepool.server.answers import refusal

Handler = Callable[[Request], Awaitable[Response]]
_KEY = "connection"
_WRITE_AT_ONCE = 1 << 16
_OWN_DESCRIPTORS = 40


class Connection:
    """What is known of a client while it is connected."""

    def __init__(self, peer_uid: int | None = None) -> None:
        self.peer_uid = peer_uid
        """The uid at the other end of a Unix socket; None over TCP."""
        self.task: asyncio.Task[Any] | None = None
        """What to cancel when the connection is lost."""
        self.lost = False

    def end(self) -> None:
        """The client has gone."""
        self.lost = True
        if self.task is not None:
            self.task.cancel("the client has gone")


def connection_of(scope: Scope) -> Connection:
    """The connection a request came on."""
    found: Connection = scope["state"][_KEY]
    return found


def ends_with_client(handler: Handler) -> Handler:
    """A handler that is cancelled, together with the sending of its answer, when the client goes."""

    @functools.wraps(handler)
    async def handle(request: Request) -> Response:
        connection = connection_of(request.scope)
        if connection.lost:
            raise asyncio.CancelledError
        connection.task = asyncio.current_task()
        return await handler(request)

    return handle


def most_connections() -> int:
    """How many clients may be connected: the rest of the descriptors is for sandboxes and their runs."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(16, soft * 3 // 4 - _OWN_DESCRIPTORS)


class UnderWay:
    """Middleware, outermost: counts the requests under way, and ends those that were cancelled without a traceback."""

    def __init__(self, app: ASGIApp, enter: Callable[[], None], leave: Callable[[], None]) -> None:
        self._app = app
        self._enter = enter
        self._leave = leave

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request; the lifespan is none, though it comes the same way."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        connection, started = connection_of(scope), False

        async def noting_send(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        self._enter()
        try:
            await self._app(scope, receive, noting_send)
        except asyncio.CancelledError:
            # Either the client has gone, then nothing can be sent, or the server is told to end.
            if not connection.lost and not started:
                await refusal(scope, 503, "the server is shutting down")(scope, receive, send)
        finally:
            connection.task = None
            self._leave()


class Protocol(H11Protocol):
    """uvicorn's stricter protocol, whatever else is installed, with a `Connection` in the state of each request."""

    head_s = 30.0
    """`ServerConfig.head_s`; an answered connection may be idle longer."""

    def connection_made(self, transport: Any) -> None:
        """A client has connected."""
        sock = transport.get_extra_info("socket")
        is_local = sock.family == socket.AF_UNIX
        if not is_local:
            # asyncio does it only where the listening socket names its protocol; 40 ms for a second write.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connection = Connection(peer_uid(sock) if is_local else None)
        self._out = _OneWrite(transport)
        self.app_state: dict[str, Any] = {**self.app_state, _KEY: self._connection}
        super().connection_made(self._out)  # type: ignore[arg-type]  # it hands on what it does not change
        self._head_since: float | None = self.loop.time()
        self._heard = self.loop.time()
        self._look: asyncio.TimerHandle | None = self.loop.call_later(self.head_s, self._look_at_it)
        if len(self.connections) > most_connections():
            self._out.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone."""
        super().connection_lost(exc)
        self._stop_looking()
        self._connection.end()

    def data_received(self, data: bytes) -> None:
        """The client has sent something."""
        self._heard = self.loop.time()
        super().data_received(data)
        state = self.conn.their_state
        if state is not h11.IDLE:
            self._head_since = None
        elif self._head_since is None and self.conn.trailing_data[0]:
            self._head_since = self._heard
        if state not in (h11.IDLE, h11.SEND_BODY, h11.DONE):
            self._stop_looking()  # no HTTP any more: a WebSocket, or it is being closed

    def _look_at_it(self) -> None:
        """End a connection whose request does not come to its end; nobody else would."""
        now = self.loop.time()
        waits_for_head = self._head_since is not None and now - self._head_since >= self.head_s
        waits_for_body = self.conn.their_state is h11.SEND_BODY and not self.flow.read_paused
        if waits_for_head or (waits_for_body and now - self._heard >= 2 * self.head_s):
            self._look = None
            self._out.abort()
            return
        self._look = self.loop.call_later(self.head_s / 2, self._look_at_it)

    def _stop_looking(self) -> None:
        if self._look is not None:
            self._look.cancel()
            self._look = None

    def on_response_complete(self) -> None:
        """The last byte of an answer has been handed over."""
        self._out.flush()
        super().on_response_complete()


class _OneWrite:
    """A transport that joins what is written before the loop turns: head and body leave in one packet."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._waiting: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send, now or with what follows."""
        if not self._waiting:
            self._loop.call_soon(self.flush)
        self._waiting.append(data)
        if len(data) > _WRITE_AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Send what waits."""
        if self._waiting:
            data = b"".join(self._waiting)
            self._waiting.clear()
            self._transport.write(data)

    def close(self) -> None:
        """Send what waits, then close."""
        self.flush()
        self._transport.close()


def peer_uid(sock: socket.socket) -> int:
    """The uid of the process that connected to a Unix socket (SO_PEERCRED, unix(7))."""
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", raw)[1])
