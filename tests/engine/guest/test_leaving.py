"""A run that is over tells its init before the kernel takes it down, and gives back first what others could miss."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.security.conftest import EngineThread, own_engine
from tidepool.engine import CodeRun, Limits, Sandbox, Verdict

pytestmark = pytest.mark.thorough

_MIB = 1 << 20
_PAGE = """
import ctypes, os, signal
(line,) = [line for line in open("/proc/self/maps") if "rw-s" in line and "/dev/zero" in line]
page = ctypes.c_ubyte.from_address(int(line.split("-")[0], 16))
"""


_LEAVING = """
import fcntl, json, mmap, os, signal, socket, sys, threading, time
from tidepool.engine.guest import run
server = socket.create_server(("127.0.0.1", 0))
address, file = server.getsockname(), sys.argv[1]
page = mmap.mmap(-1, mmap.PAGESIZE)
pid = os.fork()
if pid == 0:
    try:
        run.tell_on(page)
        fcntl.flock(os.open(file, os.O_CREAT | os.O_RDWR), fcntl.LOCK_EX)
        {first}
        run.leaver()(3)
    finally:
        os._exit(70)
server.close()
status = os.waitpid(pid, os.WUNTRACED)[1]
found = {{"stopped": os.WIFSTOPPED(status), "status": status >> 8, "page": page[0]}}
if found["stopped"]:
    found["fds"] = os.listdir(f"/proc/{{pid}}/fd")
    fcntl.flock(os.open(file, os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB)
    socket.socket().bind(address)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
print(json.dumps(found))
"""
"""A process and its child, which has a lock and a port, does something first, and leaves with 3."""


def leaving(first: str, place: Path) -> dict[str, object]:
    """What the parent sees. A program of its own: forks of this one have what other tests have loaded."""
    script = _LEAVING.format(first=first)
    done = subprocess.run(
        [sys.executable, "-c", script, place / "lock"], capture_output=True, timeout=30, check=True
    )
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_it_stops_with_its_code_told_and_without_descriptors_locks_and_ports(tmp_path: Path) -> None:
    found = leaving("pass", tmp_path)
    assert found == {"stopped": True, "status": signal.SIGSTOP, "page": 3 + 1, "fds": []}


@pytest.mark.parametrize(
    "first",
    [
        "threading.Thread(target=time.sleep, args=(0.5,), daemon=True).start()",
        "bytearray(b'x' * (160 << 20))",
        "child = os.fork(); child and os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))",
        "os.fork() or time.sleep(0.5)",
        "os.fork() or os._exit(0); time.sleep(0.1)",
    ],
    ids=["with a thread", "with much memory", "a child of it", "with a child", "with one that is dead"],
)
def test_otherwise_it_ends_as_any_process(first: str, tmp_path: Path) -> None:
    assert leaving(first, tmp_path) == {"stopped": False, "status": 3, "page": 0}


@pytest.fixture(scope="module")
def host() -> Iterator[EngineThread]:
    """An engine of this module's own."""
    with own_engine("tidepool-leaving-") as thread:
        yield thread


@pytest.fixture(scope="module")
def box(host: EngineThread) -> Sandbox:
    """One sandbox for all of them; it ends with the engine."""
    return host.sandbox(limits=Limits(memory_bytes=512 * _MIB, disk_bytes=64 * _MIB, pids=64))


def ran(host: EngineThread, box: Sandbox, code: str) -> tuple[Verdict, int | None, bytes]:
    result = host.run(box.run_code(CodeRun(code, timeout_s=3.0)))
    assert result.basis == "fork"
    return result.verdict, result.exit_code, result.output


@pytest.mark.needs("user_namespace", "overlayfs", "idmapped_mounts")
def test_a_program_that_stops_is_not_at_its_end(host: EngineThread, box: Sandbox) -> None:
    verdict, *_ = ran(host, box, "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)")
    assert verdict is Verdict.TIMED_OUT


@pytest.mark.needs("user_namespace", "overlayfs", "idmapped_mounts")
def test_who_says_that_it_is_at_its_end_is(host: EngineThread, box: Sandbox) -> None:
    code = _PAGE + "page.value = 8; os.kill(os.getpid(), signal.SIGSTOP); open('after', 'w')"
    assert ran(host, box, code) == (Verdict.EXITED, 7, b"")
    assert ran(host, box, "import os, time; time.sleep(.1); print(os.path.exists('after'))")[2] == b"False\n"


@pytest.mark.needs("user_namespace", "overlayfs", "idmapped_mounts")
def test_what_a_run_left_behind_cannot_end_the_next(host: EngineThread, box: Sandbox) -> None:
    lying = "\nfor _ in range(400):\n    page.value = 8; time.sleep(0.01)\n"
    assert ran(
        host, box, _PAGE + f"import time\nif os.fork() == 0:{lying.replace(chr(10), chr(10) + '    ')}"
    )[:2] == (
        Verdict.EXITED,
        0,
    )
    code = "import os, signal, time; time.sleep(.2); os.kill(os.getpid(), signal.SIGSTOP)"
    assert ran(host, box, code)[0] is Verdict.TIMED_OUT
