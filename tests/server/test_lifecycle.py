"""A sandbox's life after it was made, through the server; and what a server finds that another one left."""

import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.directories import open_directory
from tests.server.client import Api
from tests.server.conftest import Box

pytestmark = pytest.mark.needs("user_namespace", "overlayfs")
Make = Callable[..., Box]


def test_stop_and_start_keep_files_name_and_environment(api: Api, make_box: Make) -> None:
    box = make_box(name="lives", env={"GIVEN": "1"}, labels={"a": "b"})
    box.run("echo text > file; mkdir -p d/e")
    stopped = api.call("POST", f"/sandbox/{box.id}/stop?force=false")
    assert (stopped.status, stopped.json["state"], stopped.json["desiredState"]) == (
        200,
        "stopped",
        "stopped",
    )
    refused = box.toolbox.call("POST", "/process/execute", {"command": "true"})
    assert refused.status == 409
    assert "is stopped" in refused.message
    again = api.call("POST", "/sandbox/lives/start")
    assert (again.status, again.json["state"], again.json["labels"]) == (200, "started", {"a": "b"})
    assert box.run("cat file; ls d; echo $GIVEN")["result"] == "text\ne\n1\n"
    assert api.call("POST", f"/sandbox/{box.id}/start").status == 200, "starting what is started is no error"


def test_archive_and_restore(api: Api, make_box: Make) -> None:
    box = make_box()
    box.run("echo text > file")
    assert api.call("POST", f"/sandbox/{box.id}/archive").status == 409, "only what is stopped is archived"
    api.call("POST", f"/sandbox/{box.id}/stop")
    assert api.call("POST", f"/sandbox/{box.id}/archive").json["state"] == "archived"
    assert api.call("POST", f"/sandbox/{box.id}/start").json["state"] == "started"
    assert box.run("cat file")["result"] == "text\n"
    answer = api.call("POST", f"/sandbox/{box.id}/recover")
    assert (answer.status, "error" in answer.message) == (409, True)


def test_one_that_is_deleted_when_it_stops_is(api: Api, make_box: Make) -> None:
    box = make_box(autoDeleteInterval=0)
    assert api.call("POST", f"/sandbox/{box.id}/stop").json["state"] == "destroyed"


def test_resize(api: Api, make_box: Make) -> None:
    box = make_box()
    answer = api.call("POST", f"/sandbox/{box.id}/resize", {"cpu": 2, "memory": 2})
    assert (answer.status, answer.json["cpu"], answer.json["memory"]) == (200, 2, 2)
    less = api.call("POST", f"/sandbox/{box.id}/resize", {"memory": 1})
    assert (less.status, "stop it first" in less.message) == (400, True)
    api.call("POST", f"/sandbox/{box.id}/stop")
    assert api.call("POST", f"/sandbox/{box.id}/resize", {"memory": 1}).json["memory"] == 1
    assert api.call("POST", f"/sandbox/{box.id}/resize", {"disk": 0.01}).status == 400
    assert api.call("POST", f"/sandbox/{box.id}/start").status == 200


def test_fork_and_snapshot(api: Api, make_box: Make) -> None:
    box = make_box()
    box.run("echo text > file")
    twin = api.call("POST", f"/sandbox/{box.id}/fork", {"name": "twin"}).json
    try:
        assert (twin["name"], twin["state"]) == ("twin", "started")
        found = api.at(f"/toolbox/{twin['id']}").call("POST", "/process/execute", {"command": "cat file"})
        assert found.json["result"] == "text\n"
        assert api.call("POST", f"/sandbox/{box.id}/fork", {"name": "twin"}).status == 409
    finally:
        api.call("DELETE", "/sandbox/twin")
    assert api.call("POST", f"/sandbox/{box.id}/snapshot", {"name": "of-it"}).status == 200
    made = make_box(snapshot="of-it")
    assert (made.described["snapshot"], made.run("cat file")["result"]) == ("of-it", "text\n")
    too_much = api.call("POST", "/sandbox", {"snapshot": "of-it", "cpu": 2})
    assert (too_much.status, too_much.message) == (
        400,
        "Cannot specify Sandbox resources when using a snapshot",
    )
    assert api.call("DELETE", "/snapshots/of-it").status == 200
    api.call("POST", f"/sandbox/{made.id}/stop")
    assert api.call("POST", f"/sandbox/{made.id}/start").status == 200, "it still stands on what is deleted"
    assert made.run("cat file")["result"] == "text\n"
    assert api.call("POST", "/sandbox", {"snapshot": "of-it"}).status == 400


