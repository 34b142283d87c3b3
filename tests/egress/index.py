"""A package index for tests: a real HTTP server on loopback that answers what a test puts in, and hand-made wheels."""

import base64
import contextlib
import hashlib
import io
import socket
import threading
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Stored:
    """What the index answers for one path."""

    body: bytes = b""
    kind: str = "text/html"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Any

    def do_GET(self) -> None:
        index: IndexServer = self.server.index
        index.seen.append((self.command, self.path, dict(self.headers)))
        stored = index.paths.get(self.path, Stored(status=404))
        if index.authorization and self.headers.get("Authorization") != index.authorization:
            stored = Stored(status=401)
        status, body, headers = stored.status, stored.body, dict(stored.headers)
        wanted = self.headers.get("Range", "")
        if status == 200 and wanted.startswith("bytes="):
            first, _, last = wanted[6:].partition("-")
            low = int(first) if first else len(body) - int(last)
            high = int(last) if first and last else len(body) - 1
            headers["Content-Range"] = f"bytes {low}-{high}/{len(body)}"
            status, body = 206, body[low : high + 1]
        self.send_response(status)
        self.send_header("Content-Type", stored.kind)
        self.send_header("Content-Length", headers.pop("Content-Length", str(len(body))))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, *args: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    index: "IndexServer"

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._open: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        """Ends kept connections, then waits for their threads: nothing is left open."""
        for request in list(self._open):
            with contextlib.suppress(OSError):
                request.shutdown(socket.SHUT_RDWR)
        super().server_close()


class IndexServer:
    """A package index that a test fills; remembers what it was asked."""

    def __init__(
        self, listener: socket.socket, wrap: Callable[[socket.socket], socket.socket] | None = None
    ) -> None:
        self.paths: dict[str, Stored] = {}
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self.authorization: str | None = None
        self.port: int = listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/simple"
        self._server = _Server(("127.0.0.1", 0), _Handler, bind_and_activate=False)
        self._server.socket.close()
        self._server.socket = wrap(listener) if wrap else listener
        self._server.index = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def page(self, project: str, *anchors: str) -> None:
        body = "<html><body>" + "\n".join(anchors) + "</body></html>"
        self.paths[f"/simple/{project}/"] = Stored(body.encode())

    def asked(self, path: str) -> list[dict[str, str]]:
        return [headers for _, seen, headers in self.seen if seen == path]

    def add_wheel(self, project: str, wheel: bytes, filename: str, metadata: bytes | None = None) -> None:
        """Lists a wheel under `../../files/`, with its separate metadata when given."""
        self.paths[f"/files/{filename}"] = Stored(wheel, "application/octet-stream")
        extra = ""
        if metadata is not None:
            self.paths[f"/files/{filename}.metadata"] = Stored(metadata, "application/octet-stream")
            extra = f' data-core-metadata="sha256={hashlib.sha256(metadata).hexdigest()}"'
        digest = hashlib.sha256(wheel).hexdigest()
        self.page(project, f'<a href="../../files/{filename}#sha256={digest}"{extra}>{filename}</a>')


@dataclass(frozen=True)
class Wheel:
    """A wheel made by hand."""

    filename: str
    body: bytes
    metadata: bytes


def make_wheel(name: str, requires: str | None = None) -> Wheel:
    """One module whose VALUE is its own name."""
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
    metadata += f"Requires-Dist: {requires}\n" if requires else ""
    info = f"{name}-1.0.dist-info"
    files = {
        f"{name}.py": f"VALUE = {name!r}\n",
        f"{info}/METADATA": metadata,
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},sha256={_digest(text)},{len(text)}\n" for path, text in files.items())
    files[f"{info}/RECORD"] = record + f"{info}/RECORD,,\n"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return Wheel(f"{name}-1.0-py3-none-any.whl", buffer.getvalue(), metadata.encode())


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


def listen(sock: socket.socket, port: int = 0) -> socket.socket:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", port))
    sock.listen(64)
    return sock
