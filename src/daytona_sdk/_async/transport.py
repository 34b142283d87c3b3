"""Sends what `_requests` builds and hands its answers back: one pool, opened at the first call.

No URL, no JSON and no meaning of a status is known here. A request goes out once; what `_rim.may_repeat`
allows is done once more.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, TypeVar

from daytona_sdk import _local, _rim
from daytona_sdk._config import Endpoint
from daytona_sdk._requests import Answer, Call, common_headers

if TYPE_CHECKING:
    import httpcore

T = TypeVar("T")


class AsyncTransport:
    """The way to one server."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._headers = common_headers(endpoint.token)
        self._pool: httpcore.AsyncConnectionPool | None = None
        self._pid = os.getpid()

    async def send(self, call: Call[T]) -> T:
        """One request, its whole answer, its value.

        Raises:
            DaytonaError: The server refused, or there was no answer.
        """
        return call.value(await self._whole(call, await self._respond(call)))

    @contextlib.asynccontextmanager
    async def stream(self, call: Call[Any]) -> AsyncIterator[AsyncIterator[bytes]]:
        """One request whose answer is taken piece by piece; leaving the block closes it, finished or not."""
        response = await self._respond(call)
        if not 200 <= response.status < 300:
            call.value(await self._whole(call, response))
        try:
            yield self._pieces(call, response)
        finally:
            await response.aclose()

    async def save(self, call: Call[bytes], path: str | os.PathLike[str]) -> None:
        """One request whose answer becomes a local file; on failure there is none.

        Raises:
            OSError: The file cannot be written.
        """
        async with self.stream(call) as pieces:
            file = await _rim.async_call(_rim.PartFile, path)
            try:
                async for piece in pieces:
                    await _rim.async_call(file.write, piece)
                await _rim.async_call(file.commit)
            finally:
                file.discard()

    async def close(self) -> None:
        """Close every connection; the next call opens a new one."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.aclose()

    async def _respond(self, call: Call[Any]) -> httpcore.Response:
        """The head of the answer."""
        tried: list[bool] = []
        while True:
            pool = await self._connected()
            import httpcore

            request = httpcore.Request(**_rim.request_parts(call, self._headers, _rim.async_body(call.body)))
            try:
                return await pool.handle_async_request(request)
            except _rim.transport_errors() as exc:
                unreached = isinstance(exc, httpcore.ConnectError)
                if unreached in tried or not _rim.may_repeat(call, exc, self.endpoint.local):
                    raise _rim.failure(call, exc) from exc
            tried.append(unreached)
            if unreached:
                await self.close()  # the local server is gone: the next round finds or starts one

    async def _connected(self) -> httpcore.AsyncConnectionPool:
        if os.getpid() != self._pid:  # a forked child must not speak on its parent's connections
            self._pool, self._pid = None, os.getpid()
        if self._pool is not None:
            return self._pool
        uds = await _rim.async_call(_local.ensure) if self.endpoint.local else None
        import httpcore  # only now: while a local server starts there is time for it

        pool = self._pool  # another first call may have been faster
        if pool is None:
            options = _rim.pool_options(self.endpoint, uds)
            self._pool = pool = httpcore.AsyncConnectionPool(network_backend=_rim.async_backend(), **options)
            _rim.async_close_at_end(self, pool)
        return pool

    async def _whole(self, call: Call[Any], response: httpcore.Response) -> Answer:
        try:
            body = await response.aread()
        except _rim.transport_errors() as exc:
            raise _rim.failure(call, exc) from exc
        finally:
            await response.aclose()
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers
        }
        return Answer(response.status, headers, body)

    async def _pieces(self, call: Call[Any], response: httpcore.Response) -> AsyncIterator[bytes]:
        try:
            async for piece in response.aiter_stream():
                yield piece
        except _rim.transport_errors() as exc:
            raise _rim.failure(call, exc) from exc
