"""Killing a run's whole process tree from the sandbox's init.

A run's leader is a child subreaper (prctl(2)), so while it lives every descendant, daemons too, hangs below it. All
processes of the sandbox are stopped by one broadcast first: nothing forks while the tree is read, so a fork bomb cannot
outrun it. The host watches from outside and kills the whole sandbox where this does not come to an end.
"""

import contextlib
import os
import signal
import time
from collections.abc import Callable

_SETTLE_S = 1.2
"""How long a busy tree may take to stop; the host waits longer than that before it kills the whole sandbox."""
_DEATH_S = 0.6
"""How long those that were killed may take to die before it is said that they are."""
_PAUSE_S = 0.004
_WAITING_LOOKS = 12
_AT_REST = frozenset("TtZX")
_DEAD = frozenset("ZX")


def kill(leader: int, also: Callable[[], set[int]] = set) -> int:
    """SIGKILL `leader` and all its descendants, and see them dead; returns how many. Everything else goes on.

    `also` names more that end with it, with their descendants; asked as soon as everything stands still.

    Only from pid 1: kill(2) with -1 reaches every process of the namespace but the caller. A process that had been
    stopped by its user before goes on too.
    """
    _send(-1, signal.SIGSTOP)
    doomed = _settled(leader)
    for other in also() - {leader}:
        doomed |= {other, *_settled(other)}
    for pid in doomed:
        _send(pid, signal.SIGKILL)
    _send(leader, signal.SIGKILL)
    _send(-1, signal.SIGCONT)
    _see_dead({leader, *doomed})
    return len(doomed) + 1


def _see_dead(pids: set[int]) -> None:
    """Wait until none of them runs any more; a zombie does not. The host hears of the leader's end only after this."""
    until = time.monotonic() + _DEATH_S
    while time.monotonic() < until:
        pids = {pid for pid in pids if _state_and_parent(str(pid))[0] not in _DEAD}
        if not pids:
            return
        time.sleep(_PAUSE_S)


def _settled(leader: int) -> set[int]:
    """The leader's descendants once all of them have really stopped.

    A fork that was under way when the signal was sent still ends, and its child is in the tree only then: nobody is
    missed once every process stands still and a further look finds nobody new. Whoever waits in vfork(2) for a child
    that stands still will not stop (state D): after some looks that find nobody new it counts as standing still.
    """
    until = time.monotonic() + _SETTLE_S
    known: set[int] = set()
    looks = 0
    while True:
        found = descendants(leader)
        states = {_state_and_parent(str(leader))[0], *found.values()}
        looks = looks + 1 if found.keys() == known else 0
        still = _AT_REST if looks < _WAITING_LOOKS else _AT_REST | {"D"}
        if (looks and states <= still) or time.monotonic() > until:
            return known | found.keys()
        known = set(found)
        time.sleep(_PAUSE_S)


def descendants(leader: int) -> dict[int, str]:
    """Pids of all processes below `leader` at this moment, with their states as in proc_pid_stat(5)."""
    children: dict[int, list[tuple[int, str]]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            state, parent = _state_and_parent(name)
            children.setdefault(parent, []).append((int(name), state))
    found: dict[int, str] = {}
    todo = [leader]
    while todo:
        for child, state in children.get(todo.pop(), ()):
            if child not in found:
                found[child] = state
                todo.append(child)
    return found


def children(parent: int) -> set[int]:
    """Pids of its children at this moment."""
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return {pid for pid in pids if _state_and_parent(str(pid))[1] == parent}


def first_of(pids: set[int], since: float) -> int:
    """Which leads a session, was started at this time (CLOCK_BOOTTIME) or later, and first of those; 0 for none."""
    tick = int(since * os.sysconf("SC_CLK_TCK"))
    told = [(pid, _stat(str(pid))) for pid in pids]
    leaders = [(int(stat[19]), pid) for pid, stat in told if int(stat[3]) == pid]
    return min([(start, pid) for start, pid in leaders if start >= tick], default=(0, 0))[1]


def _state_and_parent(pid: str) -> tuple[str, int]:
    state, above, *_ = _stat(pid)
    return state.decode(), int(above)


def _stat(pid: str) -> list[bytes]:
    """Of proc_pid_stat(5), from the state on."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The command's name may hold anything; the fields begin behind its last parenthesis.
            return file.read().rpartition(b")")[2].split()
    except OSError:
        return [b"X", *[b"0"] * 49]  # gone meanwhile


def _send(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
