"""A child of init forked ahead of the next run, so that the fork is not on the run's way.

It has done nothing but wait: it becomes a run's leader by the order init sends it, exactly as a child forked for that
run would, or one that starts programs and waits again (`starter`). Whoever is root inside can end or stop it, as any
other process there; then the run is forked as usual.
"""

import contextlib
import mmap
import os
import select
import signal
import socket
import time
from typing import Any

from tidepool.engine.guest import frames, launch, run, starter, warm

_RESTORED = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD)
"""Which init has set otherwise than a process has them at its start."""
_LULL_S = 0.003
"""Runs that come one straight after the other are sooner done without: it takes time of the same processor."""


class Spare:
    """One child that waits. Made by `ahead`; used once, but for programs, which it starts one after the other."""

    def __init__(self, pid: int, sock: socket.socket, notice: mmap.mmap) -> None:
        self.pid = pid
        self.notice = notice
        """Shared with it: see `run.leaver`."""
        self._sock = sock
        self.user: tuple[int, int] | None = None
        """Whose programs it starts, once it has started one (`starter`)."""
        self.program = 0
        """Pid of the program that it has started last; 0 before it has said so."""
        self.end: tuple[int, int] | None = None
        """Wait status and peak memory of its last program."""
        self.since = 0.0
        """When it was asked to, of CLOCK_BOOTTIME."""
        self._is_interrupted = False

    def fileno(self) -> int:
        """Of the socket to it."""
        return self._sock.fileno()

    def take(self, plan: launch.Plan, message: dict[str, Any], fds: list[int]) -> bool:
        """Hand it a run; False when it is not there any more or the order is too long: it has not begun then.

        One that starts programs can be handed another when it has told the end of the last.
        """
        order = {"plan": [plan.kind, plan.basis, plan.env, plan.argv], "message": message}
        self.program, self._is_interrupted = 0, False
        self.since = time.clock_gettime(time.CLOCK_BOOTTIME)
        try:
            frames.send(self._sock, order, tuple(fds))
        except (OSError, frames.BadFrame):
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            self.dismiss()
            return False
        if starter.is_for(plan, message):
            self.user = int(message["uid"]), int(message["gid"])
        else:
            self.dismiss()
        return True

    def told(self) -> dict[str, Any] | None:
        """What one that starts programs says next, without waiting; None when it is gone."""
        try:
            received = frames.receive(self._sock, socket.MSG_DONTWAIT)
        except (OSError, frames.BadFrame):
            return None
        if received is not None:
            frames.close_all(received[1])
        return None if received is None else received[0]

    def started(self, program: int) -> None:
        """It has started this one."""
        self.program = program
        if self._is_interrupted:
            self.interrupt()

    def interrupt(self) -> None:
        """SIGINT to the group of its program, now or as soon as there is one."""
        self._is_interrupted = True
        if self.program:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.program, signal.SIGINT)

    def dismiss(self) -> None:
        """Let it end: no run is expected any more."""
        self._sock.close()


def fork() -> tuple[int, mmap.mmap]:
    """A child, as os.fork; and where it says that it is about to end, see `run.leaver`.

    Raises:
        OSError: The sandbox may have no more processes.
    """
    # For each its own: whoever an earlier run has left behind has that one's still.
    notice = mmap.mmap(-1, mmap.PAGESIZE)
    pid = os.fork()
    if pid:
        notice.madvise(mmap.MADV_DONTFORK)
    else:
        run.tell_on(notice)
        signal.set_wakeup_fd(-1)
        for number in _RESTORED:
            signal.signal(number, signal.SIG_DFL)
    return pid, notice


def ahead(control: socket.socket, env: dict[str, str]) -> Spare | None:
    """Fork one that expects this environment; None when the sandbox may have no more processes.

    In the child this returns only by becoming a run.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        pid, notice = fork()
    except OSError:
        ours.close()
        theirs.close()
        return None
    if pid == 0:
        ours.close()
        _wait(theirs, control, env)
    theirs.close()
    return Spare(pid, ours, notice)


def _wait(sock: socket.socket, control: socket.socket, env: dict[str, str]) -> None:
    launch.settle()
    launch.put_environment(env)
    if warm.is_settled() and not select.select([sock], [], [], _LULL_S)[0]:
        run.rehearse()
        with contextlib.suppress(OSError, frames.BadFrame):
            launch.Plan(*frames.rehearse({"plan": ["source", "fork", env, []]})["plan"])
    received = frames.receive(sock)
    if received is None:
        os._exit(0)
    order, fds = received
    plan, message = launch.Plan(*order["plan"]), order["message"]
    if starter.is_for(plan, message):
        starter.serve(plan, message, fds, sock)
    sock.close()
    launch.start(plan, message, fds, control)
