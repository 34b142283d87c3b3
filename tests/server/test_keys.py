"""API keys over HTTP: made, shown once, limited, over, deleted; and the table of permissions by itself."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.conftest import StateDirs
from tests.server.client import Api, started
from tidepool.server.app import routes
from tidepool.server.openapi import served
from tidepool.server.permissions import needed
from tidepool.wire.keys import PERMISSIONS

Make = Callable[..., dict[str, Any]]


@pytest.fixture
def make(api: Api) -> Iterator[Make]:
    """Makes keys with the server's configured key; they are deleted afterwards."""
    made: list[str] = []

    def make(name: str, *permissions: str, **more: Any) -> dict[str, Any]:
        answer = api.call("POST", "/api-keys", {"name": name, "permissions": permissions, **more})
        assert answer.status == 201, answer.body
        made.append(name)
        found: dict[str, Any] = answer.json
        return found

    yield make
    for name in made:
        assert api.call("DELETE", f"/api-keys/{name}").status in (204, 404)


@pytest.fixture
def other(api: Api) -> Iterator[Callable[[str], Api]]:
    """A client with another key."""
    made: list[Api] = []

    def other(key: str) -> Api:
        made.append(Api(api.url, key))
        return made[-1]

    yield other
    for one in made:
        one.close()


def test_a_key_opens_the_tenants_door_until_it_is_deleted(api: Api, make: Make, other: Any) -> None:
    made = make("ci", "write:sandboxes")
    assert made["value"].startswith("dtn_")
    assert made["permissions"] == ["write:sandboxes"]
    assert made["expiresAt"] is None
    client = other(made["value"])
    assert client.call("GET", "/sandbox").status == 200
    assert client.call("GET", "/api-keys/current").json["name"] == "ci"
    assert api.call("DELETE", "/api-keys/ci").status == 204
    assert client.call("GET", "/sandbox").status == 401
    assert api.call("DELETE", "/api-keys/ci").status == 404
    assert "API key with name ci not found" in api.call("GET", "/api-keys/ci").message


def test_a_keys_value_is_shown_once(api: Api, make: Make) -> None:
    value = make("once")["value"]
    for path in ("/api-keys", "/api-keys/once"):
        answer = api.call("GET", path)
        assert answer.status == 200
        assert value not in answer.body.decode()
    shown = api.call("GET", "/api-keys/once").json
    assert shown["value"].startswith("dtn_")
    assert "*" in shown["value"]
    assert shown["lastUsedAt"] is None
    assert {"userId", "organizationId", "createdAt", "permissions"} <= shown.keys()


def test_only_digests_are_kept(state_dirs: StateDirs, make: Make) -> None:
    value = make("kept")["value"]
    files = [file for file in (state_dirs.state / "records").iterdir() if file.is_file()]
    assert any(b'"kept"' in file.read_bytes() for file in files), "the control: it is there"
    assert not any(value.encode() in file.read_bytes() for file in files)


def test_use_is_noted(api: Api, make: Make, other: Any) -> None:
    client = other(make("used")["value"])
    assert client.call("GET", "/sandbox").status == 200
    assert api.call("GET", "/api-keys/used").json["lastUsedAt"] is not None


@pytest.mark.thorough
def test_a_key_whose_time_is_over_opens_nothing(api: Api, make: Make, other: Any) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=1.2)
    client = other(make("short", expiresAt=soon.isoformat())["value"])
    assert client.call("GET", "/sandbox").status == 200
    time.sleep(max(0.0, (soon - datetime.now(UTC)).total_seconds()))
    assert client.call("GET", "/sandbox").status == 401
    past = {"name": "past", "permissions": [], "expiresAt": "2020-01-01T00:00:00Z"}
    assert "over already" in api.call("POST", "/api-keys", past).message


def test_a_key_may_do_what_it_was_given_and_no_more(make: Make, other: Any) -> None:
    reader = other(make("reader")["value"])
    calls = [
        ("POST", "/sandbox", "write:sandboxes"),
        ("DELETE", "/sandbox/x", "delete:sandboxes"),
        ("PUT", "/sandbox/x/labels", "write:sandboxes"),
        ("GET", "/volumes", "read:volumes"),
        ("POST", "/volumes", "write:volumes"),
        ("GET", "/secret", "manage:secrets"),
        ("GET", "/api-keys", "manage:api_keys"),
        ("POST", "/api-keys", "manage:api_keys"),
    ]
    for method, path, permission in calls:
        answer = reader.call(method, path, {} if method != "GET" else None)
        assert answer.status == 403, path
        assert permission in answer.message
    assert reader.call("GET", "/sandbox").status == 200
    toolbox = reader.at("/toolbox/x")
    assert toolbox.call("GET", "/files").status == 403
    writer = other(make("writer", "write:sandboxes")["value"])
    assert writer.at("/toolbox/x").call("GET", "/files").status == 404
    assert writer.call("DELETE", "/sandbox/x").status == 403


