"""Snapshots over real connections: their records, their builds with logs that can be followed, and whose they are."""

import http.client
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.conftest import StateDirs
from tests.images import tars
from tests.images.registry_server import serving
from tests.server.client import Api, started
from tests.server.conftest import Box
from tests.server.tenants import KEYS, TwoTenants

_DONE = ("active", "error", "build_failed")


@pytest.fixture
def make(api: Api) -> Iterator[Callable[..., dict[str, Any]]]:
    """Makes snapshots, which are gone afterwards."""
    made: list[str] = []

    def create(name: str, **fields: Any) -> dict[str, Any]:
        answer = api.call("POST", "/snapshots", {"name": name, **fields})
        assert answer.status == 200, answer.body
        made.append(answer.json["id"])
        found: dict[str, Any] = answer.json
        return found

    yield create
    for number in made:
        assert settled(api, number) in (*_DONE, "inactive", "gone")
        assert api.call("DELETE", f"/snapshots/{number}").status in (200, 404)


def settled(api: Api, number: str) -> str:
    """The state that a snapshot comes to."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        answer = api.call("GET", f"/snapshots/{number}")
        if answer.status == 404:
            return "gone"
        if answer.json["state"] not in ("building", "pulling", "pending"):
            return str(answer.json["state"])
        time.sleep(0.05)
    raise AssertionError(f"snapshot {number} stays {answer.json['state']}")


def followed(api: Api, url: str) -> str:
    """A log to its end, read as clients read it."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    try:
        connection.request(
            "GET", f"{urlsplit(url).path}?follow=true", headers={"Authorization": f"Bearer {api.key}"}
        )
        answer = connection.getresponse()
        assert (answer.status, answer.getheader("content-type")) == (200, "text/plain; charset=utf-8")
        return answer.read().decode()
    finally:
        connection.close()


def built(text: str) -> dict[str, Any]:
    """The request's part that says what to build."""
    return {"buildInfo": {"dockerfileContent": text}}


def test_there_is_always_a_default(api: Api) -> None:
    found = api.call("GET", "/snapshots/default").json
    assert (found["general"], found["state"], found["errorReason"], found["lastUsedAt"]) == (
        True,
        "active",
        None,
        None,
    )
    assert all(type(found[name]) is int for name in ("cpu", "gpu", "mem", "disk"))
    assert found in api.call("GET", "/snapshots").json["items"]
    assert api.call("POST", "/snapshots/default/activate").json["id"] == found["id"]
    assert api.call("DELETE", "/snapshots/default").status == 409
    assert api.call("POST", "/snapshots/default/deactivate").status == 409
    assert api.call("POST", "/snapshots", {"name": "default", "imageName": "debian"}).status == 409


def test_an_image_that_needs_no_build_is_soon_active(api: Api, make: Callable[..., Any]) -> None:
    made = make(
        "team/py:3.12", imageName="python:3.12-slim", entrypoint=["sleep", "9"], cpu=2, memory=4, disk=5
    )
    assert made["state"] in ("active", "pulling"), "nothing is built"
    assert settled(api, made["id"]) == "active"
    found = api.call("GET", f"/snapshots/{made['id']}").json
    assert (found["state"], found["imageName"], found["entrypoint"]) == (
        "active",
        "python:3.12-slim",
        ["sleep", "9"],
    )
    assert (found["cpu"], found["mem"], found["disk"], found["gpu"]) == (2, 4, 5, 0)
    assert api.call("GET", "/snapshots/team/py:3.12").json == found
    assert api.call("GET", "/snapshots/team%2Fpy:3.12").json == found
    assert api.call("POST", "/snapshots", {"name": "team/py:3.12", "imageName": "debian"}).status == 409


@pytest.mark.thorough
def test_a_build_can_be_followed_to_its_end(api: Api, make: Callable[..., Any]) -> None:
    text = "FROM debian\nENV A=1\nRUN echo begun; sleep 1; echo ended > /opt/f; echo ended\n"
    found = make("slow", **built(text))
    assert (found["state"], found["buildInfo"]["dockerfileContent"]) == ("building", text)
    url = api.call("GET", f"/snapshots/{found['id']}/build-logs-url").json["url"]
    assert url.startswith(api.url + "/api/")
    lines = followed(api, url).splitlines()
    assert lines.index("begun") < lines.index("ended")
    assert settled(api, found["id"]) == "active"
    ready = api.call("GET", "/snapshots/slow").json
    assert ready["size"] > 0
    assert ready["buildInfo"]["snapshotRef"] == ready["ref"]
    again = make("the-same", **built(text))
    assert (again["state"], again["ref"]) == ("active", ready["ref"])


