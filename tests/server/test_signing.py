"""URLs of files that need no key: who is let in with them, and for how long (protocol section 6.2.4)."""

import base64
import hashlib
import hmac
import time
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.server.client import Answer, Api
from tests.server.conftest import Box
from tests.server.tenants import TwoTenants
from tidepool.server import signing

pytestmark = pytest.mark.needs("user_namespace", "overlayfs")


def signed(key: str, method: str, path: str, expires: int) -> str:
    """As a client computes it."""
    text = f"v1:files:{method}:{path}:{expires}".encode()
    digest = base64.urlsafe_b64encode(hmac.new(key.encode(), text, hashlib.sha256).digest())
    return urlencode({"path": path, "expires": expires, "signature": "v1_" + digest.decode().rstrip("=")})


@pytest.fixture
def anyone(api: Api) -> Iterator[Api]:
    """A client without a key."""
    found = Api(api.url, None, "")
    yield found
    found.close()


@pytest.fixture
def key(api: Api, box: Box) -> str:
    """The sandbox's signing key, with a file to be signed."""
    box.run("printf content > 'a ü.txt'")
    answer = api.call("GET", f"/sandbox/{box.id}/signing-key")
    assert answer.status == 200
    found = answer.json
    assert isinstance(found, str)
    assert len(found) >= 32
    return found


def form(content: bytes) -> tuple[bytes, dict[str, str]]:
    body = (
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n'
        + content
        + b"\r\n--b--\r\n"
    )
    return body, {"Content-Type": "multipart/form-data; boundary=b"}


def test_a_signed_url_downloads_and_uploads_without_a_key(anyone: Api, box: Box, key: str) -> None:
    soon = int(time.time()) + 60
    for base in (f"/toolbox/{box.id}", f"/api/toolbox/{box.id}/toolbox"):
        for expires in (soon, 0):
            got = anyone.send("GET", f"{base}/files/download?{signed(key, 'GET', 'a ü.txt', expires)}")
            assert (got.status, got.body) == (200, b"content")
    put = anyone.send(
        "POST", f"/toolbox/{box.id}/files/upload-v2?{signed(key, 'POST', 'up', soon)}", *form(b"new")
    )
    assert (put.status, put.json) == (200, {"name": "up", "path": "up", "type": "file"})
    assert box.run("cat up")["result"] == "new"


def test_what_is_not_signed_so_is_refused(anyone: Api, box: Box, key: str) -> None:
    soon, base = int(time.time()) + 60, f"/toolbox/{box.id}/files"
    good = signed(key, "GET", "a ü.txt", soon)

    def get(query: str, at: str = f"{base}/download") -> Answer:
        return anyone.send("GET", f"{at}?{query}")

    assert get(good).status == 200
    for bad in (
        signed(key, "GET", "a ü.txt", int(time.time()) - 1),
        signed(key, "POST", "a ü.txt", soon),
        signed(key + "x", "GET", "a ü.txt", soon),
        good.replace("path=a", "path=b"),
        good.replace(f"expires={soon}", f"expires={soon + 1}"),
        good.replace(f"expires={soon}", "expires=0"),
        good + "&path=b",
        good + "&signature=v1_",
        good + "&expires=x",
        good.partition("&signature")[0],
        "",
    ):
        assert get(bad).status == 401, bad
    for other in (f"{base}/info", base, f"/toolbox/{box.id}/process/execute", f"{base}/download/"):
        assert get(good, other).status == 401
    assert anyone.send("POST", f"{base}/upload-v2?{good}", *form(b"new")).status == 401
    assert anyone.send("DELETE", f"{base}?{signed(key, 'DELETE', 'a ü.txt', soon)}").status == 401


def test_rotating_ends_every_url(api: Api, anyone: Api, box: Box, key: str) -> None:
    url = f"/toolbox/{box.id}/files/download?"
    answer = api.call("POST", f"/sandbox/{box.id}/signing-key/rotate")
    assert answer.status == 200
    assert answer.json != key
    assert anyone.send("GET", url + signed(key, "GET", "a ü.txt", 0)).status == 401
    assert anyone.send("GET", url + signed(answer.json, "GET", "a ü.txt", 0)).status == 200
    assert api.call("GET", f"/sandbox/{box.id}/signing-key").json == answer.json


