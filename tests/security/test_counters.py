"""Probes 48, 49, 55 and 56: what the kernel counts by user, processor time, dead children, descriptors.

One sandbox is at its limit of each; beside it another, of the same owner and of another one, has as much as if it were
alone, and so has the host's root. Control: a second process of the same sandbox is refused.
"""

import asyncio
import contextlib
import ctypes
import os
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.security.conftest import EngineThread
from tidepool.engine import CodeRun, Sandbox, Verdict

pytestmark = pytest.mark.needs("user_namespace", "overlayfs", "cgroup_pids")

PREAMBLE = """
import ctypes, errno, os, resource, struct
libc = ctypes.CDLL(None, use_errno=True)

def checked(value):
    if value < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return value

def attempt(most):
    got = 0
    try:
        while got < most:
            take()
            got += 1
    except OSError as error:
        print(got, errno.errorcode[error.errno], flush=True)
    else:
        print(got, "all", flush=True)
"""
HOLD = "\nattempt(1 << 20)\nopen('at-the-limit', 'w').close()\nimport time\ntime.sleep(60)\n"
COUNTERS = {
    "inotify_instances": (
        16,
        """
def take():
    checked(libc.inotify_init1(0))
""",
    ),
    "inotify_watches": (
        3000,
        """
folders = [b"watched%d" % number for number in range(2000)]
for folder in folders:
    os.makedirs(folder, exist_ok=True)
wanted = iter(())
def take():
    global queue, wanted
    folder = next(wanted, None)
    if folder is None:
        queue, wanted = checked(libc.inotify_init1(0)), iter(folders)
        folder = next(wanted)
    checked(libc.inotify_add_watch(queue, folder, 0xFFF))
""",
    ),
    "timers": (
        2000,
        """
made = ctypes.c_int()
def take():
    checked(libc.syscall(222, 1, None, ctypes.byref(made)))
""",
    ),
    "queued_signals": (
        2000,
        """
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, [40])
libc.sigqueue.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_void_p]
def take():
    checked(libc.sigqueue(os.getpid(), 40, None))
""",
    ),
    "locked_memory": (
        4,
        """
def take():
    number = checked(libc.shmget(0, ctypes.c_size_t(1 << 20), 0o1600))
    try:
        checked(libc.shmctl(number, 11, None))  # SHM_LOCK
    except OSError:
        libc.shmctl(number, 0, None)
        raise
""",
    ),
    "processes": (
        40,
        """
def take():
    if os.fork() == 0:
        import time
        time.sleep(60)
        os._exit(0)
""",
    ),
    "rights_under_way": (
        50,
        """
import socket, array
read, _ = os.pipe()
ours, _theirs = socket.socketpair()
ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
ours.setblocking(False)
def take():
    ours.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [read] * 10))])
""",
    ),
}
"""What a sandbox takes of each, one at a time, and how many one beside it must still get."""
COUNTED_ON = "x86_64"
SAME_SANDBOX = ("inotify_instances", "timers", "queued_signals", "locked_memory", "processes")
"""What is counted for all of a sandbox together; watches have room left after one directory, rights go by process."""


@contextlib.contextmanager
def at_its_limit(host: EngineThread, box: Sandbox, counter: str) -> Iterator[None]:
    """While a program inside holds all that it could get."""
    run = CodeRun(PREAMBLE + COUNTERS[counter][1] + HOLD, timeout_s=50)
    holding = asyncio.run_coroutine_threadsafe(box.run_code(run), host._loop)
    try:
        deadline = time.monotonic() + 20
        while "at-the-limit" not in (found := {file.name for file in host.run(box.files.list("."))}):
            assert time.monotonic() < deadline, found
            assert not holding.done(), holding
            time.sleep(0.05)
        yield
    finally:
        holding.cancel()


