"""What a program pays before its first sandbox: importing the SDK, and the local server that its first call starts.

Every sample is a new interpreter with a runtime directory of its own, so that each starts a server of its own.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measure import progress, timed
from outcome import Outcome, Terms

_FIRST = """
import time; begin = time.perf_counter()
import daytona_sdk
imported = time.perf_counter()
client = daytona_sdk.Daytona()
box = client.create()
made = time.perf_counter()
ran = box.process.code_run("print(1)")
done = time.perf_counter()
box.delete()
import json
print(json.dumps([(b - a) * 1000 for a, b in ((begin, imported), (imported, made), (imported, done))]))
"""
_NAMES = ("import daytona_sdk", "first call (create), server started", "first call and a line")
_PID = """
import os, sys
from daytona_sdk import _local
from tidepool.wire import paths
import httpcore
where = _local.places(os.environ, os.geteuid())
with httpcore.ConnectionPool(uds=where.socket) as pool:
    print(pool.request("GET", "http://localhost" + paths.API + paths.HANDSHAKE).content.decode())
"""


def first_use(terms: Terms) -> Outcome:
    """Import and first call, with all files of the interpreter in the page cache."""
    found = Outcome("files in the page cache, the image made; no server runs")
    with tempfile.TemporaryDirectory(prefix="tidepool-bench-") as name:
        place = Path(name)
        place.chmod(0o755)
        rounds = terms.rounds(10)
        for number in range(rounds + 1):
            found.attempt(lambda: _one(found, place, number))  # noqa: B023
            found.note(
                "python -c pass", timed(lambda: subprocess.run([sys.executable, "-c", "pass"], check=True))
            )
            progress(f"{number}/{rounds}")
    found.limits(_NAMES[0], 120)
    found.limits(_NAMES[1], 400)
    return found


def _one(found: Outcome, place: Path, number: int) -> None:
    """One program; the first is not counted, since it makes the image and fills caches."""
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("DAYTONA_")},
        "TIDEPOOL_STATE_DIR": str(place / "state"),
        "TIDEPOOL_RUNTIME_DIR": str(place / f"run{number}"),
    }
    try:
        done = subprocess.run(
            [sys.executable, "-c", _FIRST],
            env=environment,
            cwd=place,
            capture_output=True,
            text=True,
            timeout=60,
        )
        if done.returncode:
            raise RuntimeError(f"the program failed: {done.stderr.strip()[-300:]}")
        if number:
            for name, value in zip(_NAMES, json.loads(done.stdout), strict=True):
                found.note(name, value)
    finally:
        _end_server(environment, place)


def _end_server(environment: dict[str, str], place: Path) -> None:
    asked = subprocess.run(
        [sys.executable, "-c", _PID], env=environment, cwd=place, capture_output=True, text=True, timeout=30
    )
    if asked.returncode:
        return  # it never came up; the failure is counted where it was seen
    pid = int(json.loads(asked.stdout)["pid"])
    os.kill(pid, signal.SIGTERM)
    end = time.monotonic() + 20
    while Path(f"/proc/{pid}").exists() and time.monotonic() < end:
        time.sleep(0.01)
