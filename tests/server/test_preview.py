"""Previews: pages of a sandbox through the real server, for those who may see them, whatever the guest answers."""

import base64
import http.client
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.directories import open_directory
from tests.server import guest_server
from tests.server.client import Answer, Api, started
from tests.server.conftest import Box
from tests.server.tenants import TwoTenants
from tidepool.server import gate

SERVED = pytest.mark.needs("user_namespace", "overlayfs")
PORT = guest_server.PORT
ID = "0a1b2c3d-0000-4000-8000-000000000000"


def serve(box: Box) -> None:
    box.toolbox.upload("/files/upload", ("file", "x", guest_server.SOURCE.encode()), path="serve.py")
    box.run("(python3 serve.py > out 2>&1 &); until grep -q ready out; do sleep 0.05; done", timeout=20)


class Page:
    """A preview and its token."""

    def __init__(self, api: Api, box: Box) -> None:
        found = api.call("GET", f"/sandbox/{box.id}/ports/{PORT}/preview-url").json
        assert found["sandboxId"] == box.id
        self.url: str = found["url"]
        self.token: str = found["token"]
        self.prefix = urlsplit(self.url).path
        self.client = Api(api.url, None, "")

    def get(
        self, path: str, headers: Mapping[str, str] | None = None, method: str = "GET", body: Any = None
    ) -> Answer:
        headers = {"X-Daytona-Preview-Token": self.token, **(headers or {})}
        return self.client.send(method, self.prefix + path, body, headers)


@pytest.fixture(scope="module")
def served(server: Any) -> Iterator[tuple[Api, Box]]:
    """A sandbox with the guest's server; for all tests of this module."""
    api = Api(server.url, server.key)
    made = api.call(
        "POST", "/sandbox", {"networkBlockAll": True, "tidepool": {"memoryBytes": 512 << 20}}
    ).json
    box = Box(made["id"], made, api.at(f"/toolbox/{made['id']}"))
    serve(box)
    yield api, box
    api.call("DELETE", f"/sandbox/{box.id}")
    api.close()


@pytest.fixture
def page(served: tuple[Api, Box]) -> Iterator[Page]:
    """The guest's pages."""
    found = Page(*served)
    yield found
    found.client.close()


@SERVED
def test_a_page_by_path(page: Page, api: Api) -> None:
    answer = page.get("/")
    assert (answer.status, answer.body) == (200, b"hi")
    assert answer.headers["content-security-policy"] == "sandbox allow-scripts allow-forms"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["content-type"] == "text/html"
    assert page.url == f"{api.url}/preview/{page.prefix.split('/')[2]}/{PORT}"
    assert page.get("").status == 307
    assert page.get("").headers["location"] == page.prefix + "/"
    assert page.get("/old").body == b"until the end"
    assert page.get("/none").status == 204
    assert page.get("/both").body == b"hello"
    assert page.get("/", method="HEAD").body == b""


@SERVED
def test_what_goes_in(page: Page, api: Api) -> None:
    headers = {
        "Authorization": f"Bearer {api.key}", "Cookie": "other=1; tidepool_inside_a=2; tidepool_preview=3",
        "X-Own": "kept", "X-Forwarded-For": "1.2.3.4", "X-Daytona-Organization-ID": "org", "Connection": "X-Hop",
        "X-Hop": "1", "Origin": "null", "Proxy-Authorization": "x", "Accept-Encoding": "br",
    }  # fmt: skip
    target = "/e%20cho/a%2Fb?x=1&DAYTONA_SANDBOX_AUTH_KEY=secret&y=%00"
    said = page.get(target, headers, "POST", b"body").body.decode()
    first, *lines = said.partition("\n---\n")[0].split("\r\n")
    assert said.endswith("\n---\nbody")
    assert first == "POST /e%20cho/a%2Fb?x=1&y=%00 HTTP/1.1"
    found = dict(line.lower().split(": ", 1) for line in lines)
    assert found == {
        "host": "localhost:8000", "x-own": "kept", "cookie": "a=2", "origin": "http://localhost:8000",
        "accept-encoding": "br", "content-length": "4", "connection": "close", "x-forwarded-proto": "http",
        "x-forwarded-host": urlsplit(api.url).netloc, "x-forwarded-prefix": page.prefix,
    }  # fmt: skip
    assert page.token not in said
    assert api.key is not None
    assert api.key not in said
    assert "Basic abc" in page.get("/x", {"Authorization": "Basic abc"}).body.decode()
    assert "dtn_old" not in page.get("/x", {"Authorization": "Bearer dtn_old"}).body.decode()


