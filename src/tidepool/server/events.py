"""What changes, pushed to clients that listen: socket.io over a WebSocket (protocol section 7.4).

A client shows its key in its first message; from then on it gets the events of its tenant, each time only if the key
is still good. Clients send nothing else. Without python-socketio every attempt is answered with 404, at once.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.requests import HTTPConnection
from starlette.routing import Mount
from starlette.types import Receive, Scope, Send

from tidepool.server.answers import refusal
from tidepool.server.auth import IDENTITY, Judge
from tidepool.server.routes import toolbox_url
from tidepool.wire import paths

if TYPE_CHECKING:
    from socketio import AsyncServer  # type: ignore[import-untyped]

FIRST_MESSAGE_S = 10.0
"""How long a client may take to show its key."""
MOST_LISTENERS = 1000
MOST_WAITING = 10_000
"""Events that wait to be sent; more are dropped, and clients find out by asking, as they do without events."""
_MESSAGE_BYTES = 1 << 14
_PING_S, _PONG_S = 25, 20
_DEADLINE, _NUMBER = "events-deadline", "events-number"
log = logging.getLogger("tidepool.server")

Data = Any | Callable[[str], Any]
"""What an event carries; a function is given the toolbox's URL by which the listening client reached the server."""


@dataclass(frozen=True)
class _Listener:
    tenant: str
    key: str
    """Empty over a Unix socket."""
    toolbox_url: str


class Events:
    """The ASGI application below `/socket.io`, and the way to tell its clients something."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._listeners: dict[str, _Listener] = {}
        self._waiting: asyncio.Queue[tuple[str, str, Data]] = asyncio.Queue(MOST_WAITING)
        self._sending: asyncio.Task[None] | None = None
        self._server: AsyncServer | None = None

    def emit(self, tenant: str, name: str, data: Data) -> None:
        """Tell every client of a tenant; returns at once, and costs nothing when none listens."""
        if not any(listener.tenant == tenant for listener in self._listeners.values()):
            return
        try:
            self._waiting.put_nowait((tenant, name, data if callable(data) else msgspec.to_builtins(data)))
        except asyncio.QueueFull:
            log.error("event %s was dropped: %d others wait to be sent", name, MOST_WAITING)

    async def close(self) -> None:
        """Send no more."""
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.wait([self._sending])
        if self._server is not None:
            await self._server.shutdown()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection."""
        server = self._server or self._start()
        if server is None:
            await refusal(scope, 404, "events need python-socketio, which this server does not have")(
                scope, receive, send
            )
        elif len(self._listeners) >= MOST_LISTENERS:
            await refusal(scope, 503, f"{MOST_LISTENERS} clients are listening; no more can")(
                scope, receive, send
            )
        else:
            try:
                async with asyncio.timeout(FIRST_MESSAGE_S) as deadline:
                    scope["state"][_DEADLINE] = deadline
                    await server.handle_request(scope, receive, send)
            except TimeoutError:
                pass  # no key came: the connection ends with this call
            finally:
                self._listeners.pop(scope["state"].get(_NUMBER, ""), None)

    def _start(self) -> "AsyncServer | None":
        try:
            import socketio
        except ImportError:
            return None
        self._server = server = socketio.AsyncServer(
            async_mode="asgi",
            transports=["websocket"],
            cors_allowed_origins=[],  # whose page asks has been looked at in `auth`
            max_http_buffer_size=_MESSAGE_BYTES,
            ping_interval=_PING_S,
            ping_timeout=_PONG_S,
            monitor_clients=False,
        )
        server.on("connect", self._connect)
        server.on("disconnect", self._disconnect)
        self._sending = asyncio.create_task(self._send_all(server))
        return server

    async def _connect(self, number: str, environ: dict[str, Any], shown: Any = None) -> bool:
        scope = environ["asgi.scope"]
        key = shown.get("token") if isinstance(shown, dict) else None
        identity = await self._judge.key(key) if isinstance(key, str) else None
        if identity is None:  # of the connection itself: a header, or a Unix socket's peer
            identity = scope["state"].get(IDENTITY)
            key = environ.get("HTTP_AUTHORIZATION", "").partition(" ")[2].strip()
        if identity is None:
            return False
        scope["state"][_DEADLINE].reschedule(None)
        scope["state"][_NUMBER] = number
        url = toolbox_url(HTTPConnection(scope)).replace("ws", "http", 1)
        self._listeners[number] = _Listener(identity.tenant, key or "", url)
        return True

    async def _disconnect(self, number: str, *reason: Any) -> None:
        self._listeners.pop(number, None)

    async def _send_all(self, server: "AsyncServer") -> None:
        while True:
            tenant, name, data = await self._waiting.get()
            for number, listener in list(self._listeners.items()):
                if listener.tenant == tenant:
                    try:
                        await self._send(server, number, listener, name, data)
                    except Exception:  # of one listener: the others are still told
                        log.exception("event %s could not be sent", name)

    async def _send(
        self, server: "AsyncServer", number: str, listener: _Listener, name: str, data: Data
    ) -> None:
        if listener.key and await self._judge.key(listener.key) is None:
            await server.disconnect(number)
            return
        body = msgspec.to_builtins(data(listener.toolbox_url)) if callable(data) else data
        await server.emit(name, body, to=number)


async def listen(scope: Scope, receive: Receive, send: Send) -> None:
    """One connection to the events of the application it came to."""
    await scope["app"].state.events(scope, receive, send)


routes = [Mount(paths.EVENTS, app=listen)]
