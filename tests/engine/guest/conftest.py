"""What the tests of the guest's runners share: the interpreters to try, and an empty directory for programs."""

import os
import sys
from pathlib import Path

import pytest

PYTHONS = os.environ.get("TIDEPOOL_TEST_PYTHONS", sys.executable).split(":")
"""Interpreters to try, none older than 3.11; pytest is installed in each."""


@pytest.fixture(scope="module", params=PYTHONS)
def python(request: pytest.FixtureRequest) -> str:
    """The interpreter under test."""
    return str(request.param)


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A program's directory; the same path each time it is emptied."""
    place = tmp_path / "work"
    place.mkdir()
    return place
