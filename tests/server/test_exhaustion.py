"""What runs out on the host's side: descriptors, connections that never speak, readers that stop, the state disk.

Each test has a server of its own, brings it to its limit, and looks that others are answered meanwhile (or told why
not), and that everything works again afterwards.
"""

import contextlib
import os
import resource
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.directories import open_directory
from tests.server.client import Api

pytestmark = [pytest.mark.thorough, pytest.mark.needs("user_namespace", "overlayfs", "idmapped_mounts")]
MIB = 1 << 20


class Serving:
    """One server process, and what is asked of it."""

    def __init__(self, url: str, process: "subprocess.Popen[str]", key: str) -> None:
        self.api = Api(url, key)
        self.process = process
        parts = urlsplit(url)
        self.address = (str(parts.hostname), int(parts.port or 0))
        self.head = f"Host: x\r\nAuthorization: Bearer {key}\r\n"

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, 10)

    def answers(self) -> bool:
        """Whether a new client is answered."""
        with self.connect() as sock:
            sock.sendall(f"GET /api/health HTTP/1.1\r\n{self.head}\r\n".encode())
            return sock.recv(64).startswith(b"HTTP/1.1 200")

    def memory(self) -> int:
        """Resident bytes of the server."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) << 10

    def processor_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def until(self, what: str, seconds: float = 10.0) -> None:
        """Wait until a method of this object is true."""
        end = time.monotonic() + seconds
        while True:
            with contextlib.suppress(OSError):
                if getattr(self, what)():
                    return
            assert time.monotonic() < end, f"not {what} within {seconds:g} s"
            time.sleep(0.1)


@pytest.fixture
def place() -> Iterator[Path]:
    """A state directory."""
    with open_directory("tp-exhaustion-") as path:
        yield path


@pytest.fixture(scope="module")
def impatient() -> Iterator["Serving"]:
    """A server that waits for a request's head no longer than this test."""
    with open_directory("tp-exhaustion-") as path, serving(path, TIDEPOOL_HEAD_SECONDS="1.5") as server:
        yield server


@contextlib.contextmanager
def serving(place: Path, descriptors: int = 0, **environment: str) -> Iterator[Serving]:
    """A server, with so many descriptors at most."""
    key = secrets.token_hex(8)
    variables = os.environ | {
        "TIDEPOOL_STATE_DIR": str(place / "state"),
        "TIDEPOOL_RUNTIME_DIR": str(place / "run"),
        "TIDEPOOL_API_KEY": key,
        "TIDEPOOL_SSH_PORT": "0",
        **environment,
    }
    command = [sys.executable, "-m", "tidepool.server", "--port", "0", "--pool", "1"]
    if descriptors:
        command = ["prlimit", f"--nofile={descriptors}:{descriptors}", *command]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=variables) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url
        server = Serving(url, process, key)
        try:
            yield server
        finally:
            server.api.close()
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0


def test_descriptors_run_out_and_come_back(place: Path) -> None:
    with serving(place, descriptors=400) as server, contextlib.ExitStack() as held:
        box = server.api.call("POST", "/sandbox", {}).json["id"]
        for _ in range(480):
            held.enter_context(server.connect())
        time.sleep(0.5)
        before = server.processor_seconds()
        assert server.api.call("GET", f"/sandbox/{box}").status == 200, "who was there is still answered"
        time.sleep(1)
        assert server.processor_seconds() - before < 0.5, "it does not spin"
        held.close()
        server.until("answers")
        run = server.api.at(f"/toolbox/{box}").call("POST", "/process/execute", {"command": "echo fine"})
        assert run.json["result"] == "fine\n"
        assert server.api.call("POST", "/sandbox", {}).status == 200


def test_requests_that_do_not_come_to_their_end_are_ended(impatient: Serving) -> None:
    server = impatient
    texts = {
        "says nothing": "",
        "half a head": "GET /api/health HTTP/1.1\r\nHost: x\r\nX-",
        "half a body": f"POST /api/sandbox HTTP/1.1\r\n{server.head}Content-Length: 100\r\n\r\n{{",
    }
    socks = {name: server.connect() for name in texts}
    for name, text in texts.items():
        socks[name].sendall(text.encode())
    for name, sock in socks.items():
        with sock:
            sock.settimeout(6)
            with contextlib.suppress(ConnectionResetError):
                assert sock.recv(1) == b"", f"what {name} is ended"
    assert server.answers()


def test_a_slow_head_is_ended_though_it_goes_on(impatient: Serving) -> None:
    with impatient.connect() as sock:
        sock.sendall(b"GET /api/health HTTP/1.1\r\n")
        began = time.monotonic()
        with contextlib.suppress(ConnectionError):
            while time.monotonic() < began + 8:
                sock.sendall(b"X: y\r\n")
                time.sleep(0.1)
        assert time.monotonic() - began < 7