def test_a_key_is_for_one_sandbox_and_its_tenant_only(two: TwoTenants) -> None:
    one, other = Api(two.url, "key-of-one"), Api(two.url, "key-of-two")
    anyone = Api(two.url, None, "")
    made = [one.call("POST", "/sandbox", {"networkBlockAll": True}).json["id"] for _ in range(2)]
    try:
        keys = [one.call("GET", f"/sandbox/{number}/signing-key").json for number in made]
        assert keys[0] != keys[1]
        assert other.call("GET", f"/sandbox/{made[0]}/signing-key").status == 404
        assert other.call("POST", f"/sandbox/{made[0]}/signing-key/rotate").status == 404
        query = signed(keys[0], "GET", "/etc/passwd", 0)
        assert anyone.send("GET", f"/toolbox/{made[0]}/files/download?{query}").status == 200
        assert anyone.send("GET", f"/toolbox/{made[1]}/files/download?{query}").status == 401
        one.call("DELETE", f"/sandbox/{made[0]}")
        assert anyone.send("GET", f"/toolbox/{made[0]}/files/download?{query}").status == 401
    finally:
        for number in made:
            one.call("DELETE", f"/sandbox/{number}")
        for client in (one, other, anyone):
            client.close()


def test_the_key_outlives_a_stop(api: Api, anyone: Api, box: Box, key: str) -> None:
    assert api.call("POST", f"/sandbox/{box.id}/stop").status == 200
    assert (
        anyone.send("GET", f"/toolbox/{box.id}/files/download?{signed(key, 'GET', 'a ü.txt', 0)}").status
        == 409
    )
    assert api.call("POST", f"/sandbox/{box.id}/start").status == 200
    assert (
        anyone.send("GET", f"/toolbox/{box.id}/files/download?{signed(key, 'GET', 'a ü.txt', 0)}").status
        == 200
    )


def test_the_token_of_the_toolboxs_port_opens_the_toolbox_and_nothing_else(
    api: Api, anyone: Api, box: Box
) -> None:
    found = [api.call("GET", f"/sandbox/{box.id}/ports/{port}/preview-url").json for port in (1, 2280)]
    assert found[0] == found[1]
    assert found[0]["url"] == f"{api.url}/toolbox/{box.id}"
    token = found[0]["token"]
    header = {"X-Daytona-Preview-Token": token}
    at = f"/toolbox/{box.id}/work-dir"
    assert anyone.send("GET", at, headers=header).status == 200
    assert anyone.send("GET", f"{at}?DAYTONA_SANDBOX_AUTH_KEY={token}").status == 200
    assert anyone.send("GET", at, headers={"X-Daytona-Preview-Token": token + "0"}).status == 401
    assert anyone.send("GET", f"/api/sandbox/{box.id}", headers=header).status == 401
    assert anyone.send("GET", "/api/sandbox", headers=header).status == 401
    other = api.call("GET", f"/sandbox/{box.id}/ports/3000/preview-url").json["token"]
    assert anyone.send("GET", at, headers={"X-Daytona-Preview-Token": other}).status == 401


@given(st.text(), st.text(), st.integers(1, 10**10), st.integers(-100, 100))
def test_a_signature_holds_until_its_second_and_for_its_path(
    key: str, path: str, expires: int, more: int
) -> None:
    query = {
        "path": path,
        "expires": str(expires),
        "signature": signing.signature(key, "GET", path, str(expires)),
    }
    now = float(expires + more)
    assert signing.is_signed(key, "GET", query, now) == (more < 0)
    assert not signing.is_signed(key, "GET", {**query, "path": path + "x"}, now)
    assert not signing.is_signed(key, "POST", query, now)
    assert not signing.is_signed(key, "GET", {**query, "signature": query["signature"][:-1]}, now)
