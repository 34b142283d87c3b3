"""That the look at the host after each attack sees what leaks: each kind is leaked on purpose, seen, and put back."""

import os
import subprocess
import time
from collections.abc import Callable

import pytest

from tests.security import invariants
from tests.security.conftest import EngineThread
from tidepool.engine import Sandbox
from tidepool.engine.spawner import protocol

pytestmark = pytest.mark.needs("user_namespace", "cgroup_pids")


def test_a_sandbox_that_the_engine_forgot_is_seen(
    host: EngineThread, make_box: Callable[..., Sandbox]
) -> None:
    make_box()
    before, since = invariants.moment(host)
    entries = host.engine._entries
    kept = dict(entries)
    entries.clear()
    try:
        found = invariants.leaked(host, before, since, 0.3)
    finally:
        entries.update(kept)
    assert {line.split(":")[0] for line in found} >= {"network namespaces", "control groups", "processes"}
    assert invariants.leaked(host, before, since) == []


def test_descriptors_that_stay_open_are_seen(host: EngineThread) -> None:
    before, since = invariants.moment(host)
    read, write = os.pipe()
    found = invariants.leaked(host, before, since, 0.1)
    os.close(read)
    os.close(write)
    assert [line.split(":")[0] for line in found] == ["descriptors of this process"]


def test_a_process_with_a_sandbox_s_id_and_no_parent_is_seen(host: EngineThread) -> None:
    before, since = invariants.moment(host)
    script = "sleep 60 > /dev/null 2>&1 & echo $!"
    uid = protocol.FIRST_BLOCK_UID + 999_999
    done = subprocess.run(
        ["sh", "-c", script], capture_output=True, text=True, check=True, user=uid, group=uid
    )
    orphan = int(done.stdout)
    try:
        assert invariants.leaked(host, before, since, 0.3) == ["orphans: 1, at most 0 are known of"]
    finally:
        os.kill(orphan, 9)
        deadline = time.monotonic() + 5
        while os.path.exists(f"/proc/{orphan}") and time.monotonic() < deadline:
            time.sleep(0.01)
