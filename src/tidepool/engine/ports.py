"""Connections to programs that listen inside a sandbox.

The socket is of the sandbox's own network namespace, where only the loopback is: whatever port is named, nothing of
this host or of another sandbox can be reached. What is read from it is a guest's word.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Literal

from tidepool.engine.errors import InvalidSpec, SetupFailed, Unavailable

CONNECT_TIMEOUT_S = 5.0
Family = Literal["inet", "inet6"]
MakeSocket = Callable[[Family], Awaitable[socket.socket]]
"""Makes a socket in the sandbox's network namespace."""
_LOOPBACK: dict[Family, str] = {"inet": "127.0.0.1", "inet6": "::1"}


async def connect(make: MakeSocket, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to a port on 127.0.0.1, else on ::1.

    Raises:
        InvalidSpec: It is no port.
        Unavailable: Nothing listens there, or it does not answer within 5 s.
    """
    if not 1 <= port <= 65535:
        raise InvalidSpec(f"port is {port}; allowed is 1 to 65535")
    for family, address in _LOOPBACK.items():
        try:
            return await _connect(await make(family), address, port)
        except TimeoutError:
            break
        except (OSError, SetupFailed):  # refused, or no such addresses in this namespace
            continue
    raise Unavailable(f"nothing listens on port {port} of the sandbox; start a server in it first")


async def _connect(
    sock: socket.socket, address: str, port: int
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    try:
        sock.setblocking(False)
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await asyncio.get_running_loop().sock_connect(sock, (address, port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return await asyncio.open_connection(sock=sock)
    except BaseException:
        sock.close()
        raise