def test_what_is_answered_slowly_is_no_half_open_request(impatient: Serving) -> None:
    server = impatient
    box = server.api.call("POST", "/sandbox", {}).json["id"]
    toolbox = server.api.at(f"/toolbox/{box}")
    assert (
        toolbox.call("POST", "/process/execute", {"command": "sleep 3; echo late"}).json["result"] == "late\n"
    )
    time.sleep(2.5)
    assert toolbox.call("GET", "/work-dir").status == 200, "a connection that was answered may be idle"


@pytest.mark.slow
def test_thousands_of_idle_connections_cost_little_and_keep_nobody_waiting(place: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(10_000, hard - 600)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        with serving(place, TIDEPOOL_HEAD_SECONDS="600") as server, contextlib.ExitStack() as held:
            before = server.memory()
            for _ in range(count):
                held.enter_context(server.connect())
            began = time.monotonic()
            assert server.answers()
            assert time.monotonic() - began < 2
            assert (server.memory() - before) / count < 40_000, "bytes for each"
            held.close()
            server.until("answers")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_reader_that_stops_is_not_read_ahead_for(impatient: Serving) -> None:
    server = impatient
    box = server.api.call("POST", "/sandbox", {"tidepool": {"memoryBytes": 1 << 30}}).json["id"]
    toolbox = server.api.at(f"/toolbox/{box}")
    run = toolbox.call("POST", "/process/execute", {"command": "head -c 300000000 /dev/zero > big"})
    assert run.json["exitCode"] == 0
    before = server.memory()
    with server.connect() as sock:
        sock.sendall(f"GET /toolbox/{box}/files/download?path=big HTTP/1.1\r\n{server.head}\r\n".encode())
        assert sock.recv(1000)
        time.sleep(1.5)
        assert server.memory() - before < 30 * MIB
        assert server.answers()


def test_a_fifo_and_a_device_are_refused_at_once(impatient: Serving) -> None:
    server = impatient
    box = server.api.call("POST", "/sandbox", {}).json["id"]
    toolbox = server.api.at(f"/toolbox/{box}")
    toolbox.call("POST", "/process/execute", {"command": "mkfifo pipe; ln -s /dev/zero zero"})
    for path in ("pipe", "zero", "/proc/kmsg", "/dev/tty"):
        began = time.monotonic()
        assert toolbox.call("GET", "/files/download", path=path).status in (400, 403, 404)
        assert time.monotonic() - began < 2


@pytest.fixture
def small_disk(place: Path) -> Iterator[Path]:
    """A state directory on a disk of 160 MiB."""
    state = place / "state"
    state.mkdir(mode=0o755)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160m,mode=0755", "state", state], check=True)
    yield place
    subprocess.run(["umount", "-l", state], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a disk needs root")
def test_a_full_state_disk_is_told_and_loses_nothing(small_disk: Path) -> None:
    with serving(small_disk) as server:
        api = server.api
        kept = api.call("POST", "/sandbox", {"name": "kept"}).json["id"]
        api.at(f"/toolbox/{kept}").call("POST", "/process/execute", {"command": "echo acknowledged > note"})
        assert api.call("POST", "/sandbox/kept/stop").status == 200
        large = api.call("POST", "/sandbox", {"name": "large"}).json["id"]
        fill = {"command": "head -c 100000000 /dev/urandom > big; echo word > note"}
        assert api.at(f"/toolbox/{large}").call("POST", "/process/execute", fill).json["exitCode"] == 0
        ballast = small_disk / "state" / "ballast"
        free = os.statvfs(small_disk / "state")
        ballast.write_bytes(bytes(max(0, free.f_bavail * free.f_frsize - 20 * MIB)))
        stopped = api.call("POST", "/sandbox/large/stop")
        assert (stopped.status, "No space left" in stopped.message) == (507, True), stopped.message
        assert server.answers()
        found = api.call("GET", "/sandbox/large").json
        assert (found["state"], "held in memory" in found["errorReason"]) == ("error", True)
        assert api.call("POST", "/sandbox/large/start").status == 507, "there still is no room"
        ballast.unlink()
        assert api.call("POST", "/sandbox/large/start").status == 200
        run = api.at(f"/toolbox/{large}").call(
            "POST", "/process/execute", {"command": "cat note; wc -c < big"}
        )
        assert run.json["result"] == "word\n100000000\n"
        assert api.call("POST", "/sandbox/kept/start").status == 200
        run = api.at(f"/toolbox/{kept}").call("POST", "/process/execute", {"command": "cat note"})
        assert run.json["result"] == "acknowledged\n"
