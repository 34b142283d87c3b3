"""Probe 46: every kind of memory that a sandbox can take, also the kernel's on its behalf.

Each attack takes one kind until it is refused, killed or has what it wants, which is several times the sandbox's limit.
Allowed ends are: killed, with the reason told; refused; or bounded. The host never loses more than the limit and a
slack. Control: what the memory limit alone stops is all taken where it is larger.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.security.conftest import EngineThread, own_engine
from tests.security.memory_kinds import PREAMBLE, TAKE
from tests.tiers import thorough_after
from tidepool.engine import ExecResult, Limits, Sandbox, Verdict

pytestmark = pytest.mark.needs("user_namespace", "overlayfs", "cgroup_memory", "cgroup_pids")

LIMIT_MIB, DISK_MIB, WANTED_MIB = 96, 32, 512
SLACK_MIB = 192
"""What sockets hold outside of the count, and what others on this host may take meanwhile."""
ATTEMPTS = 3
"""Others on this host take memory too, but hardly three times at the same moment."""

KILLED = (
    "heap",
    "memfd",
    "sysv_shm",
    "sysv_messages",
    "unix_sockets",
    "epoll",
    "pipes",
    "page_tables",
)
REFUSED = {
    "file": "ENOSPC",
    "shm": "ENOSPC",
    "mlock": "ENOMEM",
    "hugetlb": "ENOMEM",
    "keyring": "EPERM",
    "socket_filters": "EPERM",
    "message_queues": "EACCES",
    "inotify": "EMFILE",
    "timers": "EAGAIN",
    "threads": "ValueError",
    "rights": "ETOOMANYREFS",
}
BOUNDED = ("tcp_sockets", "udp_sockets", "netlink_sockets", "dentries")
"""They have an end that takes no more: what is not sent, not kept, or given back when others need it."""
UNCOUNTED = ("locks",)
"""Linux counts the memory of record locks for nobody (since 5.16); docs/isolation.md says so. It goes with the run."""
ENDS = dict.fromkeys(KILLED, "killed") | REFUSED | dict.fromkeys((*BOUNDED, *UNCOUNTED), "bounded")
CONTROLS = ("heap", "memfd", "sysv_shm", "unix_sockets")
"""Nothing but the memory limit stops them, and they take little time."""


class Lowest:
    """The least memory that the host had available while it watched, in MiB below what it had at first."""

    def __init__(self) -> None:
        self._first = self._least = _available_mib()
        self._over = threading.Event()
        self._watcher = threading.Thread(target=self._watch)

    def __enter__(self) -> "Lowest":
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._watcher.join()

    def _watch(self) -> None:
        while not self._over.wait(0.02):
            self._least = min(self._least, _available_mib())

    @property
    def fell_mib(self) -> int:
        return self._first - self._least


def _available_mib() -> int:
    lines = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    return next(int(words[1]) for words in lines if words[0] == "MemAvailable:") // 1024


def attack(host: EngineThread, box: Sandbox, kind: str) -> tuple[ExecResult, int]:
    """How it ended, and by how many MiB the host's memory fell meanwhile."""
    code = PREAMBLE.format(wanted=WANTED_MIB) + TAKE[kind] + "\nattempt(take)\n"
    with Lowest() as lowest:
        result = host.python(box, code)
    return result, lowest.fell_mib


@pytest.mark.parametrize("kind", thorough_after(3, TAKE))
def test_memory_of_every_kind_ends_at_the_limit(
    host: EngineThread, make_box: Callable[..., Sandbox], kind: str
) -> None:
    """[46-kind]"""
    fell = []
    for _ in range(ATTEMPTS):
        box = make_box(memory_mib=LIMIT_MIB, disk_mib=DISK_MIB)
        result, lost = attack(host, box, kind)
        fell.append(lost)
        assert ended(result) == ENDS[kind], result
        if lost <= LIMIT_MIB + SLACK_MIB:
            break
    assert min(fell) <= LIMIT_MIB + SLACK_MIB, f"the host lost {fell} MiB to a sandbox of {LIMIT_MIB} MiB"


