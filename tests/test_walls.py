"""The marker `needs` must be able to skip and to fail: decided by a pure function, and once in a real pytest run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import walls
from tidepool.engine.kernel.probe import Feature

FEATURES = {
    "good": Feature("good", True, "version 3", True, ""),
    "bad": Feature("bad", False, "EPERM", True, "run it as root"),
}


@pytest.mark.parametrize(
    ("needed", "demanded", "verdict"),
    [
        (["good"], [], "run"),
        (["good"], ["good", "bad"], "run"),
        (["bad"], [], "skip"),
        (["good", "bad"], ["good"], "skip"),
        (["good", "bad"], ["bad"], "fail"),
        (["unheard_of"], [], "fail"),
    ],
)
def test_what_is_done_with_a_test(needed: list[str], demanded: list[str], verdict: str) -> None:
    assert walls.judge(needed, FEATURES, frozenset(demanded))[0] == verdict


def test_the_reason_says_what_and_how_to_enable_it() -> None:
    assert walls.judge(["bad"], FEATURES, frozenset())[1] == "bad does not work here (EPERM): run it as root"


def test_a_demand_for_something_unknown_is_refused() -> None:
    assert walls.must_work(" user_namespace, ,overlayfs") == {"user_namespace", "overlayfs"}
    with pytest.raises(pytest.UsageError, match="usernamespace"):
        walls.must_work("usernamespace")


_PROGRAM = """
import pytest
from tests import walls
from tidepool.engine.kernel.probe import Feature

@pytest.fixture(autouse=True)
def checked():
    features = {"bad": Feature("bad", False, "EPERM", True, "run it as root")}
    walls.carry_out(*walls.judge(["bad"], features, frozenset(DEMANDED)))

def test_it():
    raise SystemExit("it ran")
"""


@pytest.mark.thorough
@pytest.mark.parametrize(("demanded", "outcome"), [("[]", "1 skipped"), ("['bad']", "1 error")])
def test_a_missing_wall_skips_or_fails_for_real(tmp_path: Path, demanded: str, outcome: str) -> None:
    (tmp_path / "test_it.py").write_text(_PROGRAM.replace("DEMANDED", demanded))
    root = Path(__file__).parents[1]
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-c", root / "pyproject.toml", "--rootdir", tmp_path, tmp_path],
        env=os.environ | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert outcome in result.stdout.splitlines()[-1]
    assert "bad does not work here (EPERM): run it as root" in result.stdout
