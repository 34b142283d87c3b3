"""The forward proxy: plain HTTP in absolute form, CONNECT, and requests inside TLS that is opened for a secret.

Every request is judged anew and goes out on a connection of its own, so that nothing a client or server says early or
late can become part of another's request. Bytes of clients are read in `connection`; who may go where is in `rights`.
"""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import h11

from tidepool.egress.connection import Connection
from tidepool.egress.dial import Dialer
from tidepool.egress.hello import ACCESS_DENIED, MAX_BYTES, BadHello, parse_hello
from tidepool.egress.packages import Answer
from tidepool.egress.policy import BadHost, Grant, Place, Policy, canonical_host, parse_place
from tidepool.egress.refusal import Refusal
from tidepool.egress.relay import Relay
from tidepool.egress.rights import Rights
from tidepool.egress.stream import Plain, Stream, Tls
from tidepool.egress.vault import Headers

HELLO_TIMEOUT_S = 15.0
"""From the answer to CONNECT to the end of the client's hello or handshake."""
ANSWER_TIMEOUT_S = 300.0
"""For the head of an answer, and for each further piece of it."""
WRITE_TIMEOUT_S = 60.0
MAX_ANSWER_HEADER_BYTES = 64 << 10
_PIECE = 64 << 10
_ABSOLUTE = re.compile(rb"http://([^/?#]+)(/[^#]*|\?[^#]*)?\Z", re.IGNORECASE)
_HOP = frozenset(
    b"connection keep-alive proxy-connection proxy-authenticate proxy-authorization te trailer"
    b" transfer-encoding upgrade http2-settings expect".split()
)
_OURS = _HOP | {b"host", b"content-length"}


class Forwarder:
    """Reaches out for sandboxes.

    Args:
        trust: Verifies servers' certificates; None: by what this system trusts.
    """

    def __init__(self, dialer: Dialer, trust: ssl.SSLContext | None = None) -> None:
        self._dialer = dialer
        self._trust = trust or ssl.create_default_context()
        self._trust.minimum_version = ssl.TLSVersion.TLSv1_2
        self._trust.set_alpn_protocols(["http/1.1"])

    @asynccontextmanager
    async def answer(
        self, rights: Rights, connection: Connection, request: h11.Request
    ) -> AsyncIterator[Answer]:
        """What a server says to a request; the body must be read before the context ends.

        Raises:
            Refusal: Malformed, not allowed, or the server cannot be reached or breaks off.
        """
        opened = connection.origin is not None
        place, target = _asked(connection.origin, request)
        if opened and not rights.vault.opens(place):
            raise Refusal(421, f"Nothing of this sandbox is bound to {place.host} any more; connect again.")
        with rights.using(place, opened) as grant:
            headers = _passed_on(request.headers, _OURS)
            if opened:
                target, headers = rights.vault.fill(place.host, target, headers)
            headers += [(b"host", _host_header(place, opened)), (b"connection", b"close"), *_framing(request)]
            outgoing = h11.Request(method=request.method, target=target, headers=headers)
            stream = await self._reach(place, rights.policy, grant, opened)
            try:
                async with _asking(stream, outgoing, connection.body()) as answer:
                    yield answer
            finally:
                stream.close()

    async def tunnel(
        self, rights: Rights, connection: Connection, request: h11.Request, relay: Relay
    ) -> Connection | None:
        """Joins a client with the place it asked for by CONNECT, until both have ended.

        Returns at once, with the connection inside, where TLS is opened for a secret.

        Raises:
            Refusal: Not allowed, not reachable, or what is said inside does not fit what was asked for.
            OSError, TimeoutError: One side broke off.
        """
        place = _connect_place(request)
        opened = rights.vault.opens(place)
        with rights.using(place, opened) as grant:
            if opened:
                return await self._open(rights, place, await connection.take_over())
            far = await self._dialer.dial(place, rights.policy, grant)
            try:
                near = await connection.take_over()
                if grant == "name":
                    await _check_hello(near, place)
                await relay.run(near, far)
            finally:
                far.close()
        return None

    async def _open(self, rights: Rights, place: Place, near: Plain) -> Connection:
        assert rights.authority is not None
        await _check_hello(near, place)
        inside = Tls(near, rights.authority.context(place.host))
        async with asyncio.timeout(HELLO_TIMEOUT_S):
            await inside.handshake()
        return Connection(inside, origin=place)

    async def _reach(self, place: Place, policy: Policy, grant: Grant, secure: bool) -> Stream:
        plain = await self._dialer.dial(place, policy, grant)
        if not secure:
            return plain
        inside = Tls(plain, self._trust, place.host)
        try:
            async with asyncio.timeout(HELLO_TIMEOUT_S):
                await inside.handshake()
        except ssl.SSLCertVerificationError:
            plain.close()
            raise Refusal(502, f"The certificate of {place.host} could not be verified.") from None
        except (OSError, TimeoutError):
            plain.close()
            raise Refusal(502, f"{place.authority} does not speak TLS as it should.") from None
        except BaseException:
            plain.close()
            raise
        return inside


def _asked(origin: Place | None, request: h11.Request) -> tuple[Place, bytes]:
    """Where a request goes and what it asks for there.

    Raises:
        Refusal: 400, it is malformed, or says two different things about the server.
    """
    if origin is None:
        place, target, default = *_absolute(request.target), 80
    else:
        place, target, default = origin, request.target, origin.port
        if not target.startswith(b"/") and target != b"*":
            raise Refusal(400, "Inside a connection to one server only paths are answered.")
    for name, value in request.headers:
        if name == b"host" and _place(value, default) != place:
            raise Refusal(400, "The Host header names another server than the request.")
    return place, target


