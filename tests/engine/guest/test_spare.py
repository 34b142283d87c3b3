"""Init gets ready for the next run when there is time, and lets go of what that costs when none comes."""

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tidepool.engine.guest import frames, serve


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def soon(holds: Callable[[], bool]) -> bool:
    end = time.monotonic() + 5.0
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


@pytest.fixture
def control(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, socket.socket]]:
    """A server's process, which nothing closes off, and the socket it is asked over."""
    monkeypatch.setattr(serve, "_IDLE_MS", 300)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if pid == 0:
        ours.close()
        signal.set_wakeup_fd(-1)
        serve.Server(theirs, {"env": {}}, None).serve()
    theirs.close()
    ours.settimeout(5)
    yield pid, ours
    ours.close()
    assert os.waitpid(pid, 0)[1] == 0


def ask(sock: socket.socket, operation: str) -> None:
    """As the host does: `ahead` while it is parked, `env` when it has been taken."""
    frames.send(sock, {"op": operation, "id": 1, "set": {}, "unset": []})
    answer = frames.receive(sock)
    assert answer is not None
    assert answer[0] == {"id": 1}


def test_a_child_waits_for_the_next_run_and_ends_when_none_comes(control: tuple[int, socket.socket]) -> None:
    pid, sock = control
    assert not children(pid)
    ask(sock, "env")
    assert soon(lambda: len(children(pid)) == 1)
    (first,) = children(pid)
    time.sleep(0.1)
    assert children(pid) == [first]
    assert soon(lambda: not children(pid))
    ask(sock, "env")
    assert soon(lambda: len(children(pid)) == 1)
    assert children(pid) != [first]


@pytest.mark.thorough
def test_while_it_is_parked_its_child_waits_for_as_long(control: tuple[int, socket.socket]) -> None:
    pid, sock = control
    ask(sock, "ahead")
    assert soon(lambda: len(children(pid)) == 1)
    (first,) = children(pid)
    time.sleep(0.5)
    assert children(pid) == [first]
    ask(sock, "env")
    assert children(pid) == [first]
    assert soon(lambda: not children(pid))


def test_a_child_that_somebody_has_killed_is_replaced(control: tuple[int, socket.socket]) -> None:
    pid, sock = control
    ask(sock, "ahead")
    assert soon(lambda: len(children(pid)) == 1)
    (first,) = children(pid)
    os.kill(first, signal.SIGKILL)
    assert soon(lambda: not children(pid))
    ask(sock, "ahead")
    assert soon(lambda: len(children(pid)) == 1)
