"""A run that is over tells its init before the kernel takes it down, and gives back first what others could miss."""

import fcntl
import mmap
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.security.conftest import EngineThread, own_engine
from tidepool.engine import CodeRun, Limits, Sandbox, Verdict
from tidepool.engine.guest import run

_MIB = 1 << 20
_PAGE = """
import ctypes, os, signal
(line,) = [line for line in open("/proc/self/maps") if "rw-s" in line and "/dev/zero" in line]
page = ctypes.c_ubyte.from_address(int(line.split("-")[0], 16))
"""


def leaving(first: Callable[[], object]) -> tuple[int, int, mmap.mmap]:
    """Pid, wait status and page of a child that has done this and leaves with 3."""
    page = mmap.mmap(-1, mmap.PAGESIZE)
    pid = os.fork()
    if pid == 0:
        try:
            run.tell_on(page)
            first()
            run.leaver()(3)
        finally:
            os._exit(70)
    return pid, os.waitpid(pid, os.WUNTRACED)[1], page


def test_it_stops_with_its_code_told_and_without_descriptors_locks_and_ports(tmp_path: Path) -> None:
    held = []
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen()
    address = server.getsockname()

    def hold() -> None:
        held.append(os.open(tmp_path / "lock", os.O_CREAT | os.O_RDWR))
        fcntl.flock(held[0], fcntl.LOCK_EX)

    pid, status, page = leaving(hold)
    server.close()
    try:
        assert os.WIFSTOPPED(status)
        assert page[0] == 3 + 1
        assert os.listdir(f"/proc/{pid}/fd") == []
        with open(tmp_path / "lock") as file, socket.socket() as other:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            other.bind(address)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def fork_and_leave() -> None:
    """Go on in a child, whose end is its parent's."""
    if child := os.fork():
        os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


@pytest.mark.parametrize(
    "first",
    [
        threading.Thread(target=threading.Event().wait, daemon=True).start,
        lambda: bytearray(b"x" * (160 * _MIB)),
        fork_and_leave,
    ],
    ids=["with a thread", "with much memory", "a child of it"],
)
def test_otherwise_it_ends_as_any_process(first: Callable[[], object]) -> None:
    _, status, page = leaving(first)
    assert os.waitstatus_to_exitcode(status) == 3
    assert page[0] == 0


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
