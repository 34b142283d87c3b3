"""The proof that nothing is left must itself be able to fail: each kind of leak is made here, seen, and taken away."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import leftovers
from tidepool.engine.spawner.protocol import SERVER_UID

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="root is needed to make this leak")
_SLEEP = "import os, time; print(os.getpid(), flush=True); time.sleep(30)  # {}"


@pytest.fixture
def before() -> leftovers.Moment:
    """The moment before the leak."""
    return leftovers.now()


def orphan(word: str, uid: int | None = None, environment: dict[str, str] | None = None) -> int:
    """A process without a living parent whose command line has this word; its id."""
    command = [sys.executable, "-I", "-S", "-c", _SLEEP.format(word)]
    drop = [] if uid is None else ["setpriv", "--reuid", str(uid), "--clear-groups"]
    with subprocess.Popen(
        ["setsid", "--fork", *drop, *command], stdout=subprocess.PIPE, text=True, env=environment or {}
    ) as launcher:
        assert launcher.stdout is not None
        return int(launcher.stdout.readline())


@pytest.fixture
def ended() -> Iterator[list[int]]:
    """Processes to be ended afterwards."""
    pids: list[int] = []
    yield pids
    for pid in pids:
        os.kill(pid, 9)
    while any(
        Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes() for pid in pids
    ):
        time.sleep(0.01)


def test_nothing_new_is_nothing_left(before: leftovers.Moment) -> None:
    assert leftovers.taken_since(before, "me", patience_s=0) == []


@pytest.mark.parametrize("word", ["tidepool.engine.spawner", "tidepool.egress", "/usr/lib/tidepool"])
def test_an_orphan_of_the_engine_is_seen(before: leftovers.Moment, ended: list[int], word: str) -> None:
    ended.append(orphan(word))
    (line,) = leftovers.taken_since(before, "me", patience_s=0)
    assert f"process {ended[0]} " in line


@as_root
def test_a_process_under_a_sandbox_id_is_seen(before: leftovers.Moment, ended: list[int]) -> None:
    ended.append(orphan("harmless", SERVER_UID + 5))
    (line,) = leftovers.taken_since(before, "me", patience_s=0)
    assert f"process {ended[0]} " in line


def test_a_server_of_this_session_is_seen_and_another_ones_is_not(
    before: leftovers.Moment, ended: list[int]
) -> None:
    ended.append(orphan("tidepool.server", environment={leftovers.SESSION_KEY: "me"}))
    ended.append(orphan("tidepool.server", environment={leftovers.SESSION_KEY: "somebody"}))
    (line,) = leftovers.taken_since(before, "me", patience_s=0)
    assert f"process {ended[0]} " in line


def test_a_child_of_the_tests_is_seen(before: leftovers.Moment) -> None:
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", _SLEEP.format("tidepool.server")]) as child:
        assert len(leftovers.taken_since(before, "me", patience_s=0)) == 1
        child.kill()


@as_root
def test_a_mount_is_seen(before: leftovers.Moment, tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "tidepool", tmp_path], check=True)
    try:
        assert any(
            line.startswith("mount tidepool") for line in leftovers.taken_since(before, "me", patience_s=0)
        )
    finally:
        subprocess.run(["umount", tmp_path], check=True)


@as_root
def test_a_control_group_of_a_dead_engine_is_seen(before: leftovers.Moment) -> None:
    with subprocess.Popen(["true"]) as gone:
        pass
    top = Path("/sys/fs/cgroup/pids")
    dead, living = (
        (top if top.is_dir() else top.parent) / f"tidepool-{pid}-{0xA1B2C3:x}"
        for pid in (gone.pid, os.getpid())
    )
    dead.mkdir()
    living.mkdir()
    try:
        (line,) = leftovers.taken_since(before, "me", patience_s=0)
        assert str(dead) in line
    finally:
        dead.rmdir()
        living.rmdir()


def test_patience_waits_for_what_is_just_ending(before: leftovers.Moment) -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(0.3)  # tidepool.server"]) as child:
        assert leftovers.taken_since(before, "me", patience_s=10) == []
        assert child.wait() == 0