def ended(result: ExecResult) -> str:
    """`killed`, `bounded`, `held`, or why it was refused."""
    if result.verdict is Verdict.OUT_OF_MEMORY:
        assert result.exit_code == 137
        return "killed"
    word, _, *why = result.stdout.decode().split()
    return why[0] if why else word


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[pytest.mark.slow] if kind != "heap" else []) for kind in CONTROLS]
)
def test_control_with_a_larger_limit_all_of_it_is_taken(
    host: EngineThread, make_box: Callable[..., Sandbox], kind: str
) -> None:
    result, _ = attack(host, make_box(memory_mib=2048, disk_mib=DISK_MIB), kind)
    assert result.stdout.startswith(b"held"), result


@pytest.mark.parametrize("kind", ["tcp_sockets", "udp_sockets"])
def test_what_sockets_hold_is_bounded_for_each_sandbox(
    host: EngineThread, make_box: Callable[..., Sandbox], kind: str
) -> None:
    """[46-sockets] Linux has one bound for all sockets of a host; the control has more of it, by its larger limit."""
    small, large = (
        attack_on_sockets(host, make_box(memory_mib=mib, disk_mib=DISK_MIB), kind)
        for mib in (LIMIT_MIB, 2048)
    )
    assert small < LIMIT_MIB
    assert large > 2 * LIMIT_MIB


def attack_on_sockets(host: EngineThread, box: Sandbox, kind: str) -> int:
    """The most that the host's sockets held beyond what they held before, in MiB."""
    before = most = _sockets_mib()
    with ThreadPoolExecutor(1) as pool:
        ending = pool.submit(attack, host, box, kind)
        while not ending.done():
            most = max(most, _sockets_mib())
            time.sleep(0.01)
    ending.result()
    return most - before


def _sockets_mib() -> int:
    """What TCP and UDP sockets of all network namespaces hold (proc_net(5)), in MiB."""
    lines = [line.split() for line in Path("/proc/net/sockstat").read_text().splitlines()]
    pages = sum(int(words[words.index("mem") + 1]) for words in lines if words[0] in ("TCP:", "UDP:"))
    return pages * 4096 >> 20


def test_a_sandbox_that_was_killed_for_memory_works_again(
    host: EngineThread, make_box: Callable[..., Sandbox]
) -> None:
    """[46-again] What outlives its process (System V memory, files in /dev/shm) is counted as ever."""
    box = make_box(memory_mib=LIMIT_MIB, disk_mib=DISK_MIB)
    for kind in ("heap", "unix_sockets", "memfd"):
        assert attack(host, box, kind)[0].verdict is Verdict.OUT_OF_MEMORY
    assert host.shell(box, "echo works").stdout == b"works\n"


@pytest.mark.thorough
def test_uncounted_memory_goes_with_its_run(host: EngineThread, make_box: Callable[..., Sandbox]) -> None:
    """[46-uncounted] The control is the same table of the kernel's, which has them while they are held."""
    box, most = make_box(memory_mib=LIMIT_MIB, disk_mib=DISK_MIB), 0
    code = PREAMBLE.format(wanted=WANTED_MIB) + TAKE["locks"] + "\nattempt(take)\ntime.sleep(60)\n"
    before = _record_locks()
    with ThreadPoolExecutor(1) as pool:
        ending = pool.submit(host.python, box, code, 1.2)
        while not ending.done():
            most = max(most, _record_locks())
            time.sleep(0.05)
    assert ending.result().verdict is Verdict.TIMED_OUT
    assert most - before > 50_000
    assert _record_locks() - before < 5_000


def _record_locks() -> int:
    lines = Path("/proc/slabinfo").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("file_lock_cache"))


def test_every_kind_has_an_end() -> None:
    assert set(ENDS) == set(TAKE)


@pytest.mark.thorough
def test_two_engines_of_one_process_both_limit_memory(host: EngineThread) -> None:
    """[46-engines] The groups of both would have one name if they were called by the process alone."""
    with own_engine("tidepool-second-", pool_size=0) as second:
        box = second.sandbox(limits=Limits(memory_bytes=LIMIT_MIB << 20, disk_bytes=DISK_MIB << 20))
        assert attack(second, box, "heap")[0].verdict is Verdict.OUT_OF_MEMORY
        assert not second.engine.not_enforced