def _absolute(target: bytes) -> tuple[Place, bytes]:
    match = _ABSOLUTE.match(target)
    if match is None:
        raise Refusal(400, "The request names no http:// URL; for https use CONNECT.")
    path = match[2] or b"/"
    return _place(match[1], 80), path if path.startswith(b"/") else b"/" + path


def _connect_place(request: h11.Request) -> Place:
    place = _place(request.target, None)
    for name, value in request.headers:
        if name == b"host" and _place(value, place.port).host != place.host:
            raise Refusal(400, "The Host header names another server than the request.")
    return place


def _place(raw: bytes, default_port: int | None) -> Place:
    try:
        return parse_place(raw.decode("ascii"), default_port)
    except UnicodeDecodeError:
        raise Refusal(400, "The host is not ASCII; an international name is sent in its xn-- form.") from None
    except BadHost as error:
        raise Refusal(400, f"The server's host or port cannot be taken: {error}.") from None


def _host_header(place: Place, secure: bool) -> bytes:
    authority = place.authority
    usual = ":443" if secure else ":80"
    return authority.removesuffix(usual).encode("ascii")


def _passed_on(headers: h11._headers.Headers | Headers, dropped: frozenset[bytes]) -> Headers:
    """Headers that are for the other end, and not for the connection that they came on."""
    named = {
        word.strip().lower() for name, value in headers if name == b"connection" for word in value.split(b",")
    }
    return [(name, value) for name, value in headers if name not in dropped and name not in named]


def _framing(request: h11.Request) -> Headers:
    return [
        (name, value) for name, value in request.headers if name in (b"transfer-encoding", b"content-length")
    ]


async def _check_hello(near: Plain, place: Place) -> None:
    """Lets a connection go on only if it opens TLS to the very server that was asked for; what was read is pushed back.

    Raises:
        Refusal: It does not.
        TimeoutError: Nothing came.
    """
    data = b""
    try:
        async with asyncio.timeout(HELLO_TIMEOUT_S):
            while (hello := parse_hello(data)) is None:
                piece = await near.receive(MAX_BYTES - len(data))
                if not piece:
                    raise BadHello("the connection ended before its hello")
                data += piece
    except BadHello as error:
        raise await _deny(near, f"A connection to {place.host} must be TLS: {error}.") from None
    if hello.server_name is None or hello.is_encrypted:
        raise await _deny(near, f"The TLS hello to {place.host} hides or leaves out the server's name.")
    if not _same_name(hello.server_name, place.host):
        raise await _deny(near, f"The TLS hello names another server than {place.host}, which was asked for.")
    near.push_back(data)


def _same_name(sent: str, host: str) -> bool:
    try:
        return not sent.endswith(".") and canonical_host(sent) == host
    except BadHost:
        return False


async def _deny(near: Plain, sentence: str) -> Refusal:
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(1):
            await near.send(ACCESS_DENIED)
    return Refusal(403, sentence)


@asynccontextmanager
async def _asking(stream: Stream, request: h11.Request, body: AsyncIterator[bytes]) -> AsyncIterator[Answer]:
    """Sends a request while its answer is awaited and read: a server may answer before it has heard all."""
    http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_ANSWER_HEADER_BYTES)
    upload = asyncio.ensure_future(_upload(http, stream, request, body))
    head = asyncio.ensure_future(_head(http, stream))
    try:
        await asyncio.wait((upload, head), return_when=asyncio.FIRST_COMPLETED)
        if upload.done():
            upload.result()  # a client that fails in its own request is told so, not left waiting
        response = await head
        headers = _passed_on(response.headers, _HOP)
        yield Answer(response.status_code, tuple(headers), _content(http, stream))
    finally:
        for task in (upload, head):
            task.cancel()
        await asyncio.gather(upload, head, return_exceptions=True)


async def _upload(
    http: h11.Connection, stream: Stream, request: h11.Request, body: AsyncIterator[bytes]
) -> None:
    if not await _say(http, stream, request):
        return
    async for piece in body:
        if not await _say(http, stream, h11.Data(data=piece)):
            return
    await _say(http, stream, h11.EndOfMessage())


async def _say(
    http: h11.Connection, stream: Stream, event: h11.Request | h11.Data | h11.EndOfMessage
) -> bool:
    """False when the server takes no more: then what it has answered counts."""
    try:
        data = http.send(event)
    except h11.LocalProtocolError:
        raise Refusal(400, "The request's body has another length than it announced.") from None
    try:
        async with asyncio.timeout(WRITE_TIMEOUT_S):
            await stream.send(data or b"")
    except (OSError, TimeoutError):
        return False
    return True


async def _head(http: h11.Connection, stream: Stream) -> h11.Response:
    while True:
        event = await _next(http, stream)
        if isinstance(event, h11.Response):
            return event
        if not isinstance(event, h11.InformationalResponse) or event.status_code == 101:
            raise Refusal(502, "The server sent something that is no answer.")


async def _content(http: h11.Connection, stream: Stream) -> AsyncIterator[bytes]:
    while not isinstance(event := await _next(http, stream), h11.EndOfMessage):
        if not isinstance(event, h11.Data):
            raise Refusal(502, "The server broke off its answer.")
        yield bytes(event.data)


async def _next(http: h11.Connection, stream: Stream) -> h11.Event | type[h11.PAUSED]:
    try:
        while (event := http.next_event()) is h11.NEED_DATA:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                http.receive_data(await stream.receive(_PIECE))
    except h11.RemoteProtocolError:
        raise Refusal(502, "The server broke off its answer, or it is not well-formed HTTP/1.1.") from None
    except TimeoutError:
        raise Refusal(504, "The server did not go on with its answer in time.") from None
    except OSError:
        raise Refusal(502, "The server broke off its answer.") from None
    assert not isinstance(event, type) or event is h11.PAUSED
    return event