@SERVED
def test_bodies_of_both_kinds_and_any_size(page: Page) -> None:
    big = os.urandom(3 << 20)
    assert page.get("/x", method="PUT", body=big).body.partition(b"\n---\n")[2] == big
    parts = [b"a" * 100_000, b"b" * 10]
    answer = page.get("/x", method="POST", body=iter(parts)).body
    assert b"transfer-encoding: chunked" in answer.lower()
    assert answer.count(b"a" * 1000) == 100
    assert page.get("/early", method="POST", body=b"x" * (8 << 20)).status == 413


@pytest.mark.thorough
@SERVED
def test_an_answer_comes_as_it_is_made(page: Page) -> None:
    connection = http.client.HTTPConnection(urlsplit(page.url).netloc, timeout=20)
    connection.request("GET", f"{page.prefix}/slow", headers={"X-Daytona-Preview-Token": page.token})
    began = time.monotonic()
    answer = connection.getresponse()
    assert answer.read(2) == b"0\n"
    assert time.monotonic() - began < 0.3
    assert answer.read() == b"1\n2\n"
    connection.close()


@SERVED
def test_a_guests_cookies_redirects_and_policies_stay_its_own(page: Page) -> None:
    connection = http.client.HTTPConnection(urlsplit(page.url).netloc, timeout=20)
    connection.request("GET", f"{page.prefix}/cookies", headers={"X-Daytona-Preview-Token": page.token})
    found = connection.getresponse().headers.get_all("set-cookie")
    connection.close()
    assert found == [
        f"tidepool_inside_a=1; HttpOnly; Path={page.prefix}/",
        f"tidepool_inside_tidepool_preview=x; Path={page.prefix}/",
        f"tidepool_inside_b=2; Max-Age=5; Path={page.prefix}/",
    ]
    assert page.get("/split").headers["set-cookie"] == f"tidepool_inside_api=1; Path={page.prefix}/"
    assert page.get("/redirect").headers["location"] == f"{page.prefix}/api/sandbox?x=1"
    assert page.get("/redirect-own").headers["location"] == f"{page.prefix}/next"
    assert page.get("/redirect-away").headers["location"] == "//example.org/"
    headers = page.get("/policy").headers
    for name in ("strict-transport-security", "clear-site-data", "nel", "service-worker-allowed", "x-secret",
                 "access-control-allow-credentials"):  # fmt: skip
        assert name not in headers
    assert headers["x-own"] == "yes"
    assert headers["access-control-allow-origin"] == "*"
    assert headers["referrer-policy"] == "no-referrer"


@SERVED
@pytest.mark.parametrize("path", [
    "/big-header", "/endless-header", "/endless-information", "/garbage", "/nothing", "/status", "/switch",
])  # fmt: skip
def test_a_guest_that_does_not_answer_is_a_sentence(page: Page, api: Api, path: str) -> None:
    began = time.monotonic()
    answer = page.get(path)
    assert answer.status == 502, answer.body[:300]
    assert f"port {PORT}" in answer.message
    assert time.monotonic() - began < 10
    assert api.call("GET", "/health").status == 200


@SERVED
@pytest.mark.parametrize("path", ["/chunk-garbage", "/short"])
def test_half_an_answer_never_passes_for_a_whole_one(page: Page, api: Api, path: str) -> None:
    with pytest.raises(http.client.IncompleteRead):
        page.get(path)
    assert api.call("GET", "/health").status == 200


@SERVED
def test_hostile_answers_leave_the_server_small_and_a_client_that_goes_ends_a_stream(
    page: Page, served: tuple[Api, Box], server: Any
) -> None:
    def resident() -> int:
        with open(f"/proc/{server.pid}/statm") as file:
            return int(file.read().split()[1]) * 4096

    before = resident()
    for path in ("/big-header", "/endless-header"):
        page.get(path)
    with socket.create_connection((urlsplit(page.url).hostname or "", urlsplit(page.url).port or 0)) as raw:
        token = f"X-Daytona-Preview-Token: {page.token}"
        raw.sendall(f"GET {page.prefix}/stream HTTP/1.1\r\nHost: x\r\n{token}\r\n\r\n".encode())
        raw.recv(1000)
        time.sleep(0.5)  # a slow reader holds the guest up, not our memory
    assert resident() - before < 32 << 20
    _, box = served
    deadline = time.monotonic() + 10
    while box.run("grep -c ' 01 ' /proc/net/tcp || true")["result"].strip() != "0":
        assert time.monotonic() < deadline, "the connection into the sandbox was left open"
        time.sleep(0.1)


