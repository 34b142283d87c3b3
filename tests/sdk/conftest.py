"""A local server's own directories for one test module, and the end of the server that was started there."""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=5)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


@dataclass(frozen=True)
class LocalPlace:
    """Where a local server may live, apart from any other on this host."""

    base: Path

    @property
    def environment(self) -> dict[str, str]:
        """For a program that shall find or start its server here."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith("DAYTONA_")}
        dirs = {
            "TIDEPOOL_RUNTIME_DIR": str(self.base / "run"),
            "TIDEPOOL_STATE_DIR": str(self.base / "state"),
        }
        return {**kept, **dirs}

    def run(self, program: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a program text as a file of its own in `cwd`."""
        file = self.base / "program.py"
        file.write_text(program)
        return subprocess.run(
            [sys.executable, "-W", "error", str(file)],
            cwd=cwd,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=55,
        )

    def hello(self) -> dict[str, object]:
        """What the server says of itself.

        Raises:
            OSError: None is running.
        """
        connection = _UnixConnection(str(self.base / "run/tidepool.sock"))
        try:
            connection.request("GET", "/api/tidepool")
            found: dict[str, object] = json.loads(connection.getresponse().read())
            return found
        finally:
            connection.close()

    def end(self) -> None:
        """End the server, if one runs, and wait until it is gone."""
        try:
            pid = int(str(self.hello()["pid"]))
        except OSError:
            return
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + 20
        while Path(f"/proc/{pid}").exists():
            assert time.monotonic() < deadline, f"the local server {pid} does not end"
            time.sleep(0.02)


@pytest.fixture(scope="module")
def local() -> Iterator[LocalPlace]:
    """A place whose parents an unprivileged user id can pass through."""
    base = Path(tempfile.mkdtemp(prefix="tp-sdk-"))
    base.chmod(0o755)
    (base / "state").mkdir(mode=0o755)
    found = LocalPlace(base)
    yield found
    found.end()
    shutil.rmtree(base)