def test_a_build_that_fails_says_why(api: Api, make: Callable[..., Any]) -> None:
    found = make("broken", **built("FROM debian\nRUN echo no luck; exit 3\n"))
    assert settled(api, found["id"]) == "build_failed"
    reason = api.call("GET", "/snapshots/broken").json["errorReason"]
    assert "exit code 3" in reason
    assert "no luck" in reason
    assert "failed: " in followed(api, f"{api.url}/api/snapshots/{found['id']}/build-logs")
    assert api.call("POST", "/snapshots/broken/activate").status == 409
    assert settled(api, make("text", **built("FROM debian\nFETCH x\n"))["id"]) == "build_failed"
    assert "line 2" in api.call("GET", "/snapshots/text").json["errorReason"]
    assert settled(api, make("unknown", imageName="alpine:3")["id"]) == "error"
    assert "no registry" in api.call("GET", "/snapshots/unknown").json["errorReason"]


def test_a_snapshot_can_be_put_away_and_taken_back(api: Api, make: Callable[..., Any]) -> None:
    number = make("away", imageName="debian")["id"]
    assert api.call("POST", f"/snapshots/{number}/deactivate").status == 204
    assert api.call("GET", "/snapshots/away").json["state"] == "inactive"
    assert api.call("POST", "/snapshots/away/activate").json["state"] == "active"
    assert api.call("DELETE", f"/snapshots/{number}").status == 200
    assert api.call("GET", f"/snapshots/{number}").status == 404
    assert api.call("DELETE", f"/snapshots/{number}").message == f"Snapshot {number} not found"


def test_pages_filters_and_order(api: Api, make: Callable[..., Any]) -> None:
    for name in ("list-b", "list-a", "list-c"):
        make(name, imageName="debian")
    page = api.call("GET", "/snapshots", None, name="LIST-", sort="name", order="desc", limit=2, page=1).json
    assert ([one["name"] for one in page["items"]], page["total"], page["page"], page["totalPages"]) == (
        ["list-c", "list-b"],
        3,
        1,
        2,
    )
    second = api.call("GET", "/snapshots", None, name="list-", limit=2, page=2).json
    assert [one["name"] for one in second["items"]] == ["list-c"]
    assert api.call("GET", "/snapshots", None, sourceSandboxId="none").json["items"] == []
    for query in ({"sort": "size"}, {"limit": "x"}, {"page": "-1"}):
        assert api.call("GET", "/snapshots", None, **query).status == 400


def test_sandboxes_are_made_from_a_snapshot(
    api: Api, make: Callable[..., Any], make_box: Callable[..., Box]
) -> None:
    text = "FROM debian\nENV A=1\nWORKDIR /opt/w\nRUN echo made > f\n"
    found = make("for-boxes", cpu=2, memory=2, disk=1, **built(text))
    assert settled(api, found["id"]) == "active"
    box = make_box(snapshot="for-boxes", env={"B": "2"})
    assert (box.described["snapshot"], box.described["cpu"], box.described["memory"]) == ("for-boxes", 2, 2)
    assert box.run("pwd; cat f; echo $A$B")["result"].split() == ["/opt/w", "made", "12"]
    assert api.call("GET", "/snapshots/for-boxes").json["lastUsedAt"]
    refused = api.call("POST", "/sandbox", {"snapshot": "none-such"})
    assert (refused.status, refused.message.startswith("Snapshot none-such not found")) == (400, True)


def test_a_sandbox_is_made_from_a_dockerfile_and_its_log_can_be_read(
    api: Api, make_box: Callable[..., Box]
) -> None:
    box = make_box(**built("FROM debian\nRUN echo made | tee /opt/f\n"))
    assert box.run("cat /opt/f")["result"].strip() == "made"
    url = api.call("GET", f"/sandbox/{box.id}/build-logs-url").json["url"]
    assert "made" in followed(api, url).splitlines()
    plain = make_box()
    assert api.call("GET", f"/sandbox/{plain.id}/build-logs-url").status == 404


