"""A user's own place: their local server is found or started in it, and ended with the last journey of a module."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sdk.conftest import LocalPlace
from tests.style.source import ROOT


@pytest.fixture(scope="module")
def home() -> Iterator[LocalPlace]:
    """Directories that an unprivileged user id can pass through."""
    base = Path(tempfile.mkdtemp(prefix="tp-journey-"))
    base.chmod(0o755)
    (base / "state").mkdir(mode=0o755)
    found = LocalPlace(base)
    yield found
    found.end()
    shutil.rmtree(base)


def run_script(
    home: LocalPlace, script: str, *arguments: object, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a Python script of the project as a user does."""
    return subprocess.run(
        [sys.executable, "-W", "error", str(ROOT / script), *map(str, arguments)],
        cwd=ROOT,
        env={**home.environment, **environment},
        capture_output=True,
        text=True,
        timeout=110,
    )
