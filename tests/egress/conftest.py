"""A real index on loopback, a real network namespace, and the real egress process between them."""

import base64
import contextlib
import hashlib
import io
import json
import os
import socket
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tidepool.egress.indexes import HostIndexes, Index
from tidepool.engine.guest import syscalls

NOBODY = 65534


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


class Namespace:
    """A network namespace with nothing but loopback; sockets and processes of the test can be put into it."""

    def __init__(self) -> None:
        home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._home = home
        try:
            syscalls.unshare(syscalls.CLONE_NEWNET)
        except OSError:
            os.close(home)
            raise
        try:
            self.fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            _loopback_up()
        finally:
            syscalls.setns(home, syscalls.CLONE_NEWNET)

    def socket(self, family: int = socket.AF_INET) -> socket.socket:
        syscalls.setns(self.fd, syscalls.CLONE_NEWNET)
        try:
            return socket.socket(family, socket.SOCK_STREAM)
        finally:
            syscalls.setns(self._home, syscalls.CLONE_NEWNET)

    def enter(self) -> None:
        """For `preexec_fn`."""
        syscalls.setns(self.fd, syscalls.CLONE_NEWNET)

    def close(self) -> None:
        os.close(self.fd)
        os.close(self._home)


def _loopback_up() -> None:
    import fcntl
    import struct

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = struct.pack("16sh14x", b"lo", 0x1 | 0x40)  # IFF_UP | IFF_RUNNING
        fcntl.ioctl(sock, 0x8914, request)  # SIOCSIFFLAGS


def listen(sock: socket.socket, port: int = 0) -> socket.socket:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", port))
    sock.listen(64)
    return sock


class Egress:
    """The real process, its control socket and its log."""

    def __init__(self, indexes: HostIndexes, log: Path, enter: Callable[[], None] | None = None) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.control = ours
        self.control.settimeout(10)
        self.log_path = log
        config_read, config_write = os.pipe()
        argv = [sys.executable, "-m", "tidepool.egress", "--control-fd", str(theirs.fileno())]
        argv += ["--config-fd", str(config_read)]
        if os.geteuid() == 0:
            argv += ["--drop-to", f"{NOBODY}:{NOBODY}"]
        with log.open("wb") as stream:
            self.process = subprocess.Popen(
                argv,
                pass_fds=(theirs.fileno(), config_read),
                stderr=stream,
                stdin=subprocess.DEVNULL,
                preexec_fn=enter,
            )
        theirs.close()
        os.close(config_read)
        with os.fdopen(config_write, "wb") as pipe:
            pipe.write(indexes.encode())

    def ask(self, frame: object, fds: list[int] | None = None) -> dict[str, Any]:
        data = frame if isinstance(frame, bytes) else json.dumps(frame).encode()
        socket.send_fds(self.control, [data], fds or [])
        answer = json.loads(self.control.recv(65536))
        assert isinstance(answer, dict)
        return answer

    def serve(self, sandbox_id: str, listener: socket.socket, policy: str = "packages") -> None:
        answer = self.ask({"op": "serve", "id": sandbox_id, "policy": policy}, [listener.fileno()])
        assert answer == {"ok": True}, answer

    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log_path.read_text().splitlines()]

    def close(self) -> int:
        self.control.close()
        return self.process.wait(10)


