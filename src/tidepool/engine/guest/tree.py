"""Killing a run's whole process tree from the sandbox's init.

A run's leader is a child subreaper (prctl(2)), so while it lives every descendant, daemons too, hangs below it. The
tree is stopped first, then killed: a fork bomb cannot outrun a loop that only ever finds stopped parents. The host
watches from outside and kills the whole sandbox where this does not come to an end.
"""

import contextlib
import os
import signal


def kill(leader: int, rounds: int = 50) -> int:
    """SIGKILL `leader` and all its descendants; returns how many were found."""
    seen: set[int] = set()
    _send(leader, signal.SIGSTOP)
    for _ in range(rounds):
        fresh = descendants(leader) - seen
        if not fresh:
            break
        for pid in fresh:
            _send(pid, signal.SIGSTOP)
        seen |= fresh
    for pid in seen:
        _send(pid, signal.SIGKILL)
    _send(leader, signal.SIGKILL)
    return len(seen) + 1


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
