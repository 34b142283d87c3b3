"""Control groups of version 2 by themselves: what `cgroups.Tree` promises, each limit with the control that shows it.

Most hosts that build software have version 1, or both; `scripts/test --vm` boots a kernel with version 2 only.
"""

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tidepool.engine.kernel import cgroups, probe

MIB = 1 << 20
ROOMY = cgroups.GroupLimits(512 * MIB, 512, 64.0)
unified = pytest.mark.skipif(
    not (cgroups.ROOT / "cgroup.controllers").exists() or os.geteuid() != 0,
    reason="needs root and control groups of version 2 only: run scripts/test --vm",
)
SPAWN = """
import os, time
made = 0
try:
    for _ in range(40):
        if os.fork() == 0:
            time.sleep(60); os._exit(0)
        made += 1
except BlockingIOError:
    pass
print(made, flush=True)
time.sleep(60)
"""
BALLOON = """
block = bytearray(160 << 20)
for place in range(0, len(block), 4096):
    block[place] = 1
print("held", flush=True)
"""
BUSY = """
import time
started, used = time.monotonic(), time.process_time()
while time.monotonic() < started + 2:
    pass
print((time.process_time() - used) / (time.monotonic() - started), time.process_time() - used)
"""


@pytest.fixture
def tree() -> Iterator[cgroups.Tree]:
    made = cgroups.Tree.create(f"tidepool-v2-{os.getpid()}", 256)
    yield made
    for leaf in made.leaves():
        kill(leaf)
        until(lambda leaf=leaf: made.remove(leaf))  # type: ignore[misc]
    made.close()
    assert not top().exists()


def top() -> Path:
    return cgroups.ROOT / f"tidepool-v2-{os.getpid()}"


def kill(leaf: str) -> None:
    (top() / leaf / "cgroup.kill").write_text("1")


def until(done: Callable[[], bool], within_s: float = 20.0) -> None:
    ends = time.monotonic() + within_s
    while not done():
        assert time.monotonic() < ends
        time.sleep(0.01)


def members(leaf: str) -> list[int]:
    return [int(line) for line in (top() / leaf / "cgroup.procs").read_text().split()]


