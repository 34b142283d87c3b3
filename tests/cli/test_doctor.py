"""`tidepool doctor` starts the runtimes that are installed, says what came of it, and leaves nothing."""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tidepool.cli import trial

DOCTOR = (sys.executable, "-m", "tidepool.cli", "doctor")


def doctor() -> str:
    done = subprocess.run(DOCTOR, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert not list(Path(tempfile.gettempdir()).glob("tidepool-doctor-*"))
    return done.stdout


@pytest.mark.needs("gvisor", "crun")
def test_each_runtime_is_started() -> None:
    said = doctor()
    for isolation in ("gvisor", "crun"):
        assert re.search(rf"^isolation {isolation}: .*; works, ready in \d+ ms$", said, re.MULTILINE), said


@pytest.mark.needs("user_namespace", "overlayfs", "idmapped_mounts")
def test_what_does_not_start_is_told_in_its_own_words() -> None:
    found = trial.outcomes(["straw", "namespaces"])
    assert found["straw"].startswith("does not start: isolation is 'straw'")
    assert found["namespaces"].startswith("works, ready in ")
