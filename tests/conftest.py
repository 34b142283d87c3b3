"""What all tests share: walls of this host, places for state, real servers, and the proof that nothing is left.

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
from hypothesis import settings

from tests import leftovers, walls

_SESSION = secrets.token_hex(8)
_PLACE = pytest.StashKey[Path]()
# How long an example takes says what else the host has to do; the same ones are tried in every run.
settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")


@dataclass(frozen=True)
class StateDirs:
    """Directories that an unprivileged user id can pass through, as the engine's processes must."""

    state: Path
    runtime: Path


@dataclass(frozen=True)
class Server:
    """A running server with an API key, on a port of this host's loopback."""

    url: str
    key: str
    pid: int

    @property
    def environment(self) -> dict[str, str]:
        """For a program that shall talk to it."""
        return os.environ | {"DAYTONA_API_URL": self.url, "DAYTONA_API_KEY": self.key}


def pytest_configure(config: pytest.Config) -> None:
    place = config.stash[_PLACE] = Path(tempfile.mkdtemp(prefix="tp-test-"))
    place.chmod(0o755)
    (place / "state").mkdir(mode=0o755)
    (place / "run").mkdir(mode=0o700)
    for name in [name for name in os.environ if name.startswith("DAYTONA_")]:
        del os.environ[name]
    os.environ["TIDEPOOL_STATE_DIR"] = str(place / "state")
    os.environ["TIDEPOOL_RUNTIME_DIR"] = str(place / "run")
    os.environ[leftovers.SESSION_KEY] = _SESSION


def pytest_runtest_setup(item: pytest.Item) -> None:
    walls.check(item)


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(config.stash[_PLACE])


@pytest.fixture(scope="session", autouse=True)
def _nothing_left() -> Iterator[None]:
    """Set up before and torn down after every other fixture of the session: what is left then, nobody will remove."""
    walls.found()  # before a test loads a library that starts threads in forks: the probes fork
    before = leftovers.now()
    yield
    left = leftovers.taken_since(before, _SESSION)
    assert not left, "left after the tests:\n" + "\n".join(left)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """The loop that the server runs on."""
    return "asyncio"


@pytest.fixture(scope="session")
def state_dirs(pytestconfig: pytest.Config) -> StateDirs:
    """The session's own state and runtime directories; the environment names them too."""
    place = pytestconfig.stash[_PLACE]
    return StateDirs(place / "state", place / "run")


@pytest.fixture(scope="session")
def server(state_dirs: StateDirs) -> Iterator[Server]:
    """One server for the session, started as a user does; ended as a user does, which must succeed."""
    key = secrets.token_hex(16)
    command = [sys.executable, "-m", "tidepool.server", "--port", "0"]
    environment = os.environ | {"TIDEPOOL_API_KEY": key, "TIDEPOOL_SSH_PORT": "0"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            assert url, f"the server did not start; it ended with {process.wait()}"
            yield Server(url, key, process.pid)
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        finally:
            process.kill()
