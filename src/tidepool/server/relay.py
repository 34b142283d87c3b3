"""Moves one preview request into a sandbox and its answer out: HTTP with h11, WebSockets with wsproto.

What a guest answers is hostile: its head is at most 64 KiB and comes in time, its framing is checked, and where it
breaks it the client's connection is broken too, so that half an answer never passes for a whole one. Redirects are
passed on, never followed. Every connection serves one request.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import h11
from starlette.types import Message, Receive, Scope, Send
from wsproto import ConnectionType, WSConnection, events
from wsproto.utilities import ProtocolError

from tidepool.engine import Sandbox
from tidepool.server.preview import Headers, Target, headers_out

MAX_HEAD = 64 << 10
HEAD_TIMEOUT_S = 300.0
"""From the last piece of the request's body to the end of the answer's head."""
IDLE_S = 900.0
"""How long a guest may be silent within an answer, and a WebSocket altogether."""
MAX_MESSAGE = 16 << 20
"""Of a WebSocket."""
_CHUNK = 1 << 16
_MAX_INFORMATION = 16
"""Answers of status 1xx before the answer."""

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class BadGuest(Exception):
    """The guest's answer is none; a sentence says why."""


class Request:
    """One request on its way."""

    def __init__(self, sandbox: Sandbox, target: Target, headers: Headers, path: bytes) -> None:
        self.sandbox = sandbox
        self.target = target
        self.headers = headers
        """As the guest may see them."""
        self.path = path
        """With the query."""


async def http(request: Request, scope: Scope, receive: Receive, send: Send, extra: Headers) -> None:
    """Forward an HTTP request; `extra` goes with the answer's headers.

    Raises:
        Unavailable: Nothing listens there.
        BadGuest: The answer is none; nothing has been sent to the client.
        asyncio.CancelledError: It broke within the body; the client's connection must break too.
    """
    async with _connected(request) as (reader, writer):
        connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
        writer.write(_head(connection, request, scope))
        loop, deadline, answered = asyncio.get_running_loop(), asyncio.timeout(HEAD_TIMEOUT_S), False

        def more_time() -> None:
            """The client is still sending: the guest cannot be expected to have answered."""
            if not answered:
                deadline.reschedule(loop.time() + HEAD_TIMEOUT_S)

        uploading = asyncio.create_task(_upload(connection, writer, receive, more_time))
        try:
            async with deadline:
                answer = await _answer(connection, reader)
                answered = True
            await send(_start(request.target, answer, extra))
            async for piece in _body(connection, reader):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
                request.sandbox.touch()
            await send({"type": "http.response.body", "body": b""})
        except TimeoutError:
            raise BadGuest(f"did not answer within {HEAD_TIMEOUT_S:.0f} s") from None
        finally:
            uploading.cancel()
            await asyncio.gather(uploading, return_exceptions=True)


@contextlib.asynccontextmanager
async def _connected(request: Request) -> AsyncIterator[Stream]:
    """A connection into the sandbox, which is busy as long as it lasts."""
    sandbox = request.sandbox
    sandbox.busy += 1
    try:
        reader, writer = await sandbox.connect(request.target.port)
        try:
            yield reader, writer
        finally:
            writer.transport.abort()  # what the guest has not read by now it need not read
    finally:
        sandbox.busy -= 1
        sandbox.touch()


def _head(connection: h11.Connection, request: Request, scope: Scope) -> bytes:
    framing = dict(scope["headers"])
    headers = [*request.headers, (b"connection", b"close")]
    if b"transfer-encoding" in framing:
        headers.append((b"transfer-encoding", b"chunked"))
    elif b"content-length" in framing:
        headers.append((b"content-length", framing[b"content-length"]))
    try:
        return (
            connection.send(h11.Request(method=scope["method"], target=request.path, headers=headers)) or b""
        )
    except h11.LocalProtocolError as error:
        raise BadGuest(f"cannot be asked this: {error}") from None


async def _upload(
    connection: h11.Connection,
    writer: asyncio.StreamWriter,
    receive: Receive,
    more_time: Callable[[], None],
) -> None:
    """Pass the body on; a guest that does not want all of it may still answer."""
    with contextlib.suppress(ConnectionError, h11.LocalProtocolError):
        more = True
        while more:
            message: Message = await receive()
            if message["type"] == "http.disconnect":
                return
            more = message.get("more_body", False)
            if piece := message.get("body", b""):
                writer.write(connection.send(h11.Data(data=piece)) or b"")
                await writer.drain()
            more_time()
        writer.write(connection.send(h11.EndOfMessage()) or b"")


async def _answer(connection: h11.Connection, reader: asyncio.StreamReader) -> h11.Response:
    for _ in range(_MAX_INFORMATION):
        event = await _next(connection, reader)
        if isinstance(event, h11.Response):
            if event.status_code > 599:
                raise BadGuest(f"answered with status {event.status_code}")
            return event
        if not isinstance(event, h11.InformationalResponse) or event.status_code == 101:
            break
    raise BadGuest("did not answer as HTTP asks")


def _start(target: Target, answer: h11.Response, extra: Headers) -> Message:
    headers = headers_out(target, answer.status_code, answer.headers) + extra
    return {"type": "http.response.start", "status": answer.status_code, "headers": headers}


