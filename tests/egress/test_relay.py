"""Two streams joined, on real socket pairs; and how long a client may take to say hello."""

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable

import pytest

from tidepool.egress import forward
from tidepool.egress.policy import Place
from tidepool.egress.refusal import Refusal
from tidepool.egress.relay import Relay
from tidepool.egress.stream import Plain


def joined(relay: Relay, talk: Callable[[socket.socket, socket.socket], Awaitable[None]]) -> None:
    """Runs a relay between two pairs; `talk` gets the outer ends, and must end both."""

    async def run() -> None:
        client, near = socket.socketpair()
        far, server = socket.socketpair()
        with client, near, far, server:
            for sock in (client, near, far, server):
                sock.setblocking(False)
            relaying = asyncio.ensure_future(relay.run(Plain(near), Plain(far)))
            await talk(client, server)
            async with asyncio.timeout(5):
                await relaying

    asyncio.run(run())


def test_bytes_go_both_ways_and_an_end_in_one_direction_leaves_the_other() -> None:
    relay = Relay()

    async def talk(client: socket.socket, server: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(client, b"question")
        client.shutdown(socket.SHUT_WR)
        assert await loop.sock_recv(server, 100) == b"question"
        assert await loop.sock_recv(server, 100) == b""
        await loop.sock_sendall(server, b"late answer")
        assert await loop.sock_recv(client, 100) == b"late answer"
        server.shutdown(socket.SHUT_WR)

    joined(relay, talk)
    assert (relay.sent, relay.received) == (8, 11)


@pytest.mark.thorough
def test_silence_ends_it_and_a_byte_in_either_direction_is_no_silence() -> None:
    started = time.monotonic()

    async def talk(client: socket.socket, server: socket.socket) -> None:
        for _ in range(4):
            await asyncio.sleep(0.15)
            await asyncio.get_running_loop().sock_sendall(server, b"x")

    with pytest.raises(TimeoutError, match="nothing was said"):
        joined(Relay(idle_s=0.3), talk)
    assert 0.8 < time.monotonic() - started < 3


def test_when_one_side_breaks_off_both_are_left() -> None:
    async def talk(client: socket.socket, server: socket.socket) -> None:
        server.close()
        await asyncio.get_running_loop().sock_sendall(client, b"x" * 10)
        await asyncio.sleep(0.05)
        await asyncio.get_running_loop().sock_sendall(client, b"x" * 10)

    with pytest.raises(OSError, match=r"pipe|reset"):
        joined(Relay(), talk)


@pytest.mark.parametrize("data", [b"", b"\x16\x03\x01\x02\x00\x01"])
def test_a_hello_that_does_not_come_is_not_waited_for(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward, "HELLO_TIMEOUT_S", 0.2)
    near, client = socket.socketpair()
    near.setblocking(False)
    with near, client:
        client.sendall(data)
        with pytest.raises(TimeoutError):
            asyncio.run(forward._check_hello(Plain(near), Place("a.org", 443)))


def test_a_refused_hello_is_answered_with_an_alert() -> None:
    near, client = socket.socketpair()
    near.setblocking(False)
    with near, client:
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        with pytest.raises(Refusal, match="must be TLS"):
            asyncio.run(forward._check_hello(Plain(near), Place("a.org", 443)))
        assert client.recv(100) == b"\x15\x03\x03\x00\x02\x02\x31"
