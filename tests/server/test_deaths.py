"""`kill -9` of the server at named steps of every operation: what the next one on the same state directory knows.

What was acknowledged is there: the sandbox, stopped with the reason, and its files. What was not is either there whole
or not at all. Deaths of the processes below the server are in `tests/engine/test_faults.py`.
"""

import contextlib
import http.client
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.directories import open_directory
from tests.server.client import Api
from tidepool.engine.guest import faults

pytestmark = pytest.mark.needs("user_namespace", "overlayfs", "idmapped_mounts")

OPERATIONS = {
    "create": ("POST", "/sandbox", {"name": "second"}),
    "stop": ("POST", "/sandbox/first/stop", None),
    "snapshot": ("POST", "/sandbox/first/snapshot", {"name": "frozen"}),
    "delete": ("DELETE", "/sandbox/first", None),
}
TELLING = [
    ("create", "engine.create.furnished", 2),
]
REST = [
    ("stop", "engine.stop.saved", 1),
    ("create", "engine.create.taken", 2),
    ("stop", "engine.stop.detached", 1),
    ("snapshot", "engine.freeze.held", 1),
    ("delete", "engine.delete.killed", 1),
]


@dataclass
class Serving:
    """One server process."""

    api: Api
    process: "subprocess.Popen[str]"


@pytest.fixture
def place() -> Iterator[Path]:
    """A state directory."""
    with open_directory("tp-deaths-") as path:
        yield path


@contextlib.contextmanager
def serving(place: Path, key: str, fault: str = "") -> Iterator[Serving]:
    """A server with one armed step."""
    environment = os.environ | {
        "TIDEPOOL_STATE_DIR": str(place / "state"),
        "TIDEPOOL_RUNTIME_DIR": str(place / "run"),
        "TIDEPOOL_API_KEY": key,
        faults.VARIABLE: fault,
    }
    command = [sys.executable, "-m", "tidepool.server", "--port", "0", "--pool", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url
        api = Api(url, key)
        try:
            yield Serving(api, process)
        finally:
            api.close()
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def _witness(api: Api, number: str) -> None:
    toolbox = api.at(f"/toolbox/{number}")
    answer = toolbox.call("POST", "/process/execute", {"command": "printf acknowledged > witness"})
    assert answer.status == 200


def _read_witness(api: Api, number: str) -> str:
    answer = api.at(f"/toolbox/{number}").call("POST", "/process/execute", {"command": "cat witness"})
    return str(answer.json["result"])


def _die_in(place: Path, key: str, operation: str, fault: str) -> str:
    """One operation on a server that dies in it; returns the id of the sandbox that there was before."""
    with serving(place, key, fault) as server:
        number = str(server.api.call("POST", "/sandbox", {"name": "first"}).json["id"])
        _witness(server.api, number)
        method, path, body = OPERATIONS[operation]
        with contextlib.suppress(OSError, http.client.HTTPException):
            server.api.call(method, path, body)
        assert server.process.wait(10) == -signal.SIGKILL
    return number


def _check(place: Path, key: str, operation: str, number: str) -> None:
    begun = time.monotonic()
    with serving(place, key) as server:
        api = server.api
        found = {one["name"]: one for one in api.call("GET", "/sandbox").json["items"]}
        if operation == "delete":  # begun and not acknowledged: it may be there, but then it says how
            assert all(one["errorReason"] for one in found.values())
        else:
            assert found["first"]["state"] == "stopped"
            assert found["first"]["errorReason"].startswith(
                "the server ended while it ran; its files were saved"
            )
            assert api.call("POST", "/sandbox/first/start").json["state"] == "started"
            assert _read_witness(api, number) == "acknowledged"
        for name in found:
            assert api.call("DELETE", f"/sandbox/{name}").status == 200
        assert not list((place / "state" / "storage").glob("saved/*"))
        made = api.call("POST", "/sandbox", {"name": "next"})
        assert made.json["state"] == "started"
    assert time.monotonic() - begun < 30


@pytest.mark.thorough
@pytest.mark.parametrize(("operation", "step", "passing"), TELLING)
def test_a_server_that_dies_in_an_operation_loses_nothing(
    place: Path, operation: str, step: str, passing: int
) -> None:
    key = secrets.token_hex(8)
    number = _die_in(place, key, operation, f"{step}:kill:{passing}")
    _check(place, key, operation, number)


@pytest.mark.slow
@pytest.mark.parametrize(("operation", "step", "passing"), REST)
def test_a_server_that_dies_elsewhere_loses_nothing(
    place: Path, operation: str, step: str, passing: int
) -> None:
    key = secrets.token_hex(8)
    number = _die_in(place, key, operation, f"{step}:kill:{passing}")
    _check(place, key, operation, number)


@pytest.mark.slow
def test_a_new_server_waits_for_files_that_are_still_being_saved(place: Path) -> None:
    key = secrets.token_hex(8)
    with serving(place, key) as server:
        number = str(server.api.call("POST", "/sandbox", {"name": "first"}).json["id"])
        toolbox = server.api.at(f"/toolbox/{number}")
        many = "mkdir m && cd m && seq 30000 | xargs touch; cd .. && printf acknowledged > witness"
        answer = toolbox.call("POST", "/process/execute", {"command": many})
        assert (answer.status, answer.json["exitCode"]) == (200, 0)
        server.process.kill()
    _check(place, key, "create", number)
