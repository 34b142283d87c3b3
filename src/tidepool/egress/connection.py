"""One client's connection: bytes to checked requests and answers to bytes, through h11.

No policy and no destinations here. The client is hostile: every wait has a deadline, every size a bound, and
after anything malformed the connection is closed, so that no leftover byte is ever taken for a second
request.
"""

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import suppress

import h11

from tidepool.egress.packages import Answer
from tidepool.egress.refusal import Refusal

MAX_HEADER_BYTES = 16 << 10
HEADER_TIMEOUT_S = 15.0
WRITE_TIMEOUT_S = 60.0
"""For one piece of an answer (64 KiB or less) to be taken by the client."""
_LINGER_S = 1.0
# The parser measures a header only while it is incomplete: a big piece could bring a too long one whole.
_PIECE_BYTES = 4096
_HOST = re.compile(rb"(127\.0\.0\.1|localhost)(:\d{1,5})?\Z", re.IGNORECASE)


class Connection:
    """A connected socket of a sandbox.

    Args:
        sock: Non-blocking; belongs to this object.
        header_timeout_s: Seconds for a whole request header, and for the pause between two requests.
    """

    def __init__(self, sock: socket.socket, header_timeout_s: float = HEADER_TIMEOUT_S) -> None:
        self._sock = sock
        self._header_timeout_s = header_timeout_s
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEADER_BYTES)
        self._head_only = False
        self.status = 0
        """Of the last answer; 0 while none has begun."""
        self.body_bytes = 0
        """Sent so far for the last answer, whether or not it was completed."""

    async def receive(self) -> h11.Request | None:
        """The next request, a GET or HEAD without a body; None when the client has nothing more to say.

        Raises:
            Refusal: Malformed, too large, too slow, or not a method or host that is answered; close after it.
        """
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
                data = await asyncio.get_running_loop().sock_recv(self._sock, _PIECE_BYTES)
                ended = not data
                self._http.receive_data(data)
            elif isinstance(event, h11.ConnectionClosed):
                return None

    async def send(self, answer: Answer) -> None:
        """Sends an answer.

        Raises:
            OSError, TimeoutError: The client is gone, or does not take what it asked for.
            Refusal: The body broke off upstream; nothing more can be said on this connection.
        """
        self.status = answer.status
        head = h11.Response(status_code=answer.status, headers=list(answer.headers))
        try:
            if self._head_only:
                await self._write(head, h11.EndOfMessage())
            elif isinstance(answer.body, bytes):
                await self._write(head, h11.Data(data=answer.body), h11.EndOfMessage())
                self.body_bytes = len(answer.body)
            else:
                await self._write(head)
                await self._stream(answer.body)
        except h11.LocalProtocolError:
            raise Refusal(502, "The package index sent another length than it announced.") from None

    async def _stream(self, body: AsyncIterator[bytes]) -> None:
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
        self._http.next_event()  # the end of the request, which has no body
        if (self._http.our_state, self._http.their_state) != (h11.DONE, h11.DONE):
            return False
        self._http.start_next_cycle()
        return True

    async def finish(self) -> None:
        """Closes, after giving the client a moment to read what was last said (unread input would reset
        it)."""
        with suppress(OSError, TimeoutError):
            self._sock.shutdown(socket.SHUT_WR)
            async with asyncio.timeout(_LINGER_S):
                for _ in range(16):
                    if not await asyncio.get_running_loop().sock_recv(self._sock, 65536):
                        break
        self.close()

    def close(self) -> None:
        """Closes at once; an answer that was not complete is seen as broken off."""
        self._sock.close()

    async def _write(self, *events: h11.Response | h11.Data | h11.EndOfMessage) -> None:
        data = b"".join(self._http.send(event) or b"" for event in events)
        if data:
            async with asyncio.timeout(WRITE_TIMEOUT_S):
                await asyncio.get_running_loop().sock_sendall(self._sock, data)


def _malformed(status: int) -> str:
    if status == 431:
        return f"The request header is longer than {MAX_HEADER_BYTES} bytes."
    return "The request is not well-formed HTTP/1.1."


def _check(request: h11.Request) -> None:
    if request.http_version not in (b"1.0", b"1.1"):
        raise Refusal(505, "The mirror speaks HTTP/1.1.")
    if request.method not in (b"GET", b"HEAD"):
        raise Refusal(405, "Only GET and HEAD are answered: this is a read-only mirror of package indexes.")
    for name, value in request.headers:
        if name == b"transfer-encoding" or (name == b"content-length" and value.strip(b"0")):
            raise Refusal(400, "A request to the mirror has no body.")
        if name == b"host" and not _HOST.match(value):
            raise Refusal(
                421, "This mirror answers for 127.0.0.1 and localhost only; it is no proxy to other servers."
            )