@contextlib.contextmanager
def inside(tree: cgroups.Tree, leaf: str, code: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A program that is moved into a leaf before its first line runs."""
    wait = f"import sys; sys.stdin.read(1)\n{code}"
    with subprocess.Popen(
        [sys.executable, "-c", wait], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        try:
            tree.attach(leaf, process.pid)
            assert process.stdin is not None
            process.stdin.write(b"x")
            process.stdin.close()
            yield process
        finally:
            if (top() / leaf).exists():
                kill(leaf)
            process.kill()


def line(process: "subprocess.Popen[bytes]", within_s: float = 60.0) -> str:
    assert process.stdout is not None
    assert select.select([process.stdout], [], [], within_s)[0], "it printed nothing in time"
    return process.stdout.readline().decode().strip()


@unified
def test_all_three_controllers_are_enforced_and_the_probe_says_so(tree: cgroups.Tree) -> None:
    assert tree.version == 2
    assert tree.controllers == ("cpu", "memory", "pids")
    said = {feature.name: feature for feature in probe.features()}
    for name in ("cgroup_cpu", "cgroup_memory", "cgroup_pids"):
        assert said[name].works
        assert said[name].detail == "version 2"
    assert said["cgroup_kill"].works


@unified
def test_limits_are_what_the_kernel_reads_back_and_can_be_changed(tree: cgroups.Tree) -> None:
    tree.add("leaf", cgroups.GroupLimits(64 * MIB, 9, 0.5))

    def read(name: str) -> str:
        return (top() / "leaf" / name).read_text().strip()

    assert [read("memory.max"), read("pids.max"), read("cpu.max")] == [str(64 * MIB), "9", "50000 100000"]
    tree.limit("leaf", cgroups.GroupLimits(128 * MIB, 10, 2.0))
    assert [read("memory.max"), read("pids.max"), read("cpu.max")] == [str(128 * MIB), "10", "200000 100000"]
    assert (top() / "pids.max").read_text() == "256\n"
    with pytest.raises(FileExistsError):
        tree.add("leaf", ROOMY)


@unified
def test_a_process_and_what_it_forks_are_held_by_the_leaf_and_by_no_other(tree: cgroups.Tree) -> None:
    tree.add("leaf", ROOMY)
    tree.add("other", ROOMY)
    assert tree.leaves() == ["leaf", "other"]
    with inside(tree, "leaf", SPAWN) as process:
        assert line(process) == "40"
        assert tree.holds("leaf", process.pid)
        assert not tree.holds("other", process.pid)
        assert not tree.holds("leaf", os.getpid())
        assert len(members("leaf")) == 41
        assert all(tree.holds("leaf", pid) for pid in members("leaf"))


@unified
def test_a_process_moves_itself_without_doors(tree: cgroups.Tree) -> None:
    tree.add("leaf", ROOMY)
    assert tree.doors("leaf") == []
    child = os.fork()
    if child == 0:
        status = 1
        try:
            tree.enter("leaf")
            status = 0 if tree.holds("leaf", os.getpid()) else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@unified
@pytest.mark.parametrize(("limit", "made"), [(10, 9), (100, 40)])
def test_processes_are_limited(tree: cgroups.Tree, limit: int, made: int) -> None:
    tree.add("leaf", cgroups.GroupLimits(512 * MIB, limit, 64.0))
    with inside(tree, "leaf", SPAWN) as process:
        assert line(process) == str(made)


@unified
def test_all_leaves_together_have_the_limit_of_their_parent() -> None:
    tree = cgroups.Tree.create(f"tidepool-v2-{os.getpid()}", 30)
    try:
        for leaf in ("one", "two"):
            tree.add(leaf, ROOMY)
        with inside(tree, "one", SPAWN) as one, inside(tree, "two", SPAWN) as two:
            # The first may have taken all before the second comes: moving is never refused, forking is.
            assert int(line(one)) + int(line(two)) in {28, 29}
    finally:
        for leaf in tree.leaves():
            kill(leaf)
            until(lambda leaf=leaf: tree.remove(leaf))  # type: ignore[misc]
        tree.close()


@unified
@pytest.mark.parametrize(("memory_mib", "held"), [(64, False), (400, True)])
def test_memory_is_limited_and_a_kill_is_counted_where_it_was(
    tree: cgroups.Tree, memory_mib: int, held: bool
) -> None:
    tree.add("leaf", cgroups.GroupLimits(memory_mib * MIB, 64, 64.0))
    tree.add("other", ROOMY)
    with inside(tree, "leaf", BALLOON) as process:
        assert (line(process) == "held") is held
        assert process.wait(30) == (0 if held else -signal.SIGKILL)
    assert (tree.oom_kills("leaf") > 0) is not held
    assert tree.oom_kills("other") == 0


@unified
def test_processor_time_is_limited_and_counted(tree: cgroups.Tree) -> None:
    tree.add("slow", cgroups.GroupLimits(512 * MIB, 64, 0.2))
    tree.add("fast", ROOMY)
    share = {}
    for leaf in ("slow", "fast"):
        with inside(tree, leaf, BUSY) as process:
            share[leaf], used_s = map(float, line(process).split())
        assert tree.usage(leaf)["cpu_ns"] >= used_s * 0.9e9
    assert share["slow"] < 0.35
    assert share["fast"] > 0.5  # of a processor that others use too


@unified
def test_memory_in_use_is_counted(tree: cgroups.Tree) -> None:
    tree.add("leaf", ROOMY)
    with inside(tree, "leaf", BALLOON + "import time; time.sleep(60)") as process:
        assert line(process) == "held"
        usage = tree.usage("leaf")
    assert 160 * MIB < usage["memory_bytes"] < 300 * MIB
    assert 0 <= usage["cache_bytes"] < usage["memory_bytes"]


@unified
def test_a_leaf_is_removed_when_it_is_empty_and_not_before(tree: cgroups.Tree) -> None:
    tree.add("leaf", ROOMY)
    with inside(tree, "leaf", SPAWN) as process:
        line(process)
        assert tree.remove("leaf") is False
        kill("leaf")
        process.wait(30)
    until(lambda: tree.remove("leaf"))
    assert tree.leaves() == []
    assert tree.remove("leaf") is True


@unified
def test_a_frozen_leaf_is_killed_whole(tree: cgroups.Tree) -> None:
    tree.add("leaf", ROOMY)
    with inside(tree, "leaf", SPAWN) as process:
        line(process)
        (top() / "leaf/cgroup.freeze").write_text("1")
        until(lambda: "frozen 1" in (top() / "leaf/cgroup.events").read_text())
        kill("leaf")
        assert process.wait(30) == -signal.SIGKILL
    until(lambda: members("leaf") == [])


IN_A_CONTAINER = """
import os, subprocess, sys
from tidepool.engine.kernel import cgroups
tree = cgroups.Tree.create("boxes", 64)
print(*tree.controllers)
print(open("/proc/self/cgroup").read().strip())
tree.add("leaf", cgroups.GroupLimits(64 << 20, 8, 0.5))
sleeper = subprocess.Popen(["sleep", "60"])
tree.attach("leaf", sleeper.pid)
print(tree.holds("leaf", sleeper.pid))
sleeper.kill()
sleeper.wait()
while not tree.remove("leaf"):
    pass
tree.close()
"""


@unified
def test_in_a_container_its_own_processes_make_room(tree: cgroups.Tree) -> None:
    """A container is started in the top group of its own cgroup namespace, which then has processes."""
    tree.add("container", ROOMY)
    mount = 'umount /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec "$@"'
    python = [sys.executable, "-c", IN_A_CONTAINER]
    code = f"""
import subprocess
subprocess.run({["unshare", "--cgroup", "--mount", "sh", "-c", mount, "sh", *python]!r}, check=True)
"""
    with inside(tree, "container", code) as process:
        assert line(process) == "cpu memory pids"
        assert line(process) == "0::/init"
        assert line(process) == "True"
        assert process.wait(30) == 0
    (top() / "container/cgroup.subtree_control").write_text("-cpu -memory -pids")
    until(lambda: not members("container/init"))
    (top() / "container/init").rmdir()


def test_a_kernel_that_does_not_count_swap_has_no_file_for_it(tmp_path: Path) -> None:
    """With swapaccount=0, or built without swap, there is no memory.swap.max: there is nothing to limit then."""
    (tmp_path / "leaf").mkdir()
    (tmp_path / "leaf/memory.max").touch()
    cgroups.Tree(2, {"memory": tmp_path}).limit("leaf", ROOMY)
    assert (tmp_path / "leaf/memory.max").read_text() == str(ROOMY.memory_bytes)


def test_a_limit_that_must_hold_is_never_passed_over(tmp_path: Path) -> None:
    (tmp_path / "leaf").mkdir()
    with pytest.raises(FileNotFoundError):
        cgroups.Tree(2, {"memory": tmp_path}).limit("leaf", ROOMY)