def test_a_key_makes_none_that_may_do_more(make: Make, other: Any) -> None:
    client = other(make("maker", "manage:api_keys")["value"])
    refused = client.call("POST", "/api-keys", {"name": "more", "permissions": ["write:sandboxes"]})
    assert refused.status == 403
    assert "write:sandboxes" in refused.message
    made = client.call("POST", "/api-keys", {"name": "less", "permissions": []})
    assert made.status == 201
    assert client.call("DELETE", "/api-keys/less").status == 204


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"permissions": []}, "name"),
        ({"name": "", "permissions": []}, "$.name"),
        ({"name": "a/b", "permissions": []}, "$.name"),
        ({"name": "x", "permissions": ["write:everything"]}, "write:everything"),
        ({"name": "x", "permissions": "write:sandboxes"}, "$.permissions"),
        ({"name": "x", "expiresAt": "tomorrow"}, "$.expiresAt"),
    ],
)
def test_a_request_that_does_not_fit_is_told_where(api: Api, body: Any, words: str) -> None:
    answer = api.call("POST", "/api-keys", body)
    assert answer.status == 400
    assert words in answer.message


def test_a_name_is_given_once(api: Api, make: Make) -> None:
    make("twice")
    answer = api.call("POST", "/api-keys", {"name": "twice", "permissions": []})
    assert answer.status == 409
    assert "twice" in answer.message


def test_the_configured_key_is_known_and_may_do_all(api: Api) -> None:
    found = api.call("GET", "/api-keys/current").json
    assert found["name"] == "configured"
    assert found["permissions"] == list(PERMISSIONS)
    assert api.key is not None
    assert api.key not in found["value"]


@pytest.mark.thorough
@pytest.mark.needs("user_namespace", "overlayfs")
def test_keys_outlive_the_server() -> None:
    place = {"TIDEPOOL_REALM": "keys-outlive"}
    with started("--port", "0", "--pool", "0", "--idle", "60", environment=place) as server:
        api = Api(server.url, "key")
        value = api.call("POST", "/api-keys", {"name": "lasting", "permissions": []}).json["value"]
        api.close()
    with started("--port", "0", "--pool", "0", "--idle", "60", environment=place) as server:
        api, first = Api(server.url, value), Api(server.url, "key")
        assert api.call("GET", "/api-keys/current").json["name"] == "lasting"
        assert first.call("DELETE", "/api-keys/lasting").status == 204
        api.close()
        first.close()


@pytest.mark.parametrize(
    ("method", "path", "permission"),
    [
        ("GET", "/api/sandbox", ""),
        ("POST", "/api/sandbox", "write:sandboxes"),
        ("DELETE", "/api/sandbox/x", "delete:sandboxes"),
        ("DELETE", "/api/sandbox/x/ssh-access", "write:sandboxes"),
        ("GET", "/api/sandbox/x/ports/80/preview-url", "write:sandboxes"),
        ("GET", "/toolbox/x/files", "write:sandboxes"),
        ("GET", "/api/toolbox/x/toolbox/files", "write:sandboxes"),
        ("GET", "/api/api-keys/current", ""),
        ("GET", "/api/api-keys/current/", "manage:api_keys"),
        ("DELETE", "/api/api-keys/current", "manage:api_keys"),
        ("GET", "/api/secretariat", ""),
        ("DELETE", "/api/volumes/x", "delete:volumes"),
        ("DELETE", "/api/snapshots/x", "delete:snapshots"),
        ("POST", "/api/snapshots", "write:snapshots"),
        ("POST", "/api/something-new", "write:sandboxes"),
        ("BREW", "/api/sandbox", "write:sandboxes"),
        ("POST", "/a\nb", "write:sandboxes"),
    ],
)
def test_the_table_of_permissions(method: str, path: str, permission: str) -> None:
    assert needed(method, path) == permission


def test_every_route_that_changes_something_needs_a_permission() -> None:
    free = [
        f"{one.method} {one.path}"
        for one in served(routes())
        if one.area != "root" and one.method != "GET" and not needed(one.method, one.path)
    ]
    assert free == []
    inside = {needed(one.method, one.path) for one in served(routes()) if one.area == "toolbox"}
    assert inside == {"write:sandboxes"}


def test_the_table_names_permissions_that_exist() -> None:
    every = {needed(method, f"/api{path}") for method in ("GET", "POST", "DELETE") for path in _PATHS}
    assert every - {""} <= set(PERMISSIONS)


_PATHS = ("/api-keys", "/secret", "/volumes/x", "/snapshots/x", "/sandbox/x", "/docker-registry/x", "/x")