def taken(host: EngineThread, box: Sandbox, counter: str) -> tuple[int, str]:
    """How many it gets of what it needs, and why not more."""
    needed, code = COUNTERS[counter]
    result = host.python(box, PREAMBLE + code + f"\nattempt({needed})\n")
    got, why = result.stdout.decode().split()[-2:]
    return int(got), why


@pytest.mark.skipif(os.uname().machine != COUNTED_ON, reason="the calls' numbers are of x86_64")
@pytest.mark.parametrize("counter", COUNTERS)
def test_a_counter_at_its_limit_is_felt_by_nobody_else(
    host: EngineThread, make_box: Callable[..., Sandbox], counter: str
) -> None:
    """[48-counter]"""
    box, sibling, stranger = make_box(pids=64), make_box(pids=64), make_box(pids=64, tenant="another")
    needed = COUNTERS[counter][0]
    with at_its_limit(host, box, counter):
        assert taken(host, sibling, counter) == (needed, "all")
        assert taken(host, stranger, counter) == (needed, "all")
        _root_has_its_own()
        if counter in SAME_SANDBOX:
            if counter == "processes":
                assert host.shell(box, "echo works").verdict is not Verdict.EXITED or _refused_to_fork(
                    host, box
                )
            else:
                assert taken(host, box, counter)[1] != "all", "control: it is at its limit"


def _refused_to_fork(host: EngineThread, box: Sandbox) -> bool:
    return taken(host, box, "processes")[1] != "all"


def _root_has_its_own() -> None:
    """Root of the host still gets a watch, a timer and a queued signal."""
    libc = ctypes.CDLL(None, use_errno=True)
    made = ctypes.c_int()
    fd = libc.inotify_init1(0)
    assert fd >= 0, os.strerror(ctypes.get_errno())
    os.close(fd)
    assert libc.syscall(222, 1, None, ctypes.byref(made)) == 0, os.strerror(ctypes.get_errno())
    assert libc.syscall(226, made) == 0


SPIN = """
import os
for _ in range(15):
    if os.fork() == 0:
        while True:
            pass
while True:
    pass
"""


@pytest.mark.thorough
def test_spinning_leaves_processors_to_others(host: EngineThread, make_box: Callable[..., Sandbox]) -> None:
    """[49-spin] The bound is generous: this host may be busy. What the spinner used is told by its own counter."""
    box, other = make_box(), make_box()
    quiet = _latency(host, other)
    running = asyncio.run_coroutine_threadsafe(box.run_code(CodeRun(SPIN, timeout_s=40)), host._loop)
    try:
        time.sleep(0.5)
        first, at = host.run(box.usage()).cpu_ns, time.monotonic()
        latencies = []
        while time.monotonic() - at < 1.0:  # many periods of the quota
            latencies.append(_latency(host, other))
        used, over = host.run(box.usage()).cpu_ns, time.monotonic()
    finally:
        running.cancel()
    assert statistics.median(latencies) < max(0.3, 5 * quiet)
    assert first is not None
    assert used is not None
    assert (used - first) / 1e9 / (over - at) < box.spec.limits.cpu * 1.3


def _latency(host: EngineThread, box: Sandbox) -> float:
    """Seconds of one small run: the median of several."""
    return statistics.median(host.shell(box, "true").duration_s for _ in range(9))


ORPHANS = "n=0; while [ $n -lt {count} ]; do (true &); n=$((n + 1)); done; echo all"
"""The leader of a run adopts what its children leave behind, as it ends with it; a shell reaps what it adopts."""
UNREAPED = """
import os
made = 0
try:
    while True:
        if os.fork() == 0:
            os._exit(0)
        made += 1
except OSError as error:
    print(made, error.strerror)
"""


def test_children_of_the_dead_are_reaped(host: EngineThread, make_box: Callable[..., Sandbox]) -> None:
    """[55-orphans] Many more than the sandbox may have at once."""
    assert host.shell(make_box(pids=64), ORPHANS.format(count=1000)).stdout == b"all\n"