@SERVED
def test_nothing_listens(page: Page, api: Api) -> None:
    at = page.prefix.rpartition("/")[0]
    number = at.split("/")[2]
    other = api.call("GET", f"/sandbox/{number}/ports/8001/preview-url").json["token"]
    answer = page.client.send("GET", f"{at}/8001/", headers={"X-Daytona-Preview-Token": other})
    assert answer.status == 502
    assert "nothing listens on port 8001" in answer.message


@SERVED
def test_only_who_may(page: Page, api: Api, served: tuple[Api, Box]) -> None:
    at, send = f"{page.prefix}/", page.client.send
    assert send("GET", at).status == 401
    assert send("GET", f"/preview/{ID}/{PORT}/").json["message"] == send("GET", at).json["message"]
    for headers in (
        {"X-Daytona-Preview-Token": page.token[:-1]}, {"Authorization": "Bearer wrong"},
        {"Cookie": f"tidepool_preview={page.token}", "Origin": "http://evil"},
        {"Cookie": f"tidepool_preview={page.token}", "Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"},
    ):  # fmt: skip
        assert send("GET", at, headers=headers).status == 401, headers
    for headers in (
        {"Authorization": f"Bearer {api.key}"}, {"Cookie": f"x=1; tidepool_preview={page.token}"},
        {"Cookie": f"tidepool_preview={page.token}", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate",
         "Sec-Fetch-Dest": "document"},
    ):  # fmt: skip
        assert send("GET", at, headers=headers).status == 200, headers
    answer = send("GET", f"{at}?DAYTONA_SANDBOX_AUTH_KEY={page.token}")
    assert answer.status == 200
    assert answer.headers["set-cookie"] == (
        f"tidepool_preview={page.token}; Path={page.prefix}/; HttpOnly; SameSite=Lax"
    )
    other = api.call("GET", f"/sandbox/{served[1].id}/ports/9999/preview-url").json["token"]
    assert send("GET", at, headers={"X-Daytona-Preview-Token": other}).status == 401


@SERVED
def test_a_public_sandbox_needs_no_token(api: Api, make_box: Callable[..., Box]) -> None:
    box = make_box()
    serve(box)
    page = Page(api, box)
    at = f"{page.prefix}/"
    assert page.client.send("GET", at).status == 401
    assert api.call("POST", f"/sandbox/{box.id}/public/true").status == 200
    assert page.client.send("GET", at).status == 200
    assert api.call("POST", f"/sandbox/{box.id}/public/false").status == 200
    assert page.client.send("GET", at).status == 401
    before = api.call("GET", f"/sandbox/{box.id}").json["lastActivityAt"]
    time.sleep(0.01)
    assert page.get("/").status == 200
    assert api.call("GET", f"/sandbox/{box.id}").json["lastActivityAt"] > before
    assert api.call("POST", f"/sandbox/{box.id}/signing-key/rotate").status == 200
    assert page.get("/").status == 401
    assert api.call("POST", f"/sandbox/{box.id}/stop").status == 200
    stopped = Page(api, box)
    assert stopped.get("/").status == 409
    stopped.client.close()
    page.client.close()


@SERVED
def test_a_signed_url_opens_one_port_for_a_while(api: Api, served: tuple[Api, Box], page: Page) -> None:
    number = served[1].id
    at = f"/sandbox/{number}/ports/{PORT}/signed-preview-url"
    found = api.call("GET", at, expiresInSeconds=30).json
    assert (found["sandboxId"], found["port"]) == (number, PORT)
    path = urlsplit(found["url"]).path
    assert path == f"/preview/{found['token']}/{PORT}"
    send = page.client.send
    assert send("GET", f"{path}/").body == b"hi"
    assert send("GET", f"/preview/{found['token']}/8001/").status == 401
    assert api.call("POST", f"{at}/{found['token']}/expire").status == 200
    assert api.call("POST", f"{at}/{found['token']}/expire").status == 404
    assert send("GET", f"{path}/").status == 401
    short = api.call("GET", at, expiresInSeconds=1).json
    assert send("GET", urlsplit(short["url"]).path + "/").status == 200
    time.sleep(1.05)
    assert send("GET", urlsplit(short["url"]).path + "/").status == 401
    for wrong in ("0", "86401", "x"):
        assert api.call("GET", at, expiresInSeconds=wrong).status == 400


