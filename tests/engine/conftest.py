"""Where tests that kill parts of an engine keep its files."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.directories import open_directory
from tests.engine.dying import Place


@pytest.fixture(scope="module")
def _state() -> Iterator[Path]:
    with open_directory("tidepool-faults-") as path:
        yield path


@pytest.fixture
def place(_state: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """One state directory for all, because composing its image takes longest; files are each test's own."""
    return Place(_state, f"storage-{secrets.token_hex(4)}", monkeypatch)
