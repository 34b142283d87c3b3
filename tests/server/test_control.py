"""What clients read and keep besides sandboxes: organization, regions, health, secrets, volumes, warm pools."""

import stat
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Server, StateDirs
from tests.server.client import Answer, Api
from tests.server.tenants import KEYS, TwoTenants
from tidepool.server.store import Store
from tidepool.server.vault import Vault
from tidepool.wire.secrets import CreateSecret, UpdateSecret


def ok(answer: Answer, status: int = 200) -> Any:
    """The body of an answer that must have this status."""
    assert answer.status == status, answer.body
    return answer.json


# Where a client is


def test_there_is_one_organization(api: Api) -> None:
    [one] = ok(api.call("GET", "/organizations"))
    assert ok(api.call("GET", f"/organizations/{one['id']}")) == one
    assert one["suspended"] is False
    assert one["maxCpuPerSandbox"] >= 1
    assert "otelConfig" in one
    assert "only one there is" in api.call("GET", "/organizations/other").message


def test_there_is_one_region(api: Api) -> None:
    [one] = ok(api.call("GET", "/regions"))
    assert ok(api.call("GET", "/shared-regions")) == [one]
    assert ok(api.call("GET", f"/regions/{one['id']}")) == one
    assert one["proxyUrl"] == api.url
    assert api.call("GET", "/regions/mars").status == 404


def test_a_key_is_its_user(api: Api) -> None:
    assert ok(api.call("GET", "/users/me"))["id"] == "default"


def test_readiness_is_open_and_says_what_works(server: Server) -> None:
    api = Api(server.url)
    found = ok(api.call("GET", "/health/ready"))
    api.close()
    assert found["status"] == "ok"
    assert found["info"] == found["details"] == {"engine": {"status": "up"}, "database": {"status": "up"}}
    assert found["error"] == {}


# Secrets


@pytest.fixture
def secret(api: Api) -> Any:
    """One secret."""
    body = {"name": "TOKEN", "value": "the-value-of-it", "hosts": ["api.example.com"], "description": "d"}
    made = ok(api.call("POST", "/secret", body), 201)
    yield made
    assert api.call("DELETE", f"/secret/{made['id']}").status in (204, 404)


def test_a_secret_comes_back_without_its_value(
    api: Api, secret: dict[str, Any], state_dirs: StateDirs
) -> None:
    assert secret["hosts"] == ["api.example.com"]
    assert secret["placeholder"]
    answers = [api.call("GET", path) for path in ("/secret", f"/secret/{secret['id']}", "/secret/paginated")]
    assert [answer.status for answer in answers] == [200, 200, 200]
    assert not any(b"the-value-of-it" in answer.body for answer in answers)
    assert answers[2].json == {"items": [secret], "total": 1, "nextCursor": None}
    files = [file for file in (state_dirs.state / "records").iterdir() if file.is_file()]
    assert not any(b"the-value-of-it" in file.read_bytes() for file in files)
    key = state_dirs.state / "records" / "secrets.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_a_secret_is_changed_and_deleted(api: Api, secret: dict[str, Any]) -> None:
    path = f"/secret/{secret['id']}"
    changed = ok(api.call("PATCH", path, {"hosts": ["*.example.org"]}))
    assert changed["hosts"] == ["*.example.org"]
    assert changed["description"] == "d"
    assert changed["placeholder"] == secret["placeholder"]
    assert api.call("POST", "/secret", {"name": "TOKEN", "value": "x"}).status == 409
    assert api.call("DELETE", path).status == 204
    assert api.call("GET", path).status == 404


def test_secrets_come_in_pages(api: Api) -> None:
    made = [ok(api.call("POST", "/secret", {"name": f"S{n}", "value": "x"}), 201) for n in (2, 1, 3)]
    first = ok(api.call("GET", "/secret/paginated", limit=2, sort="name", order="desc"))
    assert [one["name"] for one in first["items"]] == ["S3", "S2"]
    rest = ok(
        api.call("GET", "/secret/paginated", limit=2, sort="name", order="desc", cursor=first["nextCursor"])
    )
    assert [one["name"] for one in rest["items"]] == ["S1"]
    assert (rest["nextCursor"], rest["total"]) == (None, 3)
    assert [one["name"] for one in ok(api.call("GET", "/secret/paginated", name="s2"))["items"]] == ["S2"]
    assert api.call("GET", "/secret/paginated", sort="value").status == 400
    for one in made:
        assert api.call("DELETE", f"/secret/{one['id']}").status == 204


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"name": "X"}, "value"),
        ({"name": "a b", "value": "x"}, "$.name"),
        ({"name": "X", "value": ""}, "$.value"),
        ({"name": "X", "value": "x", "hosts": ["http://x"]}, "$.hosts[0]"),
        ({"name": "X", "value": "x", "hosts": ["*"]}, "$.hosts[0]"),
    ],
)
def test_a_secret_that_does_not_fit_is_told_where(api: Api, body: Any, words: str) -> None:
    answer = api.call("POST", "/secret", body)
    assert answer.status == 400
    assert words in answer.message


