"""One write for one answer, and requests that are cut, slow or no HTTP: what a socket can do to the server."""

import asyncio
import http.client
import io
import json
import socket
import struct
from typing import Any, Literal
from urllib.parse import urlsplit

import pytest

from tests.conftest import Server
from tests.server.client import Api
from tests.server.tenants import TwoTenants
from tidepool.server.connection import _OneWrite

_DATA_SEGS_IN = 152
"""Offset of tcpi_data_segs_in in struct tcp_info (linux/tcp.h)."""


class Recorder(asyncio.Transport):
    """A transport that remembers."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))

    def close(self) -> None:
        self.written.append(b"<closed>")

    def is_closing(self) -> bool:
        return b"<closed>" in self.written


def test_what_is_written_in_one_turn_leaves_in_one_piece() -> None:
    async def scenario() -> list[bytes]:
        recorder = Recorder()
        out = _OneWrite(recorder)
        out.write(b"head ")
        out.write(b"body")
        assert recorder.written == []
        await asyncio.sleep(0)
        out.write(b"next")
        out.flush()
        out.flush()
        out.write(b"x" * 100000)
        out.write(b"last")
        out.close()
        assert out.is_closing()
        await asyncio.sleep(0)
        return recorder.written

    assert asyncio.run(scenario()) == [b"head body", b"next", b"x" * 100000, b"last", b"<closed>"]


def open_raw(server: Server) -> socket.socket:
    where = urlsplit(server.url)
    return socket.create_connection((where.hostname or "", where.port or 0), timeout=20)


def ask(server: Server, target: str = "/api/sandbox") -> bytes:
    return f"GET {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.key}\r\n\r\n".encode()


def read_answer(connection: socket.socket) -> tuple[int, bytes]:
    """Status and body of the next answer, which has a length; not a byte more is taken."""
    with http.client.HTTPResponse(_Unbuffered(connection)) as answer:  # type: ignore[arg-type]
        answer.begin()
        return answer.status, answer.read()


class _Unbuffered:
    """A socket as `HTTPResponse` wants it, which reads nothing ahead."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def makefile(self, mode: Literal["rb"]) -> io.RawIOBase:
        return self._connection.makefile(mode, buffering=0)


def segments(connection: socket.socket) -> int:
    """How many packets with data have come in."""
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    return int(struct.unpack_from("I", info, _DATA_SEGS_IN)[0])


@pytest.mark.parametrize("target", ["/api/health", "/api/sandbox", "/api/config", "/api/sandbox/none"])
def test_an_answer_is_one_packet(server: Server, target: str) -> None:
    with open_raw(server) as connection:
        for expected in range(1, 6):
            connection.sendall(ask(server, target))
            read_answer(connection)
            assert segments(connection) == expected


@pytest.mark.needs("user_namespace", "overlayfs")
def test_no_packet_waits_for_another(two: TwoTenants) -> None:
    api = Api(two.url, "key-of-one")
    assert api.call("GET", "/health").status == 200
    found = [sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) for sock in two.accepted()]
    api.close()
    assert found == [1]


def test_requests_sent_ahead_are_answered_in_order(server: Server) -> None:
    with open_raw(server) as connection:
        connection.sendall(
            ask(server, "/api/health") + ask(server, "/api/sandbox/none") + ask(server, "/api/health")
        )
        assert [read_answer(connection)[0] for _ in range(3)] == [200, 404, 200]


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",  # no Host
        b"POST /api/sandbox HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /api/sandbox HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        b"GET /api/health HTTP/1.1\r\nHost: x\r\nA: " + b"x" * 200000 + b"\r\n\r\n",
    ],
)
def test_what_is_no_http_is_400_and_harms_nobody(server: Server, api: Api, sent: bytes) -> None:
    with open_raw(server) as connection:
        connection.sendall(sent)
        assert connection.recv(65536).startswith(b"HTTP/1.1 400")
    assert api.call("GET", "/health").status == 200


def test_a_body_that_is_too_large_is_413_before_it_is_read(server: Server, api: Api) -> None:
    head = (
        f"POST /api/sandbox HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.key}\r\n"
        f"Content-Length: {33 << 20}\r\n\r\n"
    )
    with open_raw(server) as connection:
        connection.sendall(head.encode())
        status, body = read_answer(connection)
    assert (status, json.loads(body)["statusCode"]) == (413, 413)
    assert api.call("GET", "/health").status == 200


def test_a_body_without_a_length_is_bounded_too(server: Server) -> None:
    head = (
        f"POST /api/sandbox HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.key}\r\n"
        "Transfer-Encoding: chunked\r\n\r\n"
    )
    chunk = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
    with open_raw(server) as connection:
        connection.sendall(head.encode())
        for _ in range(33):
            connection.sendall(chunk)
        assert read_answer(connection)[0] == 413


def test_clients_that_leave_at_any_moment_harm_nobody(server: Server, api: Api) -> None:
    whole = ask(server)
    for length in (0, 1, 10, len(whole) - 1, len(whole)):
        with open_raw(server) as connection:
            connection.sendall(whole[:length])
    with open_raw(server) as connection:
        connection.sendall(
            f"POST /api/sandbox HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.key}\r\n"
            "Content-Length: 1000\r\n\r\n{".encode()
        )
    assert api.call("GET", "/tidepool").json["sandboxes"] == 0
