"""`kill -9` of spawner, zygote, init and guardian at named steps of every operation, and what must hold afterwards.

Every sandbox is usable, or says why it is not and can be started again; no file that was acknowledged is missing;
what runs hangs below the guardian; nothing is left of what is gone; the next sandbox can be made. Deaths of the server
are in `tests/server/test_deaths.py`.
"""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.engine.dying import (
    WITNESS,
    Place,
    disks,
    guardian,
    settled,
    spawner,
    states,
    stored,
    unsupervised,
    wait,
    zygote,
)
from tests.security.conftest import EngineThread
from tests.server import test_deaths
from tests.tiers import thorough_after
from tidepool.engine import Sandbox, State
from tidepool.engine.errors import TidepoolError
from tidepool.engine.guest import faults

pytestmark = pytest.mark.needs("user_namespace", "overlayfs", "idmapped_mounts")

Arrange = Callable[[EngineThread, Sandbox], object]


def _create(host: EngineThread, box: Sandbox) -> object:
    return host.sandbox(name="second")


def _create_from_files(host: EngineThread, box: Sandbox) -> object:
    host.run(host.engine.stop(box))
    return host.run(host.engine.start_again(box))


def _exec(host: EngineThread, box: Sandbox) -> object:
    return host.shell(box, "echo ran")


def _upload(host: EngineThread, box: Sandbox) -> object:
    return host.run(box.files.write("uploaded", b"bytes"))


def _stop(host: EngineThread, box: Sandbox) -> object:
    return host.run(host.engine.stop(box))


def _freeze(host: EngineThread, box: Sandbox) -> object:
    return host.run(host.engine.freeze(box, "frozen"))


def _delete(host: EngineThread, box: Sandbox) -> object:
    return host.run(host.engine.delete(box))


def _forget(host: EngineThread, box: Sandbox) -> object:
    host.run(host.engine.stop(box))
    return host.run(host.engine.delete(box))


def _replace(host: EngineThread, box: Sandbox) -> object:
    for _ in range(2):
        host.run(host.engine.stop(box))
        host.run(host.engine.start_again(box))
    return host.run(host.engine.stop(box))


OPERATIONS: dict[str, Arrange] = {
    "create": _create,
    "restore": _create_from_files,
    "exec": _exec,
    "upload": _upload,
    "stop": _stop,
    "freeze": _freeze,
    "delete": _delete,
    "forget": _forget,
    "replace": _replace,
}
ALWAYS = ("create", "stop")
"""Operations whose control is of the default tier."""

TELLING = [
    ("create", "spawner.create.upper", 2),
    ("create", "spawner.create.answered", 2),
    ("create", "zygote.fork.done", 2),
    ("create", "init.create.mounted", 2),
    ("exec", "init.run.started", 1),
    ("upload", "init.file.done", 1),
    ("stop", "spawner.kill.sent", 1),
    ("stop", "spawner.drop.answered", 1),
    ("freeze", "spawner.freeze.begun", 1),
    ("stop", "copier.put.begun", 1),
    ("delete", "spawner.drop.upper", 1),
]
"""Operation, step, and at which passing of it: the one in the operation, not those that came before."""

REST = [
    ("create", "spawner.zygote.started", 1),
    ("create", "spawner.create.group", 2),
    ("create", "spawner.create.ordered", 2),
    ("create", "spawner.create.forked", 2),
    ("create", "spawner.keep.read", 2),
    ("create", "spawner.keep.noted", 2),
    ("create", "zygote.start.preloaded", 1),
    ("create", "zygote.fork.received", 2),
    ("create", "zygote.fork.told", 2),
    ("create", "zygote.map.written", 2),
    ("create", "init.create.settled", 2),
    ("create", "init.create.released", 2),
    ("create", "init.create.confined", 2),
    ("create", "init.create.told", 2),
    ("restore", "spawner.create.upper", 2),
    ("restore", "spawner.create.answered", 2),
    ("restore", "spawner.keep.noted", 2),
    ("restore", "zygote.fork.done", 2),
    ("restore", "init.create.confined", 2),
    ("exec", "init.run.received", 1),
    ("stop", "spawner.kill.read", 1),
    ("stop", "spawner.save.begun", 1),
    ("stop", "spawner.save.done", 1),
    ("stop", "spawner.drop.upper", 1),
    ("delete", "spawner.kill.read", 1),
    ("forget", "spawner.forget.read", 1),
    ("delete", "spawner.kill.sent", 1),
    ("delete", "spawner.drop.answered", 1),
    ("freeze", "copier.put.begun", 1),
    ("replace", "copier.put.halfway", 1),
]


