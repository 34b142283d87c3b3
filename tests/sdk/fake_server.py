"""A small real HTTP server whose answers and misbehaviour a test chooses: what the SDK meets on the wire, for sure.

It speaks HTTP/1.1 over TCP with one thread per connection and knows nothing of Daytona. It is honest about one thing:
`seen` lists every request that arrived whole, in order.
"""

import contextlib
import json
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Request:
    """One request as it arrived."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes
    connection: int
    """Which connection it came on, counted from 1."""

    def json(self) -> object:
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    """What to send back, and what to do with the connection then."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    close: bool = False
    """Close after sending, without having said so."""
    promise: int | None = None
    """A Content-Length other than the body's."""
    chunks: tuple[bytes, ...] | None = None
    """Instead of `body`: sent one by one with chunked framing."""
    hold: threading.Event | None = None
    """Wait for this before sending anything."""


def reply_json(value: object, status: int = 200) -> Reply:
    """A JSON answer."""
    return Reply(status, json.dumps(value).encode(), {"Content-Type": "application/json"})


BREAK_OFF = Reply(status=0)
"""Read the request, answer nothing, close."""

Handler = Callable[[Request], Reply]


class FakeServer:
    """Listens on a free loopback port while it is used as a context manager."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.seen: list[Request] = []
        self.connections = 0
        self.ended: set[int] = set()
        """Connections that the client closed."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []

    @property
    def url(self) -> str:
        host, port = self._listener.getsockname()
        return f"http://{host}:{port}/api"

    @property
    def toolbox_url(self) -> str:
        return self.url.removesuffix("/api") + "/toolbox"

    def __enter__(self) -> "FakeServer":
        self._start(self._accept)
        return self

    def __exit__(self, *exc: object) -> None:
        # A blocked accept is not woken by close: a last connection is.
        self._stopping = True
        socket.create_connection(self._listener.getsockname()).close()
        self.drop_connections()
        for thread in list(self._threads):
            thread.join(5)
        self._listener.close()

    _stopping = False

    def drop_connections(self) -> None:
        """Close every open connection, as a server does with idle ones."""
        for connection in list(self._open):
            self._shut(connection)

    def _start(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            if self._stopping:
                connection.close()
                return
            self.connections += 1
            self._open.add(connection)
            self._start(self._serve, connection, self.connections)

    def _shut(self, connection: socket.socket) -> None:
        self._open.discard(connection)
        with contextlib.suppress(OSError):  # the other side may have been first
            connection.shutdown(socket.SHUT_RDWR)

    def _serve(self, connection: socket.socket, number: int) -> None:
        with connection, connection.makefile("rb") as stream:
            while True:
                try:
                    request = _read(stream, number)
                    if request is None:
                        self.ended.add(number)
                        break
                    self.seen.append(request)
                    if not self._answer(connection, self.handler(request)):
                        break
                except OSError:
                    self.ended.add(number)
                    break
            self._shut(connection)

    def _answer(self, connection: socket.socket, reply: Reply) -> bool:
        if reply.hold is not None:
            reply.hold.wait(30)
        if reply is BREAK_OFF:
            return False
        connection.sendall(_head(reply) + (b"" if reply.chunks is not None else reply.body))
        for chunk in reply.chunks or ():
            connection.sendall(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        if reply.chunks is not None and not reply.close:
            connection.sendall(b"0\r\n\r\n")
        return not reply.close


def _head(reply: Reply) -> bytes:
    lines = [
        f"HTTP/1.1 {reply.status} Said So",
        *(f"{name}: {value}" for name, value in reply.headers.items()),
    ]
    if reply.chunks is not None:
        lines.append("Transfer-Encoding: chunked")
    elif reply.status != 204:
        lines.append(f"Content-Length: {len(reply.body) if reply.promise is None else reply.promise}")
    return "\r\n".join([*lines, "", ""]).encode()


def _read(stream: object, number: int) -> Request | None:
    line = stream.readline().decode()
    if not line:
        return None
    method, target, _ = line.split(" ")
    headers = {}
    while (line := stream.readline().decode().strip()) != "":
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    body = (
        _read_chunked(stream)
        if "transfer-encoding" in headers
        else stream.read(int(headers.get("content-length", 0)))
    )
    parts = urlsplit(target)
    return Request(method, parts.path, parse_qs(parts.query), headers, body, number)


def _read_chunked(stream: object) -> bytes:
    body = b""
    while size := int(stream.readline(), 16):
        body += stream.read(size)
        stream.readline()
    stream.readline()
    return body


def sandbox(server: FakeServer, **changes: object) -> dict[str, object]:
    """A sandbox as a Daytona server describes one."""
    return {
        "id": "box-1", "organizationId": "org", "name": "box-1", "user": "daytona", "env": {}, "labels": {},
        "public": False, "networkBlockAll": False, "kvm": False, "target": "local", "cpu": 1, "gpu": 0, "memory": 1,
        "disk": 3, "state": "started", "toolboxProxyUrl": server.toolbox_url, **changes,
    }  # fmt: skip
