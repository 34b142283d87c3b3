"""What is one tenant's does not exist for another: tried on every route that names a thing, taken from the routes.

An answer about another's thing must be the very answer about a thing that nobody has; a route that refuses for another
reason first is no proof, and fails here until it is asked properly.
"""

import base64
import os
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest

from tests.server.client import Answer, Api
from tests.server.tenants import KEYS, TwoTenants
from tidepool.server import openapi
from tidepool.server.app import routes
from tidepool.server.operations import FORM, Operation
from tidepool.wire import process

pytestmark = [pytest.mark.thorough, pytest.mark.needs("user_namespace", "overlayfs")]

NOBODYS = "f3a1b0c2-0000-4000-8000-00000000dead"
VALUES = {"port": "8000", "minutes": "5", "public": "true", "path": "x", "token": "t"}
"""For parameters beside the thing's own name; others get `x`."""
QUERY = {"key", "path", "pattern", "source", "destination", "languageId", "pathToProject", "uri", "query"}
"""Parameters without which a route may refuse before it looks."""
BODIES: dict[Any, dict[str, Any]] = {process.Stream: {"command": "true"}}
"""Where the least that fits the schema is refused."""
_PART = re.compile(r"{(\w+)}")


def kind(one: openapi.Served) -> str:
    """Which of a tenant's things a route is about; empty: none."""
    names = _PART.findall(one.path)
    if one.area == "root":
        return ""
    found = next((name for name in names if name in ("sandbox", "volume", "secret", "pool", "snapshot")), "")
    if not found and names == ["name"]:
        return "volume name" if "volumes" in one.path else "key" if "api-keys" in one.path else ""
    return found


ROUTES = [one for one in openapi.served(routes()) if kind(one)]


@pytest.fixture(scope="module")
def things(two: TwoTenants) -> Iterator[dict[str, str]]:
    """One of each kind, all of the first tenant."""
    api = Api(two.url, next(iter(KEYS)))

    def make(path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = api.call("POST", path, body)
        assert answer.status in (200, 201), answer.body
        found: dict[str, Any] = answer.json
        return found

    sandbox = make("/sandbox", {"name": "theirs", "networkBlockAll": True})
    made = {
        "sandbox": sandbox["id"],
        "volume": make("/volumes", {"name": "theirs"})["id"],
        "volume name": "theirs",
        "secret": make("/secret", {"name": "theirs", "value": "x"})["id"],
        "pool": make("/warm-pools", {"snapshot": "default", "pool": 0})["id"],
        "key": make("/api-keys", {"name": "theirs", "permissions": []})["name"],
        "snapshot": "theirs",
    }
    taken = api.call("POST", f"/sandbox/{sandbox['id']}/snapshot", {"name": "theirs"})
    assert taken.status == 200, taken.body
    yield made
    for path in (
        f"/sandbox/{made['sandbox']}",
        f"/volumes/{made['volume']}",
        f"/secret/{made['secret']}",
        f"/warm-pools/{made['pool']}",
        "/api-keys/theirs",
        "/snapshots/theirs",
    ):
        assert api.call("DELETE", path).status in (200, 204), path
    api.close()


def example(schema: dict[str, Any], components: dict[str, Any]) -> Any:
    """The least that fits a schema of ours."""
    if "$ref" in schema:
        return example(components[schema["$ref"].rpartition("/")[2]], components)
    if "anyOf" in schema:
        return example(schema["anyOf"][0], components)
    if schema.get("type") == "object":
        properties = schema.get("properties", {})
        return {name: example(properties[name], components) for name in schema.get("required", [])}
    return {"string": "x", "integer": 1, "number": 1, "boolean": True, "array": []}.get(
        schema.get("type", "")
    )


def body_of(row: Operation) -> Any:
    """A body that a route will not refuse for its form."""
    if row.request is None:
        return None
    if row.request in BODIES:
        return BODIES[row.request]
    [schema], components = msgspec.json.schema_components([row.request], ref_template="#/{name}")
    return example(schema, components)


def ask(api: Api, one: openapi.Served, thing: str) -> Answer:
    """Send a proper request about a thing."""
    row, own = openapi.row_of(one) or Operation(), kind(one).partition(" ")[2] or kind(one)
    own = "name" if own == "key" else own
    path = _PART.sub(lambda part: thing if part[1] == own else VALUES.get(part[1], "x"), one.path)
    target = f"{path}?{urlencode(dict.fromkeys(sorted(QUERY), 'x'))}"
    headers = {"Authorization": f"Bearer {api.key}"}
    if one.is_websocket:
        key = base64.b64encode(os.urandom(16)).decode()
        headers |= {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
        answer = api.send("GET", target, headers=headers | {"Sec-WebSocket-Key": key})
        api.close()  # nothing follows on such a connection
        return answer
    if row.body == FORM:
        content = b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\nx\r\n--b--\r\n'
        return api.send(one.method, target, content, headers | {"Content-Type": f"{FORM}; boundary=b"})
    body = body_of(row)
    return api.send(one.method, target, msgspec.json.encode(body) if body is not None else None, headers)


@pytest.mark.parametrize("one", ROUTES, ids=lambda one: f"{one.method} {one.path}")
def test_anothers_is_nobodys(two: TwoTenants, things: dict[str, str], one: openapi.Served) -> None:
    other, thing = Api(two.url, list(KEYS)[1]), things[kind(one)]
    theirs, nobodys = ask(other, one, thing), ask(other, one, NOBODYS)
    other.close()
    assert theirs.status == nobodys.status == 404, theirs.body
    if not one.is_websocket:
        assert theirs.message.replace(thing, "") == nobodys.message.replace(NOBODYS, "")
    assert "this server has no" not in theirs.message, "the route was not reached"


def test_what_is_not_served_tells_nothing_either(two: TwoTenants, things: dict[str, str]) -> None:
    one, other = (Api(two.url, key) for key in KEYS)
    for target in (
        f"/toolbox/{things['sandbox']}/computeruse/status",
        f"/api/sandbox/{things['sandbox']}/parent",
    ):
        assert one.at("").call("GET", target).status == 501
        assert other.at("").call("GET", target).status == 404
    one.close()
    other.close()


def test_there_are_such_routes() -> None:
    assert len(ROUTES) > 100
    assert {kind(one) for one in ROUTES} == {
        "sandbox",
        "volume",
        "volume name",
        "secret",
        "pool",
        "snapshot",
        "key",
    }


@pytest.mark.parametrize("key", [None, "nobodys-key"])
def test_without_a_key_no_route_is_reached(two: TwoTenants, key: str | None) -> None:
    api, opened = Api(two.url, key), []
    for one in openapi.served(routes()):
        if ask(api, one, "x").status not in (401, 403):
            opened.append(f"{one.method} {one.path}")
    api.close()
    assert opened == [
        f"GET {path}" for path in ("/openapi.json", "/api/health", "/api/config", "/api/health/ready")
    ]
