"""What all tests share: walls of this host, places for state, one real server, and the proof that nothing is left.

No test talks to a server of the user's own: every default place is moved into a directory of this session.
"""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import leftovers

pytest_plugins = ["tests.walls"]

_SESSION = secrets.token_hex(8)
_PLACE = Path(tempfile.mkdtemp(prefix="tp-test-"))
_START_S = 30.0
_END_S = 30.0


@dataclass(frozen=True)
class StateDirs:
    """Directories that an unprivileged user id can pass through, as the engine's processes must."""

    state: Path
    runtime: Path


@dataclass(frozen=True)
class Server:
    """A running server."""

    url: str
    """Base of its API."""
    key: str
    """Empty on a Unix socket."""
    pid: int


def pytest_configure() -> None:
    _PLACE.chmod(0o755)
    (_PLACE / "state").mkdir(mode=0o755)
    (_PLACE / "run").mkdir(mode=0o700)
    for name in [name for name in os.environ if name.startswith("DAYTONA_")]:
        del os.environ[name]
    os.environ["TIDEPOOL_STATE_DIR"] = str(_PLACE / "state")
    os.environ["TIDEPOOL_RUNTIME_DIR"] = str(_PLACE / "run")
    os.environ[leftovers.SESSION_KEY] = _SESSION


def pytest_unconfigure() -> None:
    shutil.rmtree(_PLACE)


@pytest.fixture(scope="session", autouse=True)
def _nothing_left() -> Iterator[None]:
    """Set up before and torn down after every other fixture of the session: what is left then, nobody will remove."""
    before = leftovers.now()
    yield
    left = leftovers.taken_since(before, _SESSION)
    assert not left, "left after the tests:\n" + "\n".join(left)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """The loop that the server runs on."""
    return "asyncio"


@pytest.fixture(scope="session")
def state_dirs() -> StateDirs:
    """The session's own state and runtime directories; the environment names them too."""
    return StateDirs(_PLACE / "state", _PLACE / "run")
