"""The preloaded parent of the tests here: what a sandbox's init does around a run, without the sandbox.

It is executed inside a preloaded interpreter as `tidepool.engine.parent`, so that it counts as ours and is taken out of
sight with the rest. It forks a child per request and tells how the child ended.
"""

import os
import signal
import socket
from typing import Any

from tidepool.engine.guest import frames, preload, run, tests, warm


def main(control_fd: int) -> None:
    """Serve requests until the other side closes."""
    control = socket.socket(fileno=control_fd)
    first = frames.receive(control)
    assert first is not None
    frames.send(control, preload.preload(list(first[0]["modules"]), bool(first[0]["pytest"])))
    # What an init does to its signals: a run must undo it.
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    while (received := frames.receive(control)) is not None:
        frames.send(control, _answer(*received))


def _answer(message: dict[str, Any], fds: list[int]) -> dict[str, Any]:
    if message["kind"] == "why_not_fork":
        return {"why": warm.why_not_fork(message["env"], message["cwd"], message["uid"])}
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        numbers = fds.copy()
        fds.clear()
        _child(message, numbers)
    frames.close_all(fds)
    _, status = os.waitpid(pid, 0)
    return {"status": os.waitstatus_to_exitcode(status)}


def _rehearse() -> None:
    """As a child that was forked ahead does: nothing of it may show in the run."""
    kept = [os.dup(number) for number in range(3)]
    null = os.open("/dev/null", os.O_RDWR)
    for number in range(3):
        os.dup2(null, number)
    run.rehearse()
    for number, fd in enumerate(kept):
        os.dup2(fd, number)
        os.close(fd)
    os.close(null)


def _child(message: dict[str, Any], fds: list[int]) -> None:
    os.setsid()
    _rehearse()
    for number, fd in enumerate([os.dup(fd) for fd in fds]):
        os.dup2(fd, number)
    os.closerange(len(fds), 100)
    os.chdir(message["cwd"])
    os.environ.clear()
    os.environ.update(message["env"])
    if message["kind"] == "source":
        run.run_source(
            message["source"].encode("utf-8", "surrogateescape"), message["argv"], message["filename"]
        )
    tests.run_pytest(message["paths"], 3)
