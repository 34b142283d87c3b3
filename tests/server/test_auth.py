"""Who may ask: keys over TCP, peers over a Unix socket, no web page of another origin, no other tenant."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.conftest import Server
from tests.server.client import Api, started
from tests.server.tenants import KEYS, TwoTenants

TARGETS = [
    "/api/tidepool",
    "/api/sandbox",
    "/api/sandbox/x",
    "/toolbox/x/files",
    "/api/toolbox/x/toolbox/files",
    "/none",
]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    "credentials",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer"},
        {"Authorization": "Basic {key}"},
        {"Authorization": "{key}"},
        {"Authorization": "Bearer {key}x"},
        {"Authorization": "Bearer {upper}"},
        {"Authorization": "Bearer \xff\xfe"},
        {"Cookie": "Authorization=Bearer {key}; api_key={key}"},
        {"X-Api-Key": "{key}"},
    ],
)
def test_without_the_key_nothing_is_reached(server: Server, target: str, credentials: dict[str, str]) -> None:
    api = Api(server.url)
    sent = {
        name: value.format(key=server.key, upper=server.key.upper()) for name, value in credentials.items()
    }
    answer = api.send("GET", f"{target}?api_key={server.key}", headers=sent)
    api.close()
    assert answer.status == 401
    assert "API key" in answer.message
    assert server.key not in answer.body.decode()


@pytest.mark.parametrize("header", ["Bearer {key}", "bearer {key}", "Bearer   {key} "])
def test_with_the_key_it_is(server: Server, header: str) -> None:
    api = Api(server.url)
    assert (
        api.send("GET", "/api/sandbox", headers={"Authorization": header.format(key=server.key)}).status
        == 200
    )
    api.close()


@pytest.mark.parametrize("target", ["/api/health", "/api/config"])
def test_what_belongs_to_nobody_is_open(server: Server, target: str) -> None:
    api = Api(server.url)
    assert api.send("GET", target).status == 200
    api.close()


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://evil.example", 403),
        ("null", 403),
        ("https://{host}.evil.example", 403),
        ("http://localhost", 403),
        ("http://{host}", 200),
    ],
)
def test_pages_of_other_origins_are_refused_even_with_the_key(api: Api, origin: str, status: int) -> None:
    host = api.url.removeprefix("http://")
    sent = {"Authorization": f"Bearer {api.key}", "Origin": origin.format(host=host)}
    assert api.send("GET", "/api/sandbox", headers=sent).status == status
    sent["Origin"] = origin.format(host=host)
    assert api.send("GET", "/api/health", headers=sent).status == status


# Tenants


@pytest.mark.needs("user_namespace", "overlayfs")
def test_another_tenants_sandbox_does_not_exist(two: TwoTenants) -> None:
    one, other = (Api(two.url, key) for key in KEYS)
    made = one.call("POST", "/sandbox", {"name": "mine", "networkBlockAll": True})
    assert made.status == 200, made.body
    number = made.json["id"]
    try:
        for ref in (number, "mine"):
            calls: list[tuple[str, str, object]] = [
                ("GET", f"/api/sandbox/{ref}", None),
                ("DELETE", f"/api/sandbox/{ref}", None),
                ("PUT", f"/api/sandbox/{ref}/labels", {"labels": {}}),
                ("GET", f"/api/sandbox/{ref}/logs", None),
                ("POST", f"/toolbox/{ref}/process/execute", {"command": "true"}),
                ("GET", f"/toolbox/{ref}/files?path=.", None),
                ("POST", f"/api/toolbox/{ref}/toolbox/files/bulk-download", {"paths": ["x"]}),
            ]
            for method, target, body in calls:
                theirs = other.at("").call(method, target, body)
                nobodys = other.at("").call(method, target.replace(ref, "nobody-of-this-name"), body)
                assert theirs.status == nobodys.status == 404, target
                assert theirs.message.replace(ref, "") == nobodys.message.replace("nobody-of-this-name", "")
        assert other.call("GET", "/sandbox").json["items"] == []
        assert other.call("GET", "/tidepool").json["sandboxes"] == 0
        assert one.call("GET", "/sandbox/mine").json["state"] == "started", "the control: it is there"
        taken = other.call("POST", "/sandbox", {"name": "mine", "networkBlockAll": True})
        assert taken.status == 200, "a name is unique for its owner only"
        assert other.call("DELETE", "/sandbox/mine").json["id"] == taken.json["id"]
    finally:
        assert one.call("DELETE", f"/sandbox/{number}").status == 200
        one.close()
        other.close()


# The Unix socket

_ASK = """
import os, socket, sys
connection = socket.socket(socket.AF_UNIX)
os.setgroups([])
os.setresgid(*[int(sys.argv[2])] * 3)
os.setresuid(*[int(sys.argv[2])] * 3)
connection.connect(sys.argv[1])
connection.sendall(b"GET /api/tidepool HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n")
answer = b""
while data := connection.recv(65536):
    answer += data
print(answer.decode())
"""


def ask_as(uid: int, path: Path) -> str:
    """The whole answer to the handshake, asked by a process of this uid."""
    command = [sys.executable, "-I", "-S", "-c", _ASK, str(path), str(uid)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.thorough
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can ask as somebody else")
def test_the_socket_is_its_owners_whatever_its_permissions() -> None:
    with tempfile.TemporaryDirectory(prefix="tp-auth-") as directory:
        path = Path(directory) / "s.sock"
        with started("--uds", str(path), key=None) as server:
            assert server.url == f"unix:{path}"
            assert path.stat().st_mode & 0o777 == 0o600
            assert ask_as(0, path).startswith("HTTP/1.1 200")
            Path(directory).chmod(0o755)
            path.chmod(0o666)  # the first wall taken down: the second one still stands
            refused = ask_as(65534, path)
            assert refused.startswith("HTTP/1.1 403")
            assert "uid 65534 may not use" in refused


@pytest.mark.thorough
def test_over_a_unix_socket_the_toolbox_is_named_too() -> None:
    with tempfile.TemporaryDirectory(prefix="tp-auth-") as directory:
        with started("--uds", f"{directory}/s.sock", key=None) as server:
            api = Api(server.url)
            assert api.call("GET", "/config").json["proxyToolboxUrl"] == "http://localhost/toolbox"
            api.close()
