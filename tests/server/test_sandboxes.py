"""Control API: sandboxes through a real server (protocol sections 5.1 to 5.3, 8 and 9)."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.server.client import Api
from tests.server.conftest import Box

pytestmark = pytest.mark.needs("user_namespace", "overlayfs")
Make = Callable[..., Box]


def test_create_answers_when_it_is_started(api: Api, box: Box) -> None:
    found = api.call("GET", f"/sandbox/{box.id}")
    assert found.status == 200
    body = found.json
    assert (body["state"], body["desiredState"], body["name"]) == ("started", "started", box.id)
    assert body["tidepool"]["enforced"]
    assert body["organizationId"]
    assert box.run("echo here")["result"] == "here\n"


def test_what_was_set_is_echoed(make_box: Make) -> None:
    labels = {"code-toolbox-language": "python", "a": "b"}
    body = make_box(
        env={"A": "1"}, labels=labels, name="echo", cpu=1, memory=2, ttlMinutes=5, target="x"
    ).described
    assert (body["env"], body["labels"], body["name"], body["memory"]) == ({"A": "1"}, labels, "echo", 2)
    assert "autoDestroyAt" in body


def test_a_name_works_as_an_id_and_is_taken_once(api: Api, make_box: Make) -> None:
    box = make_box(name="known")
    assert api.call("GET", "/sandbox/known").json["id"] == box.id
    again = api.call("POST", "/sandbox", {"name": "known"})
    assert (again.status, again.message) == (409, "Sandbox with name known already exists")


def test_what_does_not_exist_is_404_in_the_references_words(api: Api) -> None:
    for method, path in [
        ("GET", ""),
        ("DELETE", ""),
        ("POST", "/last-activity"),
        ("GET", "/toolbox-proxy-url"),
    ]:
        answer = api.call(method, f"/sandbox/nobody{path}")
        assert (answer.status, answer.message) == (404, "Sandbox with ID or name nobody not found")
        assert answer.json.keys() == {"statusCode", "error", "message", "path", "timestamp"}
        assert answer.json["path"] == f"/api/sandbox/nobody{path}"
    answer = api.at("/toolbox/nobody").call("GET", "/files/info", path="x")
    assert (answer.status, answer.message) == (404, "Sandbox with ID or name nobody not found")
    assert (answer.json["code"], answer.json["source"]) == ("NOT_FOUND", "DAYTONA_DAEMON")


def test_delete_answers_destroyed_and_leaves_a_tombstone(api: Api, make_box: Make) -> None:
    box = make_box(name="short-lived")
    for _ in range(2):  # a repeated delete is no error
        answer = api.call("DELETE", f"/sandbox/{box.id}")
        assert (answer.status, answer.json["state"]) == (200, "destroyed")
    assert answer.json["desiredState"] == "destroyed"
    tombstone = api.call("GET", f"/sandbox/{box.id}")
    assert (tombstone.status, tombstone.json["state"]) == (200, "destroyed")
    assert box.id not in [item["id"] for item in api.call("GET", "/sandbox").json["items"]]
    run = box.toolbox.call("POST", "/process/execute", {"command": "true"})
    assert (run.status, run.json["code"]) == (409, "CONFLICT")
    assert "destroyed" in run.message
    assert make_box(name="short-lived").id != box.id  # the name is free again


def test_lists_in_three_shapes(api: Api, make_box: Make) -> None:
    ids = [make_box(labels={"batch": "shapes", "n": str(n)}).id for n in range(3)]
    mine = {"labels": json.dumps({"batch": "shapes"})}
    newest = api.call("GET", "/sandbox", **mine).json
    assert ([item["id"] for item in newest["items"]], newest["nextCursor"]) == (ids, None)
    pages = api.call("GET", "/sandbox/paginated", page=2, limit=2, **mine).json
    assert [item["id"] for item in pages["items"]] == ids[2:]
    assert (pages["total"], pages["page"], pages["totalPages"]) == (3, 2, 2)
    assert api.call("GET", "/sandbox/paginated", labels="null").status == 200
    headers = {"Authorization": f"Bearer {api.key}"}
    old = api.send("GET", "/api/sandbox", headers={**headers, "X-Daytona-SDK-Version": "0.110.1"}).json
    assert set(ids) <= {item["id"] for item in old}
    new = api.send("GET", "/api/sandbox", headers={**headers, "X-Daytona-SDK-Version": "0.226.1"}).json
    assert "nextCursor" in new


def test_a_cursor_leads_through_all(api: Api, make_box: Make) -> None:
    ids = [make_box(labels={"batch": "cursor"}).id for _ in range(3)]
    query: dict[str, Any] = {"labels": json.dumps({"batch": "cursor"}), "limit": 2}
    first = api.call("GET", "/sandbox", **query).json
    rest = api.call("GET", "/sandbox", cursor=first["nextCursor"], **query).json
    assert [item["id"] for item in first["items"] + rest["items"]] == ids
    assert rest["nextCursor"] is None


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"name": "filter-a"}, ["filter-a", "filter-ab"]),
        ({"name": "filter-", "sort": "name", "order": "desc"}, ["filter-b", "filter-ab", "filter-a"]),
        ({"name": "filter-", "sort": "memoryGib", "order": "desc"}, ["filter-b", "filter-a", "filter-ab"]),
        ({"name": "filter-", "states": "started"}, ["filter-a", "filter-ab", "filter-b"]),
        ({"name": "filter-", "states": "error"}, []),
        ({"name": "filter-", "labels": '{"x": "1"}'}, ["filter-ab"]),
        ({"name": "filter-", "labels": '{"x": "2"}'}, []),
    ],
)
def test_filters_and_order(api: Api, make_box: Make, query: dict[str, str], expected: list[str]) -> None:
    make_box(name="filter-a")
    make_box(name="filter-ab", labels={"x": "1"})
    make_box(name="filter-b", memory=2)
    assert [item["name"] for item in api.call("GET", "/sandbox", **query).json["items"]] == expected


@pytest.mark.parametrize(
    "query",
    [
        {"labels": "[1]"}, {"labels": '{"a": 1}'}, {"labels": "[" * 5000}, {"labels": "{"},
        {"limit": "x"}, {"limit": "²"}, {"cursor": "-1"}, {"limit": "9" * 30}, {"sort": "age"},
    ],
)  # fmt: skip
def test_queries_that_make_no_sense_are_refused(api: Api, query: dict[str, str]) -> None:
    assert api.call("GET", "/sandbox", **query).status == 400


def test_a_limit_of_nothing_still_leads_on(api: Api, box: Box) -> None:
    assert len(api.call("GET", "/sandbox", limit=0).json["items"]) == 1


def test_labels_are_replaced(api: Api, make_box: Make) -> None:
    box = make_box(labels={"a": "1", "b": "2"})
    answer = api.call("PUT", f"/sandbox/{box.id}/labels", {"labels": {"c": "3"}})
    assert (answer.status, answer.json) == (200, {"labels": {"c": "3"}})
    assert api.call("GET", f"/sandbox/{box.id}").json["labels"] == {"c": "3"}
    assert api.call("PUT", f"/sandbox/{box.id}/labels", {"labels": {"c": "x" * 5000}}).status == 400
    assert api.call("GET", f"/sandbox/{box.id}").json["labels"] == {"c": "3"}


def test_activity_can_be_told(api: Api, box: Box) -> None:
    time.sleep(0.01)
    assert api.call("POST", f"/sandbox/{box.id}/last-activity").status == 201
    assert api.call("GET", f"/sandbox/{box.id}").json["lastActivityAt"] > box.described["lastActivityAt"]


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Host": "tide.example:81"}, "http://tide.example:81/toolbox"),
        ({"Host": "tide.example", "X-Forwarded-Proto": "https"}, "https://tide.example/toolbox"),
        ({"Host": "tide.example", "X-Forwarded-Proto": "https, http"}, "https://tide.example/toolbox"),
        ({"Host": "tide.example", "X-Forwarded-Proto": "javascript"}, "http://tide.example/toolbox"),
    ],
)
def test_the_toolbox_is_named_as_the_client_can_reach_it(
    api: Api, box: Box, headers: dict[str, str], expected: str
) -> None:
    sent = {"Authorization": f"Bearer {api.key}", **headers}
    assert api.send("GET", f"/api/sandbox/{box.id}", headers=sent).json["toolboxProxyUrl"] == expected
    answer = api.send("GET", f"/api/sandbox/{box.id}/toolbox-proxy-url", headers=sent)
    assert (answer.status, answer.json) == (200, {"url": expected})


def test_both_toolbox_bases_work(api: Api, box: Box) -> None:
    for base in (f"/toolbox/{box.id}", f"/api/toolbox/{box.id}/toolbox"):
        toolbox = api.at(base)
        assert toolbox.call("POST", "/process/execute", {"command": "echo x"}).json["result"] == "x\n"
        for path in ("/work-dir", "/user-home-dir", "/project-dir"):
            assert toolbox.call("GET", path).json == {"dir": "/home/daytona"}
        assert toolbox.call("GET", "/version").json["version"]
        missing = toolbox.call("GET", "/files/info", path="none")
        assert (missing.status, missing.json["code"]) == (404, "FILE_NOT_FOUND")


def test_a_refused_create_makes_nothing(api: Api) -> None:
    before = api.call("GET", "/tidepool").json["sandboxes"]
    for fields in ({"gpu": 1}, {"memory": -1}, {"name": "a b"}, {"ttlMinutes": -1}, {"snapshot": "other"}):
        answer = api.call("POST", "/sandbox", fields)
        assert answer.status == 400, fields
        assert answer.message
    assert api.call("GET", "/tidepool").json["sandboxes"] == before


def test_logs_are_the_newest_output(api: Api, box: Box) -> None:
    box.run("echo first")
    box.run("echo second >&2; exit 3")
    answer = api.call("GET", f"/sandbox/{box.id}/logs")
    assert answer.body == b"first\nsecond\n"
    assert answer.headers["content-type"].startswith("text/plain")
