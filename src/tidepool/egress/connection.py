"""One client's connection: bytes to checked requests and answers to bytes, through h11.

No policy and no destinations here. The client is hostile: every wait has a deadline, every size a bound, and
after anything malformed the connection is closed, so that no leftover byte is ever taken for a second
request.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import suppress

import h11

from tidepool.egress.packages import Answer
from tidepool.egress.policy import Place
from tidepool.egress.refusal import Refusal
from tidepool.egress.stream import Plain, Stream

MAX_HEADER_BYTES = 16 << 10
HEADER_TIMEOUT_S = 15.0
WRITE_TIMEOUT_S = 60.0
"""For one piece of an answer (64 KiB or less) to be taken by the client."""
BODY_TIMEOUT_S = 300.0
"""For each further piece of a request's body."""
_LINGER_S = 1.0
# The parser measures a header only while it is incomplete: a big piece could bring a too long one whole.
_PIECE_BYTES = 4096
_BODY_PIECE_BYTES = 64 << 10
_HOST = re.compile(rb"(127\.0\.0\.1|localhost)(:\d{1,5})?\Z", re.IGNORECASE)


class Connection:
    """A connection that a sandbox has made, or the inside of one whose TLS was opened.

    Args:
        stream: Belongs to this object.
        origin: The server that the client means, where TLS was opened; None: the proxy itself.
        header_timeout_s: Seconds for a whole request header, and for the pause between two requests.
    """

    def __init__(
        self, stream: Stream, origin: Place | None = None, header_timeout_s: float = HEADER_TIMEOUT_S
    ) -> None:
        self._stream = stream
        self.origin = origin
        self._header_timeout_s = header_timeout_s
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEADER_BYTES)
        self._head_only = False
        self.status = 0
        """Of the last answer; 0 while none has begun."""
        self.body_bytes = 0
        """Sent so far for the last answer, whether or not it was completed."""

    async def receive(self) -> h11.Request | None:
        """The next request, to the proxy itself a GET or HEAD without a body; None when the client has said all.

        Raises:
            Refusal: Malformed, too large, too slow, or not a method or host that is answered; close after it.
        """
        self._head_only = False  # what cannot even be read is refused with a body
        try:
            async with asyncio.timeout(self._header_timeout_s):
                request = await self._next_request()
        except TimeoutError:
            if not self._http.trailing_data[0]:
                return None
            raise Refusal(408, f"The request header took longer than {self._header_timeout_s:g} s.") from None
        if request is not None:
            self._head_only = request.method == b"HEAD"
            _check(request)
            if self.origin is None and not is_to_another(request):
                _check_mirror(request)
        return request

    async def _next_request(self) -> h11.Request | None:
        ended = False
        while True:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError as error:
                if ended:
                    return None
                raise Refusal(error.error_status_hint, _malformed(error.error_status_hint)) from None
            if isinstance(event, h11.Request):
                return event
            if event is h11.NEED_DATA:
                data = await self._stream.receive(_PIECE_BYTES)
                ended = not data
                self._http.receive_data(data)
            elif isinstance(event, h11.ConnectionClosed):
                return None

    async def body(self) -> AsyncIterator[bytes]:
        """The body of the last request, in pieces as they come.

        Raises:
            Refusal: It breaks off, is malformed, or does not come in time.
        """
        if self._http.they_are_waiting_for_100_continue:
            await self._write(h11.InformationalResponse(status_code=100, headers=[]))
        try:
            while not isinstance(event := self._http.next_event(), h11.EndOfMessage):
                if isinstance(event, h11.Data):
                    yield bytes(event.data)
                    continue
                async with asyncio.timeout(BODY_TIMEOUT_S):
                    self._http.receive_data(await self._stream.receive(_BODY_PIECE_BYTES))
        except h11.RemoteProtocolError:
            raise Refusal(400, "The request's body breaks off or is malformed.") from None
        except TimeoutError:
            raise Refusal(408, f"The request's body paused for longer than {BODY_TIMEOUT_S:g} s.") from None

    async def take_over(self) -> Plain:
        """Says yes to a CONNECT; the bytes that follow have no more to do with this object, which still closes them."""
        assert isinstance(self._stream, Plain)
        self._http.next_event()  # the end of the request, which has no body
        self.status = 200
        await self._write(h11.Response(status_code=200, headers=[], reason=b"Connection established"))
        self._stream.push_back(self._http.trailing_data[0])
        return self._stream

    async def send(self, answer: Answer) -> None:
        """Sends an answer.

        Raises:
            OSError, TimeoutError: The client is gone, or does not take what it asked for.
            Refusal: The body broke off upstream; nothing more can be said on this connection.
        """
        self.status = answer.status
        head = h11.Response(
            status_code=answer.status, headers=[(_raw(n), _raw(v)) for n, v in answer.headers]
        )
        try:
            if self._head_only:
                await self._write(head, h11.EndOfMessage())
            elif isinstance(answer.body, bytes):
                await self._write(head, h11.Data(data=answer.body), h11.EndOfMessage())
                self.body_bytes = len(answer.body)
            else:
                await self._write(head)
                await self._send_pieces(answer.body)
        except h11.LocalProtocolError:
            raise Refusal(502, "The server sent another length than it announced.") from None

    async def _send_pieces(self, body: AsyncIterator[bytes]) -> None:
        async for chunk in body:
            await self._write(h11.Data(data=chunk))
            self.body_bytes += len(chunk)
        await self._write(h11.EndOfMessage())

    async def refuse(self, refusal: Refusal, close: bool = False) -> None:
        """Sends a sentence instead of content; nothing when content has already begun: then it must end
        short."""
        if self._http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        body = (refusal.sentence + "\n").encode()
        headers = [("content-type", "text/plain; charset=utf-8"), ("content-length", str(len(body)))]
        if refusal.status == 405:
            headers.append(("allow", "GET, HEAD"))
        if close:
            headers.append(("connection", "close"))
        await self.send(Answer(refusal.status, tuple(headers), body))

    def next_cycle(self) -> bool:
        """Whether the client may ask again on this connection."""
        with suppress(h11.RemoteProtocolError):
            if self._http.their_state is h11.SEND_BODY:
                self._http.next_event()  # the end of a request that has no body, or whose body was left unread
        if (self._http.our_state, self._http.their_state) != (h11.DONE, h11.DONE):
            return False
        self._http.start_next_cycle()
        return True

    async def finish(self) -> None:
        """Closes, after giving the client a moment to read what was last said (unread input would reset
        it)."""
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(_LINGER_S):
                await self._stream.end()
                for _ in range(16):
                    if not await self._stream.receive(65536):
                        break
        self.close()

    def close(self) -> None:
        """Closes at once; an answer that was not complete is seen as broken off."""
        self._stream.close()

    async def _write(self, *events: h11.Event) -> None:
        data = b"".join(self._http.send(event) or b"" for event in events)
        if data:
            async with asyncio.timeout(WRITE_TIMEOUT_S):
                await self._stream.send(data)


