"""Whatever a client sends: an answer below 500, as JSON with a sentence, and the server goes on."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.server.client import Answer, Api
from tests.server.conftest import Box

pytestmark = pytest.mark.needs("user_namespace", "overlayfs")
FUZZ = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
BODIES = [
    "/process/execute",
    "/process/code-run",
    "/process/tests",
    "/process/stream",
    "/files/bulk-download",
]
QUERIES = [
    ("GET", "/files"),
    ("GET", "/files/info"),
    ("GET", "/files/download"),
    ("POST", "/files/folder"),
    ("POST", "/files/move"),
    ("POST", "/files/permissions"),
    ("DELETE", "/files"),
]
NAMES = [
    "command",
    "code",
    "language",
    "argv",
    "envs",
    "timeout",
    "cwd",
    "paths",
    "stdin",
    "labels",
    "env",
    "name",
]
NAMES += [
    "snapshot",
    "user",
    "memory",
    "disk",
    "cpu",
    "gpu",
    "ttlMinutes",
    "autoStopInterval",
    "tidepool",
    "public",
]
PARAMETERS = ["path", "source", "destination", "mode", "owner", "group", "depth", "recursive"]

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just("x" * 5000),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


def is_sound(answer: Answer) -> bool:
    """Whether it is a proper answer to a bad request; a good one is not meant here."""
    if answer.status < 300:
        return True
    return answer.status < 500 and bool(answer.message) and answer.json["statusCode"] == answer.status


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b"nonsense",
        b"\xff\xfe",
        b'{"timeout": 1e999, "labels": 1, "paths": 1, "env": 1}',
        b"[" * 100000,
        b'{"command":' * 50000,
    ],
)
def test_bodies_that_are_no_request(api: Api, box: Box, body: bytes) -> None:
    for path in BODIES:
        answer = box.toolbox.call("POST", path, body)
        assert (answer.status, is_sound(answer)) == (400, True), (path, answer)
    assert api.call("POST", "/sandbox", body).status == 400
    assert api.call("PUT", f"/sandbox/{box.id}/labels", body).status == 400


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b'{"command": "\\ud800"}', b'{"command": "a\xff"}', b'{"command": "true", "command": 3}'],
)
def test_commands_that_are_none(box: Box, body: bytes) -> None:
    for path in ("/process/execute", "/process/stream"):
        assert box.toolbox.call("POST", path, body).status == 400


def test_the_field_that_does_not_fit_is_named(api: Api, box: Box) -> None:
    assert (
        "$.timeout" in box.toolbox.call("POST", "/process/execute", {"command": "x", "timeout": "1"}).message
    )
    assert "`command`" in box.toolbox.call("POST", "/process/execute", {}).message
    assert "$.env" in api.call("POST", "/sandbox", {"env": {"A": 1}}).message
    assert (
        "$.tidepool.memoryBytes" in api.call("POST", "/sandbox", {"tidepool": {"memoryBytes": "1"}}).message
    )


@FUZZ
@given(st.sampled_from(BODIES), anything)
def test_any_json_to_the_toolbox(box: Box, path: str, body: Any) -> None:
    if isinstance(body, dict):  # nothing here shall run for long
        body = {**body, "timeout": 0.2} if "timeout" not in body else body
    assert is_sound(box.toolbox.call("POST", path, json.dumps(body).encode()))


@FUZZ
@given(st.dictionaries(st.sampled_from(NAMES), anything, max_size=4))
def test_any_json_to_create(api: Api, fields: dict[str, Any]) -> None:
    if isinstance(fields.get("tidepool"), dict):
        fields["tidepool"].pop("dependencies", None)
    answer = api.call("POST", "/sandbox", json.dumps(fields).encode())
    assert is_sound(answer)
    if answer.status == 200:
        assert api.call("DELETE", f"/sandbox/{answer.json['id']}").status == 200


@FUZZ
@given(
    st.sampled_from(QUERIES),
    st.dictionaries(
        st.sampled_from(PARAMETERS),
        st.text(max_size=12) | st.sampled_from(["..", ".", "-1", "0", "²", "9" * 30, "a\0b"]),
        max_size=4,
    ),
)
def test_any_query_to_the_toolbox(box: Box, call: tuple[str, str], query: dict[str, str]) -> None:
    if call == ("DELETE", "/files"):
        query.pop("recursive", None)
    assert is_sound(box.toolbox.call(*call, **{name: value.encode() for name, value in query.items()}))


@FUZZ
@given(st.text(max_size=30))
def test_any_name(api: Api, name: str) -> None:
    answer = api.call("POST", "/sandbox", {"name": name, "networkBlockAll": True})
    assert is_sound(answer)
    if answer.status == 200:
        assert api.call("DELETE", f"/sandbox/{answer.json['id']}").status == 200


@pytest.mark.parametrize(
    "path", ["/%00", "/%ff", "/..%2f..%2fetc", "/" + "x" * 8000, "/%F0%9F%8C%8A", "/a%20b"]
)
def test_any_reference(api: Api, path: str) -> None:
    for method in ("GET", "DELETE"):
        answer = api.call(method, "/sandbox" + path)
        assert (answer.status, is_sound(answer)) == (404, True)
    assert is_sound(api.at("/toolbox").call("GET", path + "/files"))


@pytest.mark.parametrize("value", ["\xff", "²", "..", "1.2.3.4.5", "-1", "9" * 400, "0.110.1-beta", ""])
def test_any_client_version(api: Api, value: str) -> None:
    sent = {"Authorization": f"Bearer {api.key}", "X-Daytona-SDK-Version": value}
    assert api.send("GET", "/api/sandbox", headers=sent).status == 200


def test_the_server_is_well_afterwards(api: Api, make_box: Callable[..., Box]) -> None:
    assert make_box().run("echo well")["result"] == "well\n"
    assert api.call("GET", "/tidepool").json["sandboxes"] == 1, "an earlier test of this file has left one"
