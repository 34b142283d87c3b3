"""A real index on loopback, a real network namespace, and the real egress process between them."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.egress.index import IndexServer, Stored, listen, make_wheel
from tidepool.egress.indexes import HostIndexes, Index
from tidepool.engine.guest import syscalls

NOBODY = 65534


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


class Egress:
    """The real process, its control socket and its log."""

    def __init__(
        self,
        indexes: HostIndexes,
        log: Path,
        enter: Callable[[], None] | None = None,
        options: tuple[str, ...] = (),
        **environment: str,
    ) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.control = ours
        self.control.settimeout(10)
        self.log_path = log
        config_read, config_write = os.pipe()
        argv = [sys.executable, "-m", "tidepool.egress", "--control-fd", str(theirs.fileno())]
        argv += ["--config-fd", str(config_read), *options]
        if os.geteuid() == 0:
            argv += ["--drop-to", f"{NOBODY}:{NOBODY}"]
        with log.open("wb") as stream:
            self.process = subprocess.Popen(
                argv,
                pass_fds=(theirs.fileno(), config_read),
                stderr=stream,
                stdin=subprocess.DEVNULL,
                preexec_fn=enter,
                env=os.environ | environment,
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

    def serve(
        self, sandbox_id: str, listener: socket.socket, policy: str = "packages", **more: Any
    ) -> dict[str, Any]:
        frame = {"op": "serve", "id": sandbox_id, "policy": policy, **more}
        answer = self.ask(frame, [listener.fileno()])
        assert answer["ok"] is True, answer
        return answer

    def change(self, sandbox_id: str, policy: str, **more: Any) -> dict[str, Any]:
        answer = self.ask({"op": "change", "id": sandbox_id, "policy": policy, **more})
        assert answer["ok"] is True, answer
        return answer

    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log_path.read_text().splitlines()]

    def record(self, **wanted: Any) -> dict[str, Any]:
        """The newest decision with these fields; waits for it, as it is written after the answer."""
        deadline = time.monotonic() + 5
        while True:
            for found in reversed(self.records()):
                if wanted.items() <= found.items():
                    return found
            assert time.monotonic() < deadline, f"no record with {wanted}: {self.records()}"
            time.sleep(0.01)

    def close(self) -> int:
        self.control.close()
        return self.process.wait(10)


class Sandbox:
    """A place with the proxy's listening socket in it, seen as code inside a sandbox sees it."""

    def __init__(
        self,
        egress: Egress,
        sandbox_id: str,
        namespace: Namespace | None,
        policy: str = "packages",
        **more: Any,
    ) -> None:
        self.id = sandbox_id
        self.namespace = namespace
        listener = listen(self._socket())
        self.port: int = listener.getsockname()[1]
        self.served = egress.serve(sandbox_id, listener, policy, **more)
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

    def start(
        *python: Index,
        enter: Callable[[], None] | None = None,
        options: tuple[str, ...] = (),
        environment: dict[str, str] | None = None,
        **more: Any,
    ) -> Egress:
        indexes = HostIndexes(python=python, **more)
        log = tmp_path / f"egress-{len(started)}.log"
        started.append(Egress(indexes, log, enter, options, **(environment or {})))
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

    def start(
        egress: Egress, sandbox_id: str = "sandbox-1", policy: str = "packages", **more: Any
    ) -> Sandbox:
        try:
            made.append(Namespace())
        except OSError:
            return Sandbox(egress, sandbox_id, None, policy, **more)
        return Sandbox(egress, sandbox_id, made[-1], policy, **more)

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