def _raw(text: str | bytes) -> bytes:
    return text.encode("ascii") if isinstance(text, str) else text


def _malformed(status: int) -> str:
    if status == 431:
        return f"The request header is longer than {MAX_HEADER_BYTES} bytes."
    return "The request is not well-formed HTTP/1.1."


def is_to_another(request: h11.Request) -> bool:
    """Whether a request to the proxy is meant for another server: CONNECT, or not just a path."""
    return request.method == b"CONNECT" or not request.target.startswith(b"/")


def _check(request: h11.Request) -> None:
    if request.http_version not in (b"1.0", b"1.1"):
        raise Refusal(505, "The proxy speaks HTTP/1.1.")
    framing = {name for name, _ in request.headers if name in (b"transfer-encoding", b"content-length")}
    if len(framing) > 1 or (framing and request.method == b"CONNECT"):
        raise Refusal(400, "The request says in two ways, or in the wrong place, how long its body is.")


def _check_mirror(request: h11.Request) -> None:
    if request.method not in (b"GET", b"HEAD"):
        raise Refusal(405, "Only GET and HEAD are answered: this is a read-only mirror of package indexes.")
    for name, value in request.headers:
        if name == b"transfer-encoding" or (name == b"content-length" and value.strip(b"0")):
            raise Refusal(400, "A request to the mirror has no body.")
        if name == b"host" and not _HOST.match(value):
            raise Refusal(
                421, "This mirror answers for 127.0.0.1 and localhost only; it is no proxy to other servers."
            )