def test_volumes_are_shared(api: Api, make_box: Make) -> None:
    volume = api.call("POST", "/volumes", {"name": "shared"}).json
    one = make_box(volumes=[{"volumeId": volume["id"], "mountPath": "/data"}])
    two = make_box(volumes=[{"volumeId": volume["id"], "mountPath": "/home/daytona/d", "subpath": "sub"}])
    one.run("echo x > /data/sub/file")
    assert two.run("cat d/file")["result"] == "x\n"
    assert two.described["volumes"] == [
        {"volumeId": volume["id"], "mountPath": "/home/daytona/d", "subpath": "sub"}
    ]
    assert api.call("DELETE", f"/volumes/{volume['id']}").status == 409
    for box in (one, two):
        api.call("DELETE", f"/sandbox/{box.id}")
    assert api.call("DELETE", f"/volumes/{volume['id']}").status == 200
    gone = api.call("POST", "/sandbox", {"volumes": [{"volumeId": volume["id"], "mountPath": "/data"}]})
    assert gone.status == 404


@pytest.mark.parametrize(
    ("path", "field", "value"),
    [
        ("autostop/7", "autoStopInterval", 7),
        ("autoarchive/8", "autoArchiveInterval", 8),
        ("autodelete/9", "autoDeleteInterval", 9),
        ("autodelete/-1", "autoDeleteInterval", -1),
        ("public/true", "public", True),
    ],
)
def test_settings_take_effect(api: Api, box: Box, path: str, field: str, value: object) -> None:
    answer = api.call("POST", f"/sandbox/{box.id}/{path}")
    assert (answer.status, answer.json[field]) == (200, value)
    assert api.call("GET", f"/sandbox/{box.id}").json[field] == value


@pytest.mark.parametrize(
    ("path", "status"),
    [("autostop/-1", 400), ("autostop/x", 400), ("public/maybe", 400), ("pause", 501), ("autopause/5", 501)],
)
def test_what_cannot_be_set_is_refused_in_a_sentence(api: Api, box: Box, path: str, status: int) -> None:
    answer = api.call("POST", f"/sandbox/{box.id}/{path}")
    assert answer.status == status
    assert " " in answer.message


@pytest.fixture
def place() -> Iterator[Path]:
    with open_directory("tp-lifecycle-") as path:
        yield path


@contextmanager
def serving(place: Path, key: str, end: signal.Signals = signal.SIGTERM) -> Iterator[Api]:
    """A server of one's own on a state directory."""
    environment = os.environ | {
        "TIDEPOOL_STATE_DIR": str(place / "state"),
        "TIDEPOOL_RUNTIME_DIR": str(place / "run"),
        "TIDEPOOL_API_KEY": key,
    }
    command = [sys.executable, "-m", "tidepool.server", "--port", "0", "--pool", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url
        api = Api(url, key)
        try:
            yield api
        finally:
            api.close()
            process.send_signal(end)
            process.wait(60)


@pytest.mark.thorough
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_a_server_that_ends_loses_no_file(place: Path, end: signal.Signals) -> None:
    key = secrets.token_hex(8)
    with serving(place, key, end) as api:
        running = api.call("POST", "/sandbox", {"name": "running", "labels": {"a": "b"}}).json["id"]
        stopped = api.call("POST", "/sandbox", {"name": "stopped", "autoStopInterval": 7}).json["id"]
        short = api.call("POST", "/sandbox", {"name": "short", "autoDeleteInterval": 0}).json["id"]
        for number in (running, stopped, short):
            toolbox = api.at(f"/toolbox/{number}")
            assert toolbox.call("POST", "/process/execute", {"command": "echo kept > file"}).status == 200
        assert api.call("POST", "/sandbox/stopped/stop").status == 200
    with serving(place, key) as api:
        found = {one["name"]: one for one in api.call("GET", "/sandbox").json["items"]}
        assert {name: one["state"] for name, one in found.items()} == {
            "running": "stopped",
            "stopped": "stopped",
        }
        assert (found["running"]["labels"], found["stopped"]["autoStopInterval"]) == ({"a": "b"}, 7)
        for name in ("running", "stopped"):
            assert api.call("POST", f"/sandbox/{name}/start").json["state"] == "started"
            toolbox = api.at(f"/toolbox/{found[name]['id']}")
            answer = toolbox.call("POST", "/process/execute", {"command": "cat file"})
            assert answer.json["result"] == "kept\n"
            assert api.call("DELETE", f"/sandbox/{name}").status == 200
