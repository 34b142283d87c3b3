"""One connection with a client that is slow, silent or rude, on a real socket pair."""

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable

import pytest

from tidepool.egress.connection import Connection
from tidepool.egress.packages import Answer
from tidepool.egress.refusal import Refusal
from tidepool.egress.stream import Plain

GET = b"GET /simple/x/ HTTP/1.1\r\nHost: localhost\r\n\r\n"


def converse(
    client: Callable[[socket.socket], None], server: Callable[[Connection], Awaitable[object]]
) -> object:
    """Runs the client's first move, then the server's side; returns what the server's side returned."""
    near, far = socket.socketpair()
    near.setblocking(False)
    with near, far:
        client(far)
        return asyncio.run(_run(server, near))


async def _run(server: Callable[[Connection], Awaitable[object]], near: socket.socket) -> object:
    return await server(Connection(Plain(near), header_timeout_s=0.3))


def test_a_header_that_never_ends_is_refused_in_time():
    started = time.monotonic()
    with pytest.raises(Refusal) as caught:
        converse(lambda far: far.sendall(GET[:-2]), lambda connection: connection.receive())
    assert caught.value.status == 408
    assert 0.2 < time.monotonic() - started < 2


def test_one_byte_now_and_then_does_not_move_the_deadline():
    async def dripped(connection: Connection) -> None:
        loop = asyncio.get_running_loop()
        drip = loop.create_task(_drip(loop, far))
        try:
            await connection.receive()
        finally:
            drip.cancel()

    async def _drip(loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
        for byte in b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 100:
            await loop.sock_sendall(sock, bytes([byte]))
            await asyncio.sleep(0.02)

    near, far = socket.socketpair()
    near.setblocking(False)
    far.setblocking(False)
    started = time.monotonic()
    with near, far, pytest.raises(Refusal, match="took longer"):
        asyncio.run(_run(dripped, near))
    assert time.monotonic() - started < 1


def test_silence_and_farewell_are_no_refusals():
    assert converse(lambda far: None, lambda connection: connection.receive()) is None
    assert converse(lambda far: far.close(), lambda connection: connection.receive()) is None
    assert converse(lambda far: (far.sendall(GET[:9]), far.close()), lambda c: c.receive()) is None


def test_a_client_that_takes_nothing_is_left_after_the_deadline_of_its_piece():
    async def flood(connection: Connection) -> None:
        await connection.receive()
        async with asyncio.timeout(
            1
        ):  # the real one is a minute: it is the send that must wait, not the memory
            await connection.send(Answer(200, (("content-length", str(1 << 30)),), endless()))

    async def endless():
        while True:
            yield b"x" * 65536

    with pytest.raises(TimeoutError):
        converse(lambda far: far.sendall(GET), flood)


def test_more_or_less_than_announced_is_an_error():
    async def answer(connection: Connection, body: bytes) -> None:
        await connection.receive()
        await connection.send(Answer(200, (("content-length", "5"),), body))

    for body in (b"1234", b"123456"):
        with pytest.raises(Refusal, match="another length"):
            converse(lambda far: far.sendall(GET), lambda connection, body=body: answer(connection, body))