@pytest.mark.slow
def test_fifty_thousand_children_of_the_dead_are_reaped(
    host: EngineThread, make_box: Callable[..., Sandbox]
) -> None:
    """[55-many]"""
    box = make_box(pids=64)
    for _ in range(5):
        assert host.shell(box, ORPHANS.format(count=10_000), timeout_s=45).stdout == b"all\n"


def test_children_that_nobody_waits_for_fill_their_own_sandbox(
    host: EngineThread, make_box: Callable[..., Sandbox]
) -> None:
    """[55-unreaped] They count until their parent ends; then init reaps them and there is room again."""
    box = make_box(pids=64)
    for _ in range(2):
        made, why = host.python(box, UNREAPED).stdout.decode().split(" ", 1)
        assert int(made) < 64
        assert why.startswith("Resource temporarily unavailable")
    assert host.shell(box, "ls /proc | grep -c '^[0-9]'").stdout.strip() in (b"4", b"5", b"6", b"7")


DESCRIPTORS = """
import os, resource
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
for attempt in (1 << 20, hard + 1):
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (attempt, attempt))
        print("raised")
    except ValueError:
        pass
opened = []
try:
    while True:
        opened.append(os.open("/dev/null", os.O_RDONLY))
except OSError as error:
    print(error.strerror, len(opened) < hard <= 65536)
"""
EPOLL = """
import errno, select
below, depth = select.epoll(), 0
kept = [below]
try:
    for depth in range(100):
        above = select.epoll()
        above.register(below, select.EPOLLIN)
        kept.append(above)
        below = above
    print("no bound")
except OSError as error:
    print(errno.errorcode[error.errno], depth < 10)
circle = select.epoll(), select.epoll()
try:
    circle[0].register(circle[1])
    circle[1].register(circle[0])
    print("a circle")
except OSError as error:
    print(errno.errorcode[error.errno])
"""


@pytest.mark.parametrize("user", ["daytona", "root"])
def test_descriptors_are_bounded(host: EngineThread, make_box: Callable[..., Sandbox], user: str) -> None:
    """[56-descriptors] Neither a process nor root inside raises the limit; others open as they like."""
    free = Path("/proc/sys/fs/file-nr").read_text().split()
    result = host.python(make_box(user=user), DESCRIPTORS)
    assert result.stdout == b"Too many open files True\n", result
    assert int(free[2]) > 65536, "the host has room for more than one process can take"


def test_epoll_in_epoll_is_bounded(host: EngineThread, box: Sandbox) -> None:
    """[56-epoll]"""
    assert host.python(box, EPOLL).stdout == b"ELOOP True\nELOOP\n"


LEFT_UNDER_WAY = """
import array, os, socket
for _ in range(20):
    one, other = socket.socketpair()
    fds = [os.open("/dev/null", os.O_RDONLY) for _ in range(200)]
    rights = array.array("i", fds + [one.fileno(), other.fileno()])
    one.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
    for fd in fds:
        os.close(fd)
    one.detach(), other.detach()
print("left")
"""


def test_descriptors_that_were_under_way_go_with_their_sandbox(
    host: EngineThread, make_box: Callable[..., Sandbox]
) -> None:
    """[56-rights] In circles of sockets that hold themselves: the kernel's collector takes them."""
    before = _open_files()
    box = make_box()
    for _ in range(2):
        result = host.python(box, "import resource; resource.setrlimit(7, (16_000, 16_000))" + LEFT_UNDER_WAY)
        assert result.stdout == b"left\n", result
    deadline = time.monotonic() + 10
    while (left := _open_files() - before) > 2500 and time.monotonic() < deadline:
        host.python(box, "import socket; socket.socketpair()")  # closing one starts the collector
        time.sleep(0.1)
    assert left < 2500


def _open_files() -> int:
    """Files open on the whole host."""
    return int(Path("/proc/sys/fs/file-nr").read_text().split()[0])
