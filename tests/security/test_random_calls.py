"""Probe 38: random system calls from inside. The sandbox may suffer; the host and its other sandboxes must not.

The invariants are the host's (conftest), a neighbour that still answers, and an engine that still makes sandboxes. The
default tier takes seconds; ten minutes are in the slow one.
"""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.security import random_calls
from tests.security.conftest import EngineThread
from tidepool.engine import CodeRun, Sandbox, State

pytestmark = pytest.mark.needs("user_namespace", "seccomp")
PROGRAM = Path(random_calls.__file__).read_text()
MakeBox = Callable[..., Sandbox]


def attacked(host: EngineThread, make_box: MakeBox, user: str, seconds: float) -> int:
    """Batches of 400 calls in so many seconds, while a neighbour goes on."""
    box, neighbour = make_box(user=user), make_box()
    assert host.shell(neighbour, "echo mine > kept").exit_code == 0
    deadline, seed = time.monotonic() + seconds, 0
    while time.monotonic() < deadline:
        seed += 1
        if box.state is not State.STARTED:
            box = make_box(user=user)
        host.run(box.run_code(CodeRun(PROGRAM, argv=(str(seed),), timeout_s=5.0)))
    assert host.shell(neighbour, "cat kept").stdout == b"mine\n"
    assert host.shell(make_box(), "echo new").stdout == b"new\n"
    return seed


@pytest.mark.thorough
@pytest.mark.parametrize("user", ["daytona", "root"])
def test_random_calls_harm_nobody_else(host: EngineThread, make_box: MakeBox, user: str) -> None:
    assert attacked(host, make_box, user, 2.0) > 5, "hardly anything was attacked"


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("user", ["daytona", "root"])
def test_five_minutes_of_random_calls_harm_nobody_else(
    host: EngineThread, make_box: MakeBox, user: str
) -> None:
    assert attacked(host, make_box, user, 300.0) > 100
