"""Killing a run's whole process tree from the sandbox's init.

A run's leader is a child subreaper (prctl(2)), so while it lives every descendant, daemons too, hangs below it. All
processes of the sandbox are stopped by one broadcast first: nothing forks while the tree is read, so a fork bomb cannot
outrun it. The host watches from outside and kills the whole sandbox where this does not come to an end.
"""

import contextlib
import os
import signal


def kill(leader: int) -> int:
    """SIGKILL `leader` and all its descendants; returns how many. Everything else goes on afterwards.

    Only from pid 1: kill(2) with -1 reaches every process of the namespace but the caller. A process that had been
    stopped by its user before goes on too.
    """
    _send(-1, signal.SIGSTOP)
    doomed = descendants(leader)
    for pid in doomed:
        _send(pid, signal.SIGKILL)
    _send(leader, signal.SIGKILL)
    _send(-1, signal.SIGCONT)
    return len(doomed) + 1


def descendants(leader: int) -> set[int]:
    """Pids of all processes below `leader` at this moment."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            children.setdefault(_parent(name), []).append(int(name))
    found: set[int] = set()
    todo = [leader]
    while todo:
        for child in children.get(todo.pop(), ()):
            if child not in found:
                found.add(child)
                todo.append(child)
    return found


def _parent(pid: str) -> int:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The command's name may hold anything; the fields begin behind its last parenthesis.
            return int(file.read().rpartition(b")")[2].split()[1])
    except OSError:
        return 0  # gone meanwhile


def _send(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
