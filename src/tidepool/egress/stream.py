"""Bytes in both directions: over a socket as they are, or through TLS over another stream.

No meaning is given to the bytes here. Reads are never larger than asked for and writes wait for the other side, so
that a fast side cannot make this process hold what a slow one does not take.
"""

import asyncio
import socket
import ssl
from contextlib import suppress
from typing import Protocol

_TLS_PIECE = 32 << 10


class Stream(Protocol):
    """A connected stream."""

    async def receive(self, limit: int) -> bytes:
        """At most `limit` bytes; none at the end.

        Raises:
            OSError: It broke off.
        """
        ...

    async def send(self, data: bytes) -> None:
        """Returns when the other side's system has taken them.

        Raises:
            OSError: It broke off.
        """
        ...

    async def end(self) -> None:
        """Says that nothing more will be sent; the other direction goes on where the protocol allows it."""
        ...

    def close(self) -> None:
        """Closes at once."""
        ...


class Plain:
    """A non-blocking socket, which belongs to this object from now on."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._pushed_back = b""

    def push_back(self, data: bytes) -> None:
        """Bytes that the next `receive` gives again."""
        self._pushed_back = data + self._pushed_back

    async def receive(self, limit: int) -> bytes:
        """See `Stream`."""
        if self._pushed_back:
            data, self._pushed_back = self._pushed_back[:limit], self._pushed_back[limit:]
            return data
        return await asyncio.get_running_loop().sock_recv(self._sock, limit)

    async def send(self, data: bytes) -> None:
        """See `Stream`."""
        await asyncio.get_running_loop().sock_sendall(self._sock, data)

    async def end(self) -> None:
        """See `Stream`."""
        self._sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """See `Stream`."""
        self._sock.close()


class Tls:
    """TLS over a stream, which belongs to this object from now on; `handshake` comes first.

    Args:
        server_name: Whose certificate is wanted; None: this is the server's side.
    """

    def __init__(self, below: Stream, context: ssl.SSLContext, server_name: str | None = None) -> None:
        self._below = below
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._in, self._out, server_side=server_name is None, server_hostname=server_name
        )
        self._sending = asyncio.Lock()

    async def handshake(self) -> None:
        """Agrees on keys.

        Raises:
            OSError: It cannot be done (`ssl.SSLError` is one), or the other side broke off.
        """
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                if not await self._fill():
                    raise ConnectionResetError("the other side ended the handshake") from None
            except ssl.SSLError:
                with suppress(OSError):
                    await self._flush()  # the alert that says why
                raise
            else:
                return await self._flush()

    async def receive(self, limit: int) -> bytes:
        """See `Stream`."""
        while True:
            try:
                return self._tls.read(limit)
            except ssl.SSLWantReadError:
                await self._flush()
                if not await self._fill():
                    # Without its own farewell the end may be anybody's doing.
                    raise ConnectionResetError("the stream ended without notice") from None
            except ssl.SSLZeroReturnError:
                return b""

    async def send(self, data: bytes) -> None:
        """See `Stream`."""
        for start in range(0, len(data), _TLS_PIECE):
            self._tls.write(data[start : start + _TLS_PIECE])
            await self._flush()

    async def end(self) -> None:
        """See `Stream`."""
        with suppress(ssl.SSLWantReadError, ssl.SSLError):
            self._tls.unwrap()
        await self._flush()

    def close(self) -> None:
        """See `Stream`."""
        self._below.close()

    async def _flush(self) -> None:
        # In order, whoever of reader and writer has something to say.
        async with self._sending:
            while data := self._out.read(_TLS_PIECE):
                await self._below.send(data)

    async def _fill(self) -> bool:
        data = await self._below.receive(_TLS_PIECE)
        if data:
            self._in.write(data)
        return bool(data)