@SERVED
@pytest.mark.parametrize("port", ["0", "65536", "22222", "22220", "3128", "x", "-1"])
def test_ports_that_are_no_guests(api: Api, served: tuple[Api, Box], page: Page, port: str) -> None:
    number = served[1].id
    assert api.call("GET", f"/sandbox/{number}/ports/{port}/preview-url").status == 400
    assert api.call("GET", f"/sandbox/{number}/ports/{port}/signed-preview-url").status == 400
    if port.isdigit():
        headers = {"Authorization": f"Bearer {api.key}"}
        assert page.client.send("GET", f"/preview/{number}/{port}/", headers=headers).status == 400


@SERVED
def test_a_page_in_an_origin_of_its_own_may_ask_its_own_server(page: Page) -> None:
    question = {"Origin": "null", "Access-Control-Request-Method": "PUT"}
    answer = page.client.send("OPTIONS", f"{page.prefix}/x", headers=question)
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (204, "*")
    assert "access-control-allow-credentials" not in answer.headers
    assert page.get("/", {"Origin": "null"}).status == 200


@SERVED
def test_another_tenant_sees_nothing(two: TwoTenants) -> None:
    one, other = Api(two.url, "key-of-one"), Api(two.url, "key-of-two")
    number = one.call("POST", "/sandbox", {"networkBlockAll": True}).json["id"]
    try:
        assert other.call("GET", f"/sandbox/{number}/ports/{PORT}/preview-url").status == 404
        for client, status in ((one, 502), (other, 401)):
            headers = {"Authorization": f"Bearer {client.key}"}
            assert client.send("GET", f"/preview/{number}/{PORT}/", headers=headers).status == status
    finally:
        one.call("DELETE", f"/sandbox/{number}")
        one.close()
        other.close()