async def _body(connection: h11.Connection, reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while True:
        try:
            async with asyncio.timeout(IDLE_S):
                event = await _next(connection, reader)
        except (TimeoutError, BadGuest) as error:
            raise asyncio.CancelledError(f"the guest broke its answer: {error}") from None
        if not isinstance(event, h11.Data):
            return
        yield bytes(event.data)


async def _next(connection: h11.Connection, reader: asyncio.StreamReader) -> object:
    try:
        while (event := connection.next_event()) is h11.NEED_DATA:
            connection.receive_data(await reader.read(_CHUNK))
    except h11.RemoteProtocolError as error:
        raise BadGuest(f"did not answer as HTTP asks: {str(error)[:200]}") from None
    except ConnectionError:
        raise BadGuest("closed the connection") from None
    return event


async def websocket(request: Request, scope: Scope, receive: Receive, send: Send, extra: Headers) -> None:
    """Forward a WebSocket until either side closes it.

    Raises:
        Unavailable, BadGuest: As `http`.
    """
    async with _connected(request) as (reader, writer):
        guest = WSConnection(ConnectionType.CLIENT)
        hop = (b"host", b"sec-websocket-key", b"sec-websocket-version", b"sec-websocket-extensions")
        headers = [(n, v) for n, v in request.headers if n not in (*hop, b"sec-websocket-protocol")]
        host = dict(request.headers)[b"host"].decode("latin-1")
        offered = list(scope.get("subprotocols") or ())
        hello = events.Request(host, request.path.decode("latin-1"), [], headers, offered)
        writer.write(guest.send(hello))
        await receive()  # websocket.connect
        accepted = await _accepted(guest, reader)
        passed = [
            one for one in headers_out(request.target, 101, accepted.extra_headers) if one[0] == b"set-cookie"
        ]
        await send(
            {"type": "websocket.accept", "subprotocol": accepted.subprotocol, "headers": passed + extra}
        )
        await _both_ways(request, guest, (reader, writer), receive, send)


async def _accepted(guest: WSConnection, reader: asyncio.StreamReader) -> events.AcceptConnection:
    try:
        async with asyncio.timeout(HEAD_TIMEOUT_S):
            while True:
                guest.receive_data(await reader.read(_CHUNK) or None)
                for event in guest.events():
                    if isinstance(event, events.AcceptConnection):
                        return event
                    raise BadGuest("did not accept the WebSocket")
    except (ProtocolError, h11.RemoteProtocolError, ConnectionError) as error:
        raise BadGuest(f"did not answer as a WebSocket: {str(error)[:200]}") from None
    except TimeoutError:
        raise BadGuest(f"did not answer within {HEAD_TIMEOUT_S:.0f} s") from None


async def _both_ways(
    request: Request, guest: WSConnection, stream: Stream, receive: Receive, send: Send
) -> None:
    reader, writer = stream
    tasks = [
        asyncio.create_task(_to_guest(guest, writer, receive, request)),
        asyncio.create_task(_to_client(guest, reader, writer, send, request)),
    ]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        code, reason = next(iter(done)).result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if code is not None:
        with contextlib.suppress(RuntimeError):  # the client may have closed at the same moment
            await send({"type": "websocket.close", "code": code, "reason": reason})


_Close = tuple[int | None, str]
"""With what to close the client's side; None: it has closed."""


async def _to_guest(
    guest: WSConnection, writer: asyncio.StreamWriter, receive: Receive, request: Request
) -> _Close:
    try:
        while (message := await receive())["type"] == "websocket.receive":
            request.sandbox.touch()
            text = message.get("text")
            said = events.BytesMessage(message["bytes"]) if text is None else events.TextMessage(text)
            writer.write(guest.send(said))
            await writer.drain()
        code = message.get("code") or 1000
        writer.write(
            guest.send(events.CloseConnection(code if 1000 <= code < 5000 and code != 1006 else 1001))
        )
        await writer.drain()
    except (ConnectionError, ProtocolError):
        return 1011, "the sandbox closed the connection"
    return None, ""


async def _to_client(
    guest: WSConnection,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    send: Send,
    request: Request,
) -> _Close:
    pieces: list[str | bytes] = []
    size = 0
    try:
        while True:
            for event in guest.events():
                if isinstance(event, events.CloseConnection):
                    code = (
                        event.code if 1000 <= event.code < 5000 and event.code not in (1005, 1006) else 1000
                    )
                    return code, (event.reason or "")[:40]
                if isinstance(event, events.Ping):
                    writer.write(guest.send(event.response()))
                if isinstance(event, events.TextMessage | events.BytesMessage):
                    pieces.append(event.data if isinstance(event.data, str) else bytes(event.data))
                    size += len(event.data)
                    if size > MAX_MESSAGE:
                        return 1009, "the sandbox sent a message that is too long"
                    if event.message_finished:
                        await send(_joined(pieces))
                        request.sandbox.touch()
                        pieces, size = [], 0
            async with asyncio.timeout(IDLE_S):
                guest.receive_data(await reader.read(_CHUNK) or None)
    except (ConnectionError, ProtocolError):
        return 1011, "the sandbox closed the connection or broke the protocol"
    except TimeoutError:
        return 1001, f"nothing came for {IDLE_S:.0f} s"


def _joined(pieces: list[str | bytes]) -> Message:
    text = [piece for piece in pieces if isinstance(piece, str)]
    if text:
        return {"type": "websocket.send", "text": "".join(text)}
    return {"type": "websocket.send", "bytes": b"".join(p for p in pieces if isinstance(p, bytes))}
