"""The few places where async and sync client really differ, side by side: waiting, threads, files, pools.

Everything above is written once (`_async/`) and generated (`_sync/`, without the `async_` prefix of here).
httpcore and anyio are imported at the first call, so that importing the SDK stays cheap.
"""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from daytona_sdk._config import Endpoint
from daytona_sdk._requests import BodyPart, Call
from daytona_sdk.common.errors import DaytonaConnectionError, DaytonaConnectionTimeoutError, DaytonaError

if TYPE_CHECKING:
    import httpcore

T = TypeVar("T")

KEEPALIVE = 4.0
"""Seconds an idle connection is kept: less than servers do (5 is common), so that we are first to close."""
CONNECT_TIMEOUT = 10.0
CHUNK = 1 << 16


async def async_sleep(seconds: float) -> None:
    """Wait without blocking the loop."""
    import anyio

    await anyio.sleep(seconds)


def sleep(seconds: float) -> None:
    """Wait."""
    time.sleep(seconds)


async def async_call(function: Callable[..., T], *args: Any) -> T:
    """A blocking function, in a thread."""
    import anyio.to_thread

    return await anyio.to_thread.run_sync(function, *args)


def call(function: Callable[..., T], *args: Any) -> T:
    """A blocking function."""
    return function(*args)


async def async_body(parts: Sequence[BodyPart]) -> AsyncIterator[bytes]:
    """The bytes of a request body; local files are read in a thread, piece by piece."""
    import anyio

    for part in parts:
        if isinstance(part, bytes):
            yield part
            continue
        async with await anyio.open_file(part, "rb") as file:
            while chunk := await file.read(CHUNK):
                yield chunk


def body(parts: Sequence[BodyPart]) -> Iterator[bytes]:
    """The bytes of a request body; local files are read piece by piece."""
    for part in parts:
        if isinstance(part, bytes):
            yield part
            continue
        with open(part, "rb") as file:
            while chunk := file.read(CHUNK):
                yield chunk


def async_close_at_end(owner: object, pool: httpcore.AsyncConnectionPool) -> None:
    """Nothing can be awaited when an object goes: an async client is closed by `async with` or `close()`."""


def close_at_end(owner: object, pool: httpcore.ConnectionPool) -> None:
    """Close the sockets when the client goes: a program that never closes it gets no warning."""
    weakref.finalize(owner, pool.close)


def async_backend() -> httpcore.AsyncNetworkBackend | None:
    """httpcore's own."""
    return None


def backend() -> httpcore.NetworkBackend:
    """httpcore's own, which alone would leave a socket open where nobody listens on a Unix socket any more."""
    import socket

    import httpcore

    class Backend(httpcore.SyncBackend):
        def connect_unix_socket(
            self, path: str, timeout: float | None = None, socket_options: Any = None
        ) -> httpcore.NetworkStream:
            """Look first whether somebody listens."""
            with socket.socket(socket.AF_UNIX) as probe:
                try:
                    probe.connect(path)
                except OSError as exc:
                    raise httpcore.ConnectError(str(exc)) from exc
            return super().connect_unix_socket(path, timeout, socket_options)

    return Backend()


def pool_options(endpoint: Endpoint, uds: str | None) -> dict[str, Any]:
    """Arguments of httpcore's pool, sync or async."""
    options: dict[str, Any] = {
        "uds": uds,
        "max_connections": endpoint.max_connections,
        "keepalive_expiry": KEEPALIVE,
    }
    if endpoint.url.startswith("https:"):
        import ssl  # the system's certificates, which an operator can add to

        options["ssl_context"] = ssl.create_default_context()
    return options


def request_parts(call: Call[Any], common: Sequence[tuple[bytes, bytes]], content: object) -> dict[str, Any]:
    """Arguments of httpcore's `Request`: a body wholly in memory has a length and leaves in one piece."""
    headers = [(b"Host", urlsplit(call.url).netloc.encode()), *common, *call.headers]
    extensions = {"timeout": {"connect": CONNECT_TIMEOUT, "read": call.timeout, "write": call.timeout}}
    parts = {"method": call.method, "url": call.url, "headers": headers, "extensions": extensions}
    if any(not isinstance(part, bytes) for part in call.body):
        headers.append((b"Transfer-Encoding", b"chunked"))
        return {**parts, "content": content}
    whole = b"".join(part for part in call.body if isinstance(part, bytes))
    if whole or call.method in ("POST", "PUT"):
        headers.append((b"Content-Length", str(len(whole)).encode()))
    return {**parts, "content": whole}


def transport_errors() -> tuple[type[Exception], ...]:
    """What httpcore raises when no whole answer arrives."""
    import httpcore

    return (
        httpcore.TimeoutException,
        httpcore.NetworkError,
        httpcore.ProtocolError,
        httpcore.UnsupportedProtocol,
    )


def may_repeat(call: Call[Any], exc: Exception, local: bool) -> bool:
    """Whether a request that got no answer is sent once more.

    Could not connect: nothing was sent; the local server is started again, another server is left alone.
    Broke off: only what is safe to do twice; the server may have done it already.
    """
    import httpcore

    if isinstance(exc, httpcore.ConnectError):
        return local
    return call.safe and isinstance(
        exc, (httpcore.ReadError, httpcore.WriteError, httpcore.RemoteProtocolError)
    )


def failure(call: Call[Any], exc: Exception) -> DaytonaError:
    """The exception, with a sentence, for a request that got no whole answer."""
    import httpcore

    where = "{0.scheme}://{0.netloc}".format(urlsplit(call.url))
    said = str(exc) or type(exc).__name__
    if isinstance(exc, httpcore.ConnectTimeout):
        text = f"{where} did not accept a connection within {CONNECT_TIMEOUT:g} s"
        return DaytonaConnectionTimeoutError(f"Failed to {call.what}: {text}.")
    if isinstance(exc, httpcore.TimeoutException):
        text = f"{where} made no progress for {call.timeout:g} s; what it was asked for may still happen"
        return DaytonaConnectionTimeoutError(f"Failed to {call.what}: {text}.")
    if isinstance(exc, httpcore.ConnectError):
        return DaytonaConnectionError(f"Failed to {call.what}: no server at {where} ({said}).")
    if isinstance(exc, (httpcore.LocalProtocolError, httpcore.UnsupportedProtocol)):
        return DaytonaError(f"Failed to {call.what}: the request cannot be sent ({said}).")
    return DaytonaConnectionError(f"Failed to {call.what}: the connection to {where} broke off ({said}).")


def check_file(path: str | os.PathLike[str]) -> None:
    """Refuse a local file that cannot be read before anything is sent.

    Raises:
        OSError: It is missing, a directory or not readable.
    """
    with open(path, "rb"):
        pass


class PartFile:
    """A local file that appears under its name only when it is complete."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = os.fspath(path)
        self._part = f"{self._path}.{os.urandom(4).hex()}.part"
        self._file = open(self._part, "xb")  # noqa: SIM115 (closed by commit or discard)

    def write(self, data: bytes) -> None:
        """Append."""
        self._file.write(data)

    def commit(self) -> None:
        """Give it its name; an older file of that name is replaced."""
        self._file.close()
        os.replace(self._part, self._path)

    def discard(self) -> None:
        """Leave nothing behind; after `commit` it does nothing."""
        if not self._file.closed:
            self._file.close()
            os.unlink(self._part)