def test_a_snapshot_of_a_sandbox(api: Api, make_box: Callable[..., Box]) -> None:
    box = make_box()
    box.run("echo kept > f")
    answer = api.call("POST", f"/sandbox/{box.id}/snapshot", {"name": "of-a-box"})
    assert (answer.status, answer.json["id"]) == (200, box.id)
    assert api.call("POST", f"/sandbox/{box.id}/snapshot", {"name": "of-a-box"}).status == 409
    try:
        listed = api.call("GET", "/snapshots", None, sourceSandboxId=box.id).json["items"]
        assert [(one["name"], one["state"]) for one in listed] == [("of-a-box", "active")]
        assert make_box(snapshot="of-a-box").run("cat f")["result"].strip() == "kept"
    finally:
        assert api.call("DELETE", "/snapshots/of-a-box").status == 200


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "x"},
        {"name": "x", "imageName": "debian", "buildInfo": {"dockerfileContent": "FROM debian"}},
        {"name": "x", "imageName": "debian", "gpu": 1},
        {"name": "x", "imageName": "debian\nRUN true"},
        {"name": "x", "imageName": "$A"},
        {"name": "", "imageName": "debian"},
        {"name": "a b", "imageName": "debian"},
        {"name": "../x", "imageName": "debian"},
        {"name": "x", "buildInfo": {}},
        {"name": "x", "buildInfo": {"dockerfileContent": "FROM debian", "contextHashes": ["0" * 32]}},
        {"name": "x", "buildInfo": {"dockerfileContent": "FROM debian", "contextHashes": ["../../x"]}},
        {"imageName": "debian"},
    ],
    ids=str,
)
def test_what_cannot_be_is_refused(api: Api, fields: dict[str, Any]) -> None:
    answer = api.call("POST", "/snapshots", fields)
    assert answer.status == 400, answer.body
    assert answer.message
    assert api.call("GET", "/snapshots/x").status == 404


def test_another_tenant_finds_nothing(two: TwoTenants) -> None:
    mine, theirs = (Api(two.url, key) for key in KEYS)
    try:
        number = mine.call("POST", "/snapshots", {"name": "mine", "imageName": "debian"}).json["id"]
        for ref in (number, "mine"):
            for method, path in (
                ("GET", ""),
                ("DELETE", ""),
                ("POST", "/activate"),
                ("POST", "/deactivate"),
                ("GET", "/build-logs"),
                ("GET", "/build-logs-url"),
            ):
                assert theirs.call(method, f"/snapshots/{ref}{path}").status == 404
        assert [one["name"] for one in theirs.call("GET", "/snapshots").json["items"]] == ["default"]
        assert theirs.call("POST", "/snapshots", {"name": "mine", "imageName": "debian"}).status == 200
        for one in (mine, theirs):
            assert one.call("DELETE", "/snapshots/mine").status == 200
    finally:
        mine.close()
        theirs.close()


@pytest.fixture
def own_state(state_dirs: StateDirs, tmp_path: Path) -> dict[str, str]:
    """The environment of a server beside the session's."""
    place = state_dirs.state.parent / tmp_path.name
    place.mkdir(mode=0o755)
    return {"TIDEPOOL_STATE_DIR": str(place)}


@pytest.mark.thorough
def test_a_server_with_a_registry_pulls_from_it(own_state: dict[str, str]) -> None:
    image = tars.Made(
        [tars.layer(("etc", None), ("etc/app", b"1"), zipped=True), tars.layer(("etc/more", b"2"))]
    )
    with serving() as registry:
        registry.put("app", "1", image)
        registry.password = "secret"
        environment = own_state | {
            "TIDEPOOL_REGISTRY": registry.url,
            "TIDEPOOL_REGISTRY_CREDENTIALS": "user:secret",
        }
        with started("--port", "0", environment=environment) as server:
            api = Api(server.url, "key")
            number = api.call("POST", "/snapshots", {"name": "pulled", "imageName": "app:1"}).json["id"]
            state = settled(api, number)
            found = api.call("GET", f"/snapshots/{number}").json
            assert (state, found["errorReason"], found["entrypoint"]) == ("active", None, ["/run"])
            assert api.call("DELETE", f"/snapshots/{number}").status == 200
            api.close()


@pytest.mark.thorough
def test_a_registry_that_cannot_be_used_is_said_at_the_start(own_state: dict[str, str]) -> None:
    environment = own_state | {"TIDEPOOL_REGISTRY": "http://192.0.2.1"}
    with started("--port", "0", environment=environment) as server:
        status, said = server.wait()
    assert status != 0
    assert "must be https" in said