@pytest.mark.anyio
async def test_only_the_vault_with_its_key_opens_a_secret(tmp_path: Path) -> None:
    store = await Store.open(f"sqlite:///{tmp_path}/s.db")
    vault = Vault(store, tmp_path / "a")
    made = await vault.create("one", CreateSecret("TOKEN", "val\0ue", hosts=["h"]))
    assert await Vault(store, tmp_path / "a").secrets_of("one", ["TOKEN"]) == {"TOKEN": ("val\0ue", ("h",))}
    await vault.update("one", made.id, UpdateSecret(value="new"))
    assert (await vault.secrets_of("one", [made.id]))[made.id][0] == "new"
    with pytest.raises(Exception, match="not the key it was sealed with"):
        await Vault(store, tmp_path / "b").secrets_of("one", ["TOKEN"])
    with pytest.raises(Exception, match="Secret with ID or name TOKEN not found"):
        await vault.secrets_of("two", ["TOKEN"])
    stolen = await store.get("secrets", "one", made.id)
    assert stolen is not None
    await store.put("secrets", "two", made.id, "TOKEN", stolen)
    with pytest.raises(Exception, match="sealed for another tenant"):
        await vault.secrets_of("two", ["TOKEN"])
    await store.close()


# Volumes


@pytest.mark.needs("user_namespace", "overlayfs")
def test_a_volume_is_made_found_and_deleted(api: Api) -> None:
    made = ok(api.call("POST", "/volumes", {"name": "data"}))
    assert made["state"] == "ready"
    assert made["errorReason"] is None
    assert ok(api.call("GET", "/volumes")) == [made]
    assert ok(api.call("GET", f"/volumes/{made['id']}")) == made
    assert ok(api.call("GET", "/volumes/by-name/data")) == made
    assert api.call("POST", "/volumes", {"name": "data"}).status == 409
    assert api.call("DELETE", f"/volumes/{made['id']}").status == 200
    missing = api.call("GET", "/volumes/by-name/data")
    assert missing.status == 404
    assert missing.message == "Volume with name data not found"
    assert api.call("DELETE", f"/volumes/{made['id']}").status == 404
    assert api.call("GET", f"/volumes/by-name/{made['id']}").status == 404


@pytest.mark.parametrize("name", ["", "a/b", "a\0b", "x" * 129, 7, None])
def test_a_volumes_name_must_fit(api: Api, name: Any) -> None:
    answer = api.call("POST", "/volumes", {"name": name})
    assert answer.status == 400
    assert "$.name" in answer.message


# Warm pools


def test_a_warm_pool_is_made_changed_and_deleted(api: Api) -> None:
    made = ok(api.call("POST", "/warm-pools", {"snapshot": "default", "pool": 1}), 201)
    try:
        assert {"cpu", "mem", "disk", "osUser", "env", "currentSize", "target"} <= made.keys()
        assert ok(api.call("GET", "/warm-pools")) == [made]
        assert ok(api.call("PATCH", f"/warm-pools/{made['id']}", {"pool": 2}))["pool"] == 2
        assert api.call("POST", "/warm-pools", {"snapshot": "default", "pool": 1}).status == 409
        assert "not found" in api.call("POST", "/warm-pools", {"snapshot": "never-made", "pool": 1}).message
        assert "$.pool" in api.call("POST", "/warm-pools", {"snapshot": "x", "pool": -1}).message
        elsewhere = {"snapshot": "x", "pool": 1, "target": "mars"}
        assert "mars" in api.call("POST", "/warm-pools", elsewhere).message
    finally:
        assert api.call("DELETE", f"/warm-pools/{made['id']}").status == 204
    assert api.call("PATCH", f"/warm-pools/{made['id']}", {"pool": 2}).status == 404


# What is not here


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/audit/scenarios"),
        ("POST", "/organizations"),
        ("GET", "/organizations/x/users"),
        ("GET", "/users"),
        ("POST", "/regions"),
        ("GET", "/runners"),
        ("GET", "/jobs/poll"),
        ("POST", "/docker-registry"),
        ("GET", "/webhooks/status"),
        ("GET", "/billing"),
        ("GET", "/preview/x/public"),
    ],
)
def test_what_is_not_here_is_said_in_a_sentence(api: Api, method: str, path: str) -> None:
    answer = api.call(method, path, {} if method == "POST" else None)
    assert answer.status == 501
    assert len(answer.message.split()) > 6
    assert api.call("GET", "/jobsx").status == 404


@pytest.mark.needs("user_namespace", "overlayfs")
def test_what_is_one_tenants_is_not_there_for_another(two: TwoTenants) -> None:
    one, other = (Api(two.url, key) for key in KEYS)
    made = {
        "/volumes": ok(one.call("POST", "/volumes", {"name": "mine"})),
        "/secret": ok(one.call("POST", "/secret", {"name": "mine", "value": "x"}), 201),
        "/warm-pools": ok(one.call("POST", "/warm-pools", {"snapshot": "default", "pool": 0}), 201),
        "/api-keys": ok(one.call("POST", "/api-keys", {"name": "mine", "permissions": []}), 201),
    }
    try:
        for path, body in made.items():
            assert ok(other.call("GET", path)) == [], path
            for ref in (body.get("id", "mine"), "mine"):
                for method in ("GET", "DELETE", "PATCH"):
                    answer = other.call(method, f"{path}/{ref}", {"pool": 1} if method == "PATCH" else None)
                    assert answer.status in (404, 405), (method, path)
        assert other.call("GET", "/volumes/by-name/mine").status == 404
    finally:
        for path, body in made.items():
            assert one.call("DELETE", f"{path}/{body.get('id', 'mine')}").status in (200, 204)
        one.close()
        other.close()
