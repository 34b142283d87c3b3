"""Process file descriptors: naming a process without a race (pidfd_open(2), pidfd_send_signal(2))."""

import os
import select
import signal
from pathlib import Path


def pid_of(pidfd: int) -> int:
    """The process id in this namespace; -1 when the process is gone."""
    for line in Path(f"/proc/self/fdinfo/{pidfd}").read_text().splitlines():
        if line.startswith("Pid:"):
            return int(line.split()[1])
    raise OSError("not a pidfd")


def is_pidfd(fd: int) -> bool:
    """Whether a descriptor that somebody passed is of a process that this namespace has, or had."""
    try:
        return pid_of(fd) != 0  # 0: of a process elsewhere; to a control group, 0 would mean ourselves
    except OSError:
        return False


def kill(pidfd: int) -> None:
    """SIGKILL; nothing when it is gone already."""
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except ProcessLookupError:
        return


def is_dead(pidfd: int) -> bool:
    """Whether the process has ended. For the init of a pid namespace: whether every process in it has.

    The kernel makes an init's pidfd readable only after it has killed and reaped the whole namespace.
    """
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    return bool(poller.poll(0))


def close(pidfd: int) -> None:
    """Close the descriptor."""
    os.close(pidfd)
