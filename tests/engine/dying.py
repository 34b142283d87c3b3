"""Engines that a test kills parts of: which processes there are, and that nothing of them is left.

Used by the tests of deaths at named steps (`test_faults`) and of deaths at any time (`test_guardian`).
"""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.security.conftest import EngineThread
from tidepool.engine import State
from tidepool.engine.errors import TidepoolError
from tidepool.engine.guest import faults
from tidepool.engine.spawner.protocol import FIRST_BLOCK_UID

SPAWNER = b"tidepool.engine.spawner"
"""In the command line of guardians and spawners."""
WITNESS = "/home/daytona/witness"
UNSUPERVISED_S = 5.0


@dataclass
class Place:
    """Where an engine of one test stands."""

    path: Path
    storage: str
    monkeypatch: pytest.MonkeyPatch

    @contextlib.contextmanager
    def engine(self, fault: str = "") -> Iterator[EngineThread]:
        """An engine with one armed step; at its end nothing of it may be left."""
        with self.monkeypatch.context() as patch:
            patch.setenv(faults.VARIABLE, fault)
            thread = EngineThread(self.path / "state", self.path / "run", pool_size=0, storage=self.storage)
        try:
            yield thread
        finally:
            thread.close()
            faults.arm("")
        assert wait(lambda: not unsupervised())
        assert not groups(thread)
        assert not list((self.path / self.storage).glob("*/*~"))


def zygote(host: EngineThread) -> int | None:
    """Number of the zygote that the next sandbox comes from; without a fault the engine's first."""
    (line,) = host.engine._pool._lines.values()
    return line.zygote


def unsupervised() -> list[int]:
    """What runs under ids of sandboxes and hangs below no guardian, whoever's: another engine may be at work here."""
    found = []
    for name in filter(str.isdecimal, os.listdir("/proc")):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            pid = int(name)
            is_ours = _is_of_sandbox(pid) and stat(pid)[0] not in "ZX"
            while is_ours and pid > 1 and not _is_guard(pid):
                pid = int(stat(pid)[1])
            if is_ours and pid <= 1:
                found.append(int(name))
    return found


def _is_of_sandbox(pid: int) -> bool:
    return os.stat(f"/proc/{pid}").st_uid >= FIRST_BLOCK_UID


def _is_guard(pid: int) -> bool:
    """A spawner or a guardian, and not a keeper, which is a fork of one under an id of sandboxes."""
    return not _is_of_sandbox(pid) and SPAWNER in Path(f"/proc/{pid}/cmdline").read_bytes()


def stat(pid: int) -> list[str]:
    """State, parent and so on."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def groups(host: EngineThread) -> set[str]:
    """Control groups below those of an engine."""
    name = host.engine._backend._launched.name
    walked = os.walk("/sys/fs/cgroup")
    return {f"{top}/{leaf}" for top, leaves, _ in walked if Path(top).name == name for leaf in leaves}


def guardian(host: EngineThread) -> int:
    return host.engine._backend._launched.process.pid


def spawner(host: EngineThread) -> int:
    """Its process; 0 while there is none."""
    for pid in children(guardian(host)):  # what a dead one has left is among them for a moment
        with contextlib.suppress(OSError):
            if SPAWNER in Path(f"/proc/{pid}/cmdline").read_bytes():
                return pid
    return 0


def kill(pid: int) -> None:
    assert pid > 1
    os.kill(pid, signal.SIGKILL)


def children(parent: int) -> list[int]:
    found = []
    for name in filter(str.isdecimal, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            state, above, *_ = stat(int(name))
            if int(above) == parent and state not in "ZX":
                found.append(int(name))
    return found


def disks(host: EngineThread) -> set[str]:
    """Slots whose disks are mounted in the guardian's namespace."""
    lines = Path(f"/proc/{guardian(host)}/mountinfo").read_text().splitlines()
    points = (line.split()[4] for line in lines)
    return {point.rpartition("/")[2] for point in points if "/work/s/" in point}


def wait(true: Callable[[], bool], seconds: float = UNSUPERVISED_S) -> bool:
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def settled(host: EngineThread) -> bool:
    """Whether nobody is under way any more: in a state that lasts, with a box that answers if it is started."""
    for box in host.engine.list("local"):
        if box.state not in (State.STARTED, State.STOPPED, State.ERROR):
            return False
        if box.state is State.STARTED:
            try:
                host.shell(box, "true")
            except TidepoolError:
                return False
    return True


def states(host: EngineThread) -> set[State]:
    return {box.state for box in host.engine.list("local")}


async def stored(host: EngineThread, kind: str) -> tuple[str, ...]:
    return await host.engine.stored(kind)