def _hold(host: EngineThread, box: Sandbox, operation: str) -> None:
    """All that must hold after a fault, and after none."""
    assert wait(lambda: not unsupervised())
    assert wait(lambda: settled(host)), [(one.state, one.error_reason) for one in host.engine.list("local")]
    for one in host.engine.list("local"):
        if one.state is not State.STARTED:
            assert one.error_reason or operation in ("stop", "restore", "replace"), one.state
            assert one.has_saved_files
            host.run(host.engine.start_again(one))
        assert host.shell(one, "echo usable").stdout == b"usable\n"
    if operation in ("delete", "forget"):
        assert host.engine.list("local") == []
    else:
        assert host.run(box.files.read(WITNESS)) == b"acknowledged"
    third = host.sandbox(name="third")
    assert host.shell(third, "echo third").stdout == b"third\n"
    for one in host.engine.list("local"):
        host.run(host.engine.delete(one))
    assert host.run(stored(host, "saved")) == ()
    assert wait(lambda: disks(host) == set())


def _try(place: Place, operation: str, fault: str) -> bool:
    """Do one operation with a step armed; returns whether it did what it is for."""
    with place.engine(fault) as host:
        before = spawner(host)
        box = host.sandbox(name="first")
        if operation == "exec":
            host.run(box.files.write(WITNESS, b"acknowledged"))
        else:
            host.shell(box, f"printf acknowledged > {WITNESS}")
        first = guardian(host)
        try:
            OPERATIONS[operation](host, box)
            worked = True
        except TidepoolError:
            worked = False
        traces = {
            "spawner": lambda: spawner(host) not in (0, before),
            "zygote": lambda: zygote(host) != 1,
            "init": lambda: zygote(host) != 1 or not worked or states(host) & {State.ERROR},
        }
        for name, left in traces.items():
            assert wait(left) if fault.startswith(name) else fault or not left(), f"{name} after {fault}"
        _hold(host, box, operation)
        if operation == "freeze":
            host.run(host.engine.delete_image("frozen"))
        assert guardian(host) == first
        return worked


@pytest.mark.thorough
@pytest.mark.parametrize(
    "operation",
    [pytest.param(name, marks=[] if name in ALWAYS else [pytest.mark.slow]) for name in OPERATIONS],
)
def test_without_a_fault_the_operation_works(place: Place, operation: str) -> None:
    assert _try(place, operation, "")


@pytest.mark.parametrize(("operation", "step", "passing"), thorough_after(2, TELLING))
def test_a_death_at_a_step_loses_nothing(place: Place, operation: str, step: str, passing: int) -> None:
    _try(place, operation, f"{step}:kill:{passing}")


@pytest.mark.slow
@pytest.mark.parametrize(("operation", "step", "passing"), REST)
def test_a_death_at_any_other_step_loses_nothing(
    place: Place, operation: str, step: str, passing: int
) -> None:
    _try(place, operation, f"{step}:kill:{passing}")


def test_every_step_is_one_that_something_dies_at() -> None:
    named = re.compile(r'faults\.step\("([a-z.]+)"\)')
    files = (Path(faults.__file__).parents[1]).rglob("*.py")
    steps = {step for file in files for step in named.findall(file.read_text())}
    tables = [*TELLING, *REST, *test_deaths.TELLING, *test_deaths.REST]
    assert steps == {step for _, step, _ in tables}
