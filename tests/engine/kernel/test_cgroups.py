"""Control groups of either version: a tree is its maker's alone."""

import os
from pathlib import Path

import pytest

from tidepool.engine.kernel import cgroups

pytestmark = pytest.mark.needs("cgroup_memory", "cgroup_pids")


def named(name: str) -> list[str]:
    return [f"{top}/{one}" for top, names, _ in os.walk(cgroups.ROOT) for one in names if one == name]


def test_a_name_that_is_taken_is_refused_and_the_other_tree_is_as_it_was() -> None:
    """Left out because it is there already, a controller would limit nobody."""
    name = f"tidepool-taken-{os.getpid()}"
    first = cgroups.Tree.create(name, 64)
    try:
        first.add("leaf", cgroups.GroupLimits(64 << 20, 8, 0.5))
        before = named(name)
        with pytest.raises(FileExistsError):
            cgroups.Tree.create(name, 64)
        assert named(name) == before
        assert first.leaves() == ["leaf"]
    finally:
        first.remove("leaf")
        first.close()
    assert not named(name)


def test_half_a_tree_is_taken_away_when_the_rest_is_refused() -> None:
    name = f"tidepool-half-{os.getpid()}"
    with_pids = [Path(place) for place in named_parents(name)]
    with_pids[-1].mkdir()
    try:
        with pytest.raises(FileExistsError):
            cgroups.Tree.create(name, 64)
        assert named(name) == [str(with_pids[-1])]
    finally:
        with_pids[-1].rmdir()


def named_parents(name: str) -> list[str]:
    """Where a tree of that name would be, in the order it is made."""
    tree = cgroups.Tree.create(name, 64)
    found = [str(path) for path in tree._parents.values()]
    tree.close()
    return found
