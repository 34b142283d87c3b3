"""The way out: GET and HEAD to one index and to the places that it names, and to nowhere else.

One `Upstream` per index, with a connection pool of its own, so that what is trusted for one index is trusted
for no other. Every dial goes to an address that was checked; TLS is always verified; credentials go to the
index's own origin only; redirects are followed here and never shown to the client.
"""

import asyncio
import socket
import ssl
import zlib
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import httpcore

from tidepool.egress.cache import Cache, Made
from tidepool.egress.destination import BadUrl, Origin, Url, is_public, join, parse_url
from tidepool.egress.indexes import Index
from tidepool.egress.refusal import Refusal

MAX_REDIRECTS = 5
MAX_PAGE_BYTES = 48 << 20
"""Largest page, unpacked."""
CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 60.0
NAME_TTL_S = 30.0
MAX_NAMES = 1000
_REDIRECTS = (301, 302, 303, 307, 308)
_AGENT = b"tidepool-egress"


@dataclass(frozen=True)
class Reply:
    """An answer from upstream whose body has not been read yet."""

    status: int
    headers: Mapping[str, str]
    url: Url
    """Where it came from, after redirects."""
    body: AsyncIterator[bytes]
    """As sent, not decoded."""


class Upstream:
    """One index and whatever it names, by link or by redirect.

    Args:
        index: The operator's configuration. Its own origin may be private and may be plain http.
    """

    def __init__(self, index: Index) -> None:
        self.index = index
        self.url = parse_url(index.url)
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=_tls(index.ca),
            max_connections=256,
            max_keepalive_connections=16,
            keepalive_expiry=30.0,
            network_backend=CheckedNetwork(self.url.origin),
        )

    async def close(self) -> None:
        """Closes every connection."""
        await self._pool.aclose()

    @asynccontextmanager
    async def fetch(self, method: str, url: Url, headers: Mapping[str, str]) -> AsyncIterator[Reply]:
        """Asks for a URL that the index named; follows redirects.

        Raises:
            Refusal: 403 a destination that is never allowed, 502 the index cannot be reached, 504 it is too
                slow.
        """
        for _ in range(MAX_REDIRECTS + 1):
            self._check(url)
            response = await self._send(method, url, headers)
            try:
                names = {
                    key.decode("ascii").lower(): value.decode("latin-1") for key, value in response.headers
                }
                if response.status not in _REDIRECTS:
                    yield Reply(response.status, names, url, _body(response))
                    return
                url = _follow(url, names.get("location", ""))
            finally:
                await response.aclose()
        raise Refusal(502, f"The package index redirects more than {MAX_REDIRECTS} times.")

    async def page(self, url: Url, accept: str) -> tuple[Reply, bytes]:
        """A whole page, unpacked; the body is empty unless the status is 200.

        Raises:
            Refusal: As `fetch`; 502 also when the page is larger than `MAX_PAGE_BYTES`.
        """
        async with self.fetch("GET", url, {"accept": accept, "accept-encoding": "gzip"}) as reply:
            if reply.status != 200:
                return reply, b""
            return reply, await _read_page(reply)

    def _check(self, url: Url) -> None:
        """Who may be asked at all; which of its addresses is decided when it is dialled."""
        if url.origin == self.url.origin:
            return
        if url.origin.scheme != "https" or url.origin.port != 443:
            raise Refusal(
                403, "The package index names a place that is not https on port 443; it is not fetched."
            )

    async def _send(self, method: str, url: Url, headers: Mapping[str, str]) -> httpcore.Response:
        request = httpcore.Request(
            method, _wire_url(url), headers=self._headers(url, headers), extensions={"timeout": _TIMEOUTS}
        )
        try:
            return await self._pool.handle_async_request(request)
        except (httpcore.ReadError, httpcore.WriteError, httpcore.RemoteProtocolError):
            # Most often a kept connection that the server has just closed; asking again is safe for GET and
            # HEAD.
            with _sentences():
                return await self._pool.handle_async_request(request)
        except _TROUBLE as error:
            raise _refusal(error) from error

    def _headers(self, url: Url, headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
        sent = [(b"host", url.origin.authority.encode("ascii")), (b"user-agent", _AGENT)]
        sent += [(key.encode("ascii"), value.encode("ascii")) for key, value in headers.items()]
        if url.origin == self.url.origin and self.index.authorization is not None:
            sent.append((b"authorization", self.index.authorization.encode("latin-1")))
        return sent


_TIMEOUTS = {
    "connect": CONNECT_TIMEOUT_S,
    "read": READ_TIMEOUT_S,
    "write": READ_TIMEOUT_S,
    "pool": READ_TIMEOUT_S,
}


def _tls(ca: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _wire_url(url: Url) -> httpcore.URL:
    # Built from the parts that were checked: the client library never parses a text.
    scheme, host, port = url.origin.scheme, url.origin.host, url.origin.port
    return httpcore.URL(scheme=scheme.encode(), host=host.encode(), port=port, target=url.target.encode())


def _follow(url: Url, location: str) -> Url:
    try:
        return join(url, location)
    except BadUrl:
        raise Refusal(502, "The package index redirects to something that is not a usable URL.") from None


_TROUBLE = (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError, OSError)


@contextmanager
def _sentences() -> Iterator[None]:
    try:
        yield
    except _TROUBLE as error:
        raise _refusal(error) from error


def _refusal(error: Exception) -> Refusal:
    """What the client library raised, as a sentence; no address or URL of the outside gets into it."""
    if isinstance(error, httpcore.TimeoutException):
        return Refusal(504, "The package index did not answer in time.")
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in _causes(error)):
        return Refusal(502, "The package index's certificate could not be verified.")
    return Refusal(502, "The package index could not be reached, or broke off.")


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


async def _body(response: httpcore.Response) -> AsyncIterator[bytes]:
    with _sentences():
        async for chunk in response.aiter_stream():
            yield chunk


async def _read_page(reply: Reply) -> bytes:
    unpack = zlib.decompressobj(wbits=31) if reply.headers.get("content-encoding", "") == "gzip" else None
    parts, size = [], 0
    async for chunk in reply.body:
        # One byte more than allowed is enough to know; a bomb is never unpacked further.
        data = unpack.decompress(chunk, MAX_PAGE_BYTES + 1 - size) if unpack else chunk
        size += len(data)
        if size > MAX_PAGE_BYTES:
            raise Refusal(502, "The package index sent a page that is too large.")
        parts.append(data)
    if unpack is not None and not unpack.eof:
        raise Refusal(502, "The package index sent a page that breaks off.")
    return b"".join(parts)


class CheckedNetwork(httpcore.AsyncNetworkBackend):
    """Resolves, checks and dials: the address that is connected to is the one that was checked.

    Args:
        own: The index's origin. Its own host and port may have any address. Another host is dialled at public
            addresses, or at an address and port that the index itself is at: it is the same server by another
            name.
    """

    def __init__(self, own: Origin) -> None:
        self._own = own
        self._network = httpcore.AnyIOBackend()
        self._names: Cache[list[str]] = Cache(MAX_NAMES)

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the interface is the client library's
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connects to the first address that answers of those a name has, once all of them have been checked.

        Raises:
            Refusal: 403 one of them is not allowed, 502 the name has none, 504 resolving takes too long.
        """
        addresses = await self._allowed(host, port)
        for address in addresses[:-1]:
            try:
                return await self._network.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue  # the next address of the same name
        return await self._network.connect_tcp(addresses[-1], port, timeout, local_address, socket_options)

    async def sleep(self, seconds: float) -> None:
        """Waits, for the client library's own pauses."""
        await asyncio.sleep(seconds)

    async def _allowed(self, host: str, port: int) -> list[str]:
        addresses = await self._resolve(host, port)
        if (host, port) == (self._own.host, self._own.port):
            return addresses
        doubtful = [address for address in addresses if not is_public(address)]
        if doubtful:
            same = await self._resolve(self._own.host, self._own.port) if port == self._own.port else []
            # One private answer among public ones is how rebinding looks: the whole name is refused.
            if not set(doubtful) <= set(same):
                raise Refusal(
                    403, "The package index names a place inside a private network; it is not fetched."
                )
        return addresses

    async def _resolve(self, host: str, port: int) -> list[str]:
        """A name's addresses, asked for once however many connections are opened at the same time."""

        async def make() -> Made[list[str]]:
            return Made(await _look_up(host, port), 1, NAME_TTL_S)

        return await self._names.get((host, port), make)


async def _look_up(host: str, port: int) -> list[str]:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except TimeoutError:
        raise Refusal(504, "The name of the package index could not be resolved in time.") from None
    except (OSError, UnicodeError):
        raise Refusal(502, "The name of the package index could not be resolved.") from None
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))
