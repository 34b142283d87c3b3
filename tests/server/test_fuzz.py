"""Requests that schemathesis makes up from our OpenAPI document, to a real server: each is answered, none with 500.

Requests about a sandbox are about one that is there, but for those that would end it. What was made on the way is
deleted at the end, and that sandbox must then still do its work.
"""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from tests.conftest import Server
from tests.server.client import Api
from tidepool.server import openapi
from tidepool.server.app import routes

pytest.importorskip("schemathesis", reason="schemathesis is not installed")
import schemathesis
from hypothesis import HealthCheck, settings

pytestmark = [pytest.mark.slow, pytest.mark.needs("user_namespace", "overlayfs"), pytest.mark.timeout(600)]

EXAMPLES = 20
"""For each of the operations, of which there are more than a hundred."""
ANSWERED_WITHIN_S = 60.0
_ENDS_IT = ("stop", "archive", "pause", "autostop", "autodelete", "ttl", "recover", "start", "resize")
"""Last words of paths that would change or end the sandbox that the others need."""


def fuzzed() -> Any:
    """The document without WebSockets, the older base (the same handlers) and S3 (its own tests)."""
    document = openapi.document(routes())
    document["paths"] = {
        path: {method: item for method, item in items.items() if "101" not in item["responses"]}
        for path, items in document["paths"].items()
        if not path.startswith(("/api/toolbox/", "/object-storage/"))
    }
    return schemathesis.openapi.from_dict(document)


schema = fuzzed()


@pytest.fixture(scope="module")
def api(server: Server) -> Iterator[Api]:
    """A client of the control API."""
    found = Api(server.url, server.key)
    yield found
    found.close()


@pytest.fixture(scope="module")
def sandbox(api: Api) -> Iterator[str]:
    """One that is there all the time; afterwards everything that was made is deleted."""
    limits = {"memoryBytes": 256 << 20, "network": "none"}
    made = api.call("POST", "/sandbox", {"name": "steady", "tidepool": limits})
    assert made.status == 200, made.body
    yield made.json["id"]
    alive = api.call("POST", f"/sandbox/{made.json['id']}/start").json
    told = api.at(f"/toolbox/{alive['id']}").call("POST", "/process/execute", {"command": "echo still here"})
    clear(api)
    assert told.json["result"] == "still here\n"


def clear(api: Api, keep: str = "") -> None:
    """Delete what requests have made."""
    for path, body in (("/sandbox", "items"), ("/volumes", ""), ("/secret", ""), ("/warm-pools", "")):
        answer = api.call("GET", path).json
        for one in answer[body] if body else answer:
            if one["id"] != keep:
                assert api.call("DELETE", f"{path}/{one['id']}").status in (200, 204, 404, 409)
    for key in api.call("GET", "/api-keys").json:
        assert api.call("DELETE", f"/api-keys/{quote(key['name'], safe='')}").status in (204, 404)


@schema.parametrize()
@settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
def test_every_request_is_answered(case: Any, server: Server, api: Api, sandbox: str) -> None:
    ends = any(word in case.path.split("/") for word in _ENDS_IT) or (case.method, case.path) == (
        "DELETE",
        "/api/sandbox/{sandbox}",
    )
    if "sandbox" in (case.path_parameters or {}) and not ends:
        case.path_parameters["sandbox"] = sandbox
    answer = case.call(
        base_url=server.url.removesuffix("/api"),
        headers={"Authorization": f"Bearer {server.key}"},
        timeout=ANSWERED_WITHIN_S,
    )
    assert answer.status_code < 500 or answer.status_code == 501, answer.text
    if answer.status_code >= 400 and answer.request.method != "HEAD":
        assert answer.json()["message"], "a refusal without a sentence"
    if (case.method, case.path) == ("POST", "/api/sandbox") and answer.status_code == 200:
        clear(api, keep=sandbox)
