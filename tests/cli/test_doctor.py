"""`tidepool doctor` starts the runtimes that are installed, says what came of it, and leaves nothing."""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.engine import plain_user
from tidepool.cli import trial

DOCTOR = (sys.executable, "-m", "tidepool.cli", "doctor")


def doctor() -> str:
    done = subprocess.run(DOCTOR, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert not list(Path(tempfile.gettempdir()).glob("tidepool-doctor-*"))
    return done.stdout


@pytest.mark.thorough
@pytest.mark.needs("gvisor", "crun")
def test_each_runtime_is_started() -> None:
    said = doctor()
    for isolation in ("gvisor", "crun"):
        assert re.search(rf"^isolation {isolation}: .*; works, ready in \d+ ms$", said, re.MULTILINE), said


@pytest.mark.thorough
@pytest.mark.needs("user_namespace", "overlayfs", "idmapped_mounts")
def test_what_does_not_start_is_told_in_its_own_words() -> None:
    found = trial.outcomes(["straw", "namespaces"])
    assert found["straw"].startswith("does not start: isolation is 'straw'")
    assert found["namespaces"].startswith("works, ready in ")


@pytest.mark.needs("gvisor", "crun")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user without subordinate ids")
def test_where_no_sandbox_can_run_no_runtime_is_tried() -> None:
    alone = plain_user.command(*DOCTOR, count=0)
    done = subprocess.run(alone, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1, done.stderr
    last = done.stdout.splitlines()[-2:]
    assert all(line.endswith("; not tried: sandboxes cannot run on this host") for line in last), last


@pytest.mark.thorough
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user without subordinate ids")
def test_an_engine_that_cannot_be_started_is_told() -> None:
    tried = "from tidepool.cli import trial; print(trial.outcomes(['namespaces'])['namespaces'])"
    alone = plain_user.command(sys.executable, "-c", tried, count=0)
    done = subprocess.run(alone, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.startswith("not tried: no engine could be started: "), done.stdout + done.stderr
    assert "no range of ids" in done.stdout