class WebSocket:
    """A client of WebSockets with nothing but what these tests need; frames up to 64 KiB."""

    def __init__(self, url: str, path: str, headers: Mapping[str, str]) -> None:
        place = urlsplit(url)
        self._sock = socket.create_connection((place.hostname or "", place.port or 80), timeout=20)
        lines = [
            f"GET {path} HTTP/1.1", f"Host: {place.netloc}", "Connection: Upgrade", "Upgrade: websocket",
            "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]  # fmt: skip
        self._sock.sendall("\r\n".join([*lines, "", ""]).encode())
        self._file = self._sock.makefile("rb")
        self.status = int(self._file.readline().split()[1])
        self.headers = {}
        while line := self._file.readline().strip():
            name, _, value = line.decode().partition(": ")
            self.headers[name.lower()] = value

    def send(self, code: int, data: bytes) -> None:
        size = bytes([128 | len(data)]) if len(data) < 126 else b"\xfe" + len(data).to_bytes(2, "big")
        self._sock.sendall(bytes([128 | code]) + size + b"\0\0\0\0" + data)

    def receive(self) -> tuple[int, bytes]:
        first, second = self._file.read(2)
        size = second & 127
        if size >= 126:
            size = int.from_bytes(self._file.read(2 if size == 126 else 8), "big")
        return first & 15, self._file.read(size)

    def close(self) -> None:
        self._file.close()
        self._sock.close()


@pytest.fixture
def open_socket(page: Page) -> Iterator[Callable[..., WebSocket]]:
    """Opens WebSockets to the guest."""
    opened: list[WebSocket] = []

    def make(path: str = "/ws", **headers: str) -> WebSocket:
        headers = {"X-Daytona-Preview-Token": page.token, **headers}
        opened.append(WebSocket(page.url, page.prefix + path, headers))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


@SERVED
def test_a_websocket_both_ways(open_socket: Callable[..., WebSocket]) -> None:
    ws = open_socket(**{"Sec-WebSocket-Protocol": "one, two", "Origin": "null"})
    assert ws.status == 101
    assert ws.headers["sec-websocket-protocol"] == "two"
    assert ws.headers["set-cookie"].startswith("tidepool_inside_w=1; Path=/preview/")
    for code, data in ((1, "täxt".encode()), (2, bytes(range(256)) * 100)):
        ws.send(code, data)
        assert ws.receive() == (code, data)
    ws.send(1, b"end")
    assert ws.receive() == (8, b"\x0f\xa1four")


@SERVED
def test_a_websocket_that_is_refused_or_broken(
    open_socket: Callable[..., WebSocket], page: Page, api: Api
) -> None:
    assert open_socket("/").status == 502
    assert open_socket("/garbage").status == 502
    assert open_socket(**{"X-Daytona-Preview-Token": "wrong"}).status == 401
    ws = open_socket("/ws-garbage")
    assert ws.receive()[0] == 8
    ws = open_socket("/ws-flood")
    assert ws.receive()[1][:2] in (b"\x03\xf1", b"\x03\xf3")  # 1009 or 1011
    assert api.call("GET", "/health").status == 200


@pytest.fixture
def place() -> Iterator[Path]:
    """A state directory of its own, which an unprivileged user id can pass through."""
    with open_directory("tp-preview-") as path:
        yield path


@pytest.mark.thorough
@SERVED
def test_pages_by_host_name(place: Path) -> None:
    environment = {"TIDEPOOL_PREVIEW_DOMAIN": "box.test", "TIDEPOOL_STATE_DIR": str(place)}
    with started("--port", "0", environment=environment) as found:
        api = Api(found.url, "key")
        made = api.call("POST", "/sandbox", {"networkBlockAll": True}).json
        box = Box(made["id"], made, api.at(f"/toolbox/{made['id']}"))
        serve(box)
        port = urlsplit(api.url).port
        url = api.call("GET", f"/sandbox/{box.id}/ports/{PORT}/preview-url").json
        name = f"{PORT}-{box.id}.box.test:{port}"
        assert url["url"] == f"http://{name}"
        token = {"X-Daytona-Preview-Token": url["token"]}
        answer = api.send(
            "GET", "/x?y=1", headers={"Host": name, **token, "Cookie": "own=1; tidepool_preview=2"}
        )
        said = answer.body.decode()
        assert said.startswith("GET /x?y=1 HTTP/1.1\r\n")
        assert f"host: {name}" in said.lower()
        assert "cookie: own=1\r\n" in said.lower()
        assert "content-security-policy" not in answer.headers
        assert api.send("GET", "/api/sandbox", headers={"Host": name, **token}).body.startswith(
            b"GET /api/sandbox"
        )
        assert api.send("GET", "/x", headers={"Host": name}).status == 401
        assert (
            api.send("GET", "/redirect", headers={"Host": name, **token}).headers["location"]
            == "/api/sandbox?x=1"
        )
        cookie = api.send("GET", "/cookies", headers={"Host": name, **token}).headers["set-cookie"]
        assert "Domain" not in cookie
        signed = api.call("GET", f"/sandbox/{box.id}/ports/{PORT}/signed-preview-url").json
        host = urlsplit(signed["url"]).netloc
        assert api.send("GET", "/", headers={"Host": host}).body == b"hi"
        assert api.send("GET", "/", headers={"Host": f"{PORT}-{box.id}.box.test.evil"}).status == 401
        api.call("DELETE", f"/sandbox/{box.id}")
        api.close()


@SERVED
def test_requests_under_way_are_bounded(monkeypatch: pytest.MonkeyPatch, two: TwoTenants) -> None:
    monkeypatch.setattr(gate, "MAX_AT_ONCE", 1)
    api = Api(two.url, "key-of-one")
    made = api.call("POST", "/sandbox", {"networkBlockAll": True}).json
    box = Box(made["id"], made, api.at(f"/toolbox/{made['id']}"))
    serve(box)
    ours = Page(api, box)
    try:
        for _ in range(3):  # each has ended before the next
            assert ours.get("/").status == 200
        with socket.create_connection((urlsplit(two.url).hostname or "", urlsplit(two.url).port or 0)) as raw:
            token = f"X-Daytona-Preview-Token: {ours.token}"
            raw.sendall(f"GET {ours.prefix}/stream HTTP/1.1\r\nHost: x\r\n{token}\r\n\r\n".encode())
            raw.recv(1000)
            assert ours.get("/").status == 503
        deadline = time.monotonic() + 10
        while ours.get("/").status != 200:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        api.call("DELETE", f"/sandbox/{box.id}")
        ours.client.close()
        api.close()
