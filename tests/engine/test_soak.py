"""The soak in short: sandboxes made, used and deleted with faults on the way leave nothing. In full: scripts/soak."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.needs("user_namespace", "overlayfs", "idmapped_mounts")


def soaked(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(ROOT / "benchmarks/soak.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.thorough
def test_nothing_is_left_behind() -> None:
    done = soaked("40", "--seed", "3")
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    assert "40 sandboxes in" in done.stdout
    assert "nothing is left behind" in done.stdout
    for fault in (
        "no fault",
        "init killed",
        "all killed from inside",
        "run cancelled",
        "deleted during a run",
    ):
        assert fault in done.stdout, "the seed draws every fault"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_nothing_is_left_behind_by_many_with_dying_spawners() -> None:
    done = soaked("3000")
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    assert "spawner killed" in done.stdout