class Sandbox:
    """A place with the proxy's listening socket in it, seen as code inside a sandbox sees it."""

    def __init__(self, egress: Egress, sandbox_id: str, namespace: Namespace | None) -> None:
        self.id = sandbox_id
        self.namespace = namespace
        listener = listen(self._socket())
        self.port: int = listener.getsockname()[1]
        egress.serve(sandbox_id, listener)
        listener.close()
        self.url = f"http://127.0.0.1:{self.port}"

    def _socket(self) -> socket.socket:
        return self.namespace.socket() if self.namespace else socket.socket()

    def connect(self) -> socket.socket:
        sock = self._socket()
        sock.settimeout(10)
        try:
            sock.connect(("127.0.0.1", self.port))
        except OSError:
            sock.close()
            raise
        return sock

    def raw(self, request: bytes) -> bytes:
        """Everything that comes back for these bytes until the proxy closes (the test asks it to)."""
        with self.connect() as sock:
            sock.sendall(request)
            parts = []
            while data := sock.recv(65536):
                parts.append(data)
            return b"".join(parts)

    def get(self, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
        """One request on a connection of its own."""
        lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{self.port}", "Connection: close"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        return parse_response(self.raw("\r\n".join([*lines, "", ""]).encode()))

    def run(self, argv: list[str], cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
        """A program inside, told about the proxy and about nothing else of this host."""
        kept = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
        env = {**kept, "PIP_CONFIG_FILE": os.devnull, "UV_NO_CONFIG": "1", **environment}
        enter = self.namespace.enter if self.namespace else None
        return subprocess.run(
            argv, cwd=cwd, env=env, preexec_fn=enter, capture_output=True, text=True, timeout=50
        )


def parse_response(data: bytes) -> tuple[int, dict[str, str], bytes]:
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if headers.get("transfer-encoding") == "chunked":
        whole = b""
        while body:
            size, _, rest = body.partition(b"\r\n")
            whole, body = whole + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
        body = whole
    return int(first.split(" ")[1]), headers, body


@pytest.fixture
def index() -> Iterator[IndexServer]:
    """Two projects: `tp-alpha`, which needs `tp-beta`."""
    server = IndexServer(listen(socket.socket()))
    alpha, beta = make_wheel("tp_alpha", "tp-beta>=1"), make_wheel("tp_beta")
    server.add_wheel("tp-alpha", alpha.body, alpha.filename, alpha.metadata)
    server.add_wheel("tp-beta", beta.body, beta.filename)
    yield server
    server.close()


@pytest.fixture
def start_egress(tmp_path: Path) -> Iterator[Callable[..., Egress]]:
    """Starts the egress process for indexes; ends it after the test."""
    started: list[Egress] = []

    def start(*python: Index, enter: Callable[[], None] | None = None, **more: Any) -> Egress:
        indexes = HostIndexes(python=python, **more)
        started.append(Egress(indexes, tmp_path / f"egress-{len(started)}.log", enter))
        return started[-1]

    yield start
    for egress in started:
        egress.close()


@pytest.fixture
def egress(start_egress: Callable[..., Egress], index: IndexServer) -> Egress:
    return start_egress(Index(url=index.url))


@pytest.fixture
def namespaces() -> Iterator[Callable[[], Namespace]]:
    """Makes network namespaces; skips where this user cannot."""
    made: list[Namespace] = []

    def make() -> Namespace:
        try:
            made.append(Namespace())
        except OSError as error:
            pytest.skip(f"this user cannot make a network namespace: {error}")
        return made[-1]

    yield make
    for namespace in made:
        namespace.close()


@pytest.fixture
def open_sandbox() -> Iterator[Callable[..., Sandbox]]:
    """Puts a proxy socket into a network namespace of its own; on this host's loopback where that cannot be made."""
    made: list[Namespace] = []

    def start(egress: Egress, sandbox_id: str = "sandbox-1") -> Sandbox:
        try:
            made.append(Namespace())
        except OSError:
            return Sandbox(egress, sandbox_id, None)
        return Sandbox(egress, sandbox_id, made[-1])

    yield start
    for namespace in made:
        namespace.close()


@pytest.fixture
def sandbox(open_sandbox: Callable[..., Sandbox], egress: Egress) -> Sandbox:
    return open_sandbox(egress)


@pytest.fixture
def start_index() -> Iterator[Callable[..., IndexServer]]:
    """Starts an empty index, on a listening socket of the test's where one is given."""
    started: list[IndexServer] = []

    def start(listener: socket.socket | None = None, **more: Any) -> IndexServer:
        started.append(IndexServer(listener or listen(socket.socket()), **more))
        return started[-1]

    yield start
    for server in started:
        server.close()


@pytest.fixture
def second_index(start_index: Callable[..., IndexServer]) -> IndexServer:
    return start_index()


@pytest.fixture
def stored() -> type[Stored]:
    return Stored


@pytest.fixture
def parse() -> Callable[[bytes], tuple[int, dict[str, str], bytes]]:
    return parse_response


@pytest.fixture
def canary() -> Iterator[socket.socket]:
    """Something of this host that listens and that nobody inside may reach; `accept` never waits."""
    with listen(socket.socket()) as sock:
        port = sock.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            sock.accept()[0].close()  # control: it can be reached by those who may
        sock.setblocking(False)
        yield sock


@pytest.fixture(scope="module")
def shared_index() -> Iterator[IndexServer]:
    server = IndexServer(listen(socket.socket()))
    alpha, beta = make_wheel("tp_alpha", "tp-beta>=1"), make_wheel("tp_beta")
    server.add_wheel("tp-alpha", alpha.body, alpha.filename, alpha.metadata)
    server.add_wheel("tp-beta", beta.body, beta.filename)
    yield server
    server.close()


@pytest.fixture(scope="module")
def shared_sandbox(shared_index: IndexServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """One sandbox for a whole table of attacks: what one leaves behind must not help or hurt the next."""
    egress = Egress(
        HostIndexes(python=(Index(url=shared_index.url),)), tmp_path_factory.mktemp("egress") / "log"
    )
    try:
        namespace = Namespace()
    except OSError:
        yield Sandbox(egress, "attacker", None)
    else:
        yield Sandbox(egress, "attacker", namespace)
        namespace.close()
    assert egress.close() == 0
