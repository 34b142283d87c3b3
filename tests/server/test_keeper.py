"""Sandboxes nobody looks after, on a real engine with the clock told: which are deleted when, and which never."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.server.tenants import TwoTenants
from tidepool.engine import Command, Sandbox, SandboxSpec, State
from tidepool.server.keeper import Keeper, Terms

pytestmark = pytest.mark.needs("user_namespace", "overlayfs")
Make = Callable[[Terms], Sandbox]


@pytest.fixture
def keeper(two: TwoTenants) -> Keeper:
    """One that nobody runs: the tests say what time it is."""
    return Keeper(two.engine, None, lambda: None)


@pytest.fixture
def make(two: TwoTenants, keeper: Keeper) -> Iterator[Make]:
    """Makes watched sandboxes."""
    made: list[Sandbox] = []

    def make(terms: Terms) -> Sandbox:
        made.append(two.run(two.engine.create(SandboxSpec())))
        keeper.watch(made[-1], terms)
        return made[-1]

    yield make
    for sandbox in made:
        two.run(two.engine.delete(sandbox))


def is_there(box: Sandbox) -> bool:
    return box.state is State.STARTED


def later(minutes: float) -> datetime:
    return datetime.now(UTC) + timedelta(minutes=minutes)


def test_each_is_deleted_when_its_own_time_is_over(two: TwoTenants, keeper: Keeper, make: Make) -> None:
    idle, old = make(Terms(auto_stop=10, auto_delete=0)), make(Terms(auto_stop=0, ttl=30))
    kept = make(Terms(auto_stop=0))
    two.run(keeper.tidy(later(9)))
    assert [is_there(box) for box in (idle, old, kept)] == [True, True, True]
    two.run(keeper.tidy(later(11)))
    assert [is_there(box) for box in (idle, old, kept)] == [False, True, True]
    two.run(keeper.tidy(later(31)))
    assert [is_there(box) for box in (old, kept)] == [False, True]
    two.run(keeper.tidy(later(1e6)))
    assert is_there(kept)


def test_an_idle_one_is_stopped_with_its_files_then_archived_then_deleted(
    two: TwoTenants, keeper: Keeper, make: Make
) -> None:
    box = make(Terms(auto_stop=10, auto_archive=20, auto_delete=60))
    two.run(box.files.write("file", b"kept"))
    seen = []
    for minutes in (9, 11, 19, 21, 59, 61):
        two.run(keeper.tidy(later(minutes)))
        seen.append(box.state)
    assert seen[:3] == [State.STARTED, State.STOPPED, State.STOPPED]
    assert seen[3:] == [State.ARCHIVED, State.ARCHIVED, State.DESTROYED]


def test_activity_and_runs_under_way_keep_it(two: TwoTenants, keeper: Keeper, make: Make) -> None:
    box = make(Terms(auto_stop=10, auto_delete=0))

    async def tidy_during_a_run() -> None:
        items = box.stream(Command(shell="echo begun; sleep 60"))
        async for item in items:
            assert item == ("stdout", b"begun\n")
            break
        await keeper.tidy(later(100))
        await items.aclose()  # type: ignore[attr-defined]  # an async generator, typed as its interface

    two.run(tidy_during_a_run())
    assert is_there(box)
    box.last_activity_at = later(95)
    two.run(keeper.tidy(later(100)))
    assert is_there(box)
    two.run(keeper.tidy(later(106)))
    assert not is_there(box)


def test_what_has_gone_is_forgotten(two: TwoTenants, keeper: Keeper, make: Make) -> None:
    box = make(Terms(auto_stop=10, auto_delete=0))
    assert keeper.terms_of(box) == Terms(auto_stop=10, auto_delete=0)
    two.run(two.engine.delete(box))
    two.run(keeper.tidy(later(0)))
    assert keeper.terms_of(box) == Terms()


def test_a_clock_that_is_set_ends_nobodys_time(two: TwoTenants, keeper: Keeper, make: Make) -> None:
    box = make(Terms(auto_stop=10, ttl=30))
    day = timedelta(days=1)
    for wall, passed_s in ((later(0), 1000.0), (later(0) + day, 1001.0), (later(1) + day, 1061.0)):
        keeper.keep_time(wall, passed_s)
        two.run(keeper.tidy(wall))
        assert is_there(box)
    keeper.keep_time(later(2) - day, 1121.0)
    two.run(keeper.tidy(later(2) - day))
    assert is_there(box)
    two.run(keeper.tidy(later(12) - day))
    assert not is_there(box), "its own time goes on"


def test_control_without_noticing_a_set_clock_ends_it(two: TwoTenants, keeper: Keeper, make: Make) -> None:
    box = make(Terms(auto_stop=10))
    two.run(keeper.tidy(later(0) + timedelta(days=1)))
    assert not is_there(box)
