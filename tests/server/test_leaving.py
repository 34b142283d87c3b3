"""Clients that go away in the middle: what they asked for ends with them, whatever it was."""

import json
import socket
import time
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.server.client import Api
from tests.server.conftest import Box

pytestmark = pytest.mark.needs("user_namespace", "overlayfs")


def _begun(api: Api, path: str, fields: dict[str, Any]) -> socket.socket:
    """A connection on which a request has been sent whole, and nothing was read."""
    where = urlsplit(api.url)
    connection = socket.create_connection((where.hostname or "", where.port or 0), timeout=30)
    body = json.dumps(fields).encode()
    connection.sendall(
        f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {api.key}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n".encode()
        + body
    )
    return connection


def _wait_for(box: Box, command: str, result: str) -> None:
    deadline = time.monotonic() + 10
    while box.run(command)["result"] != result:
        assert time.monotonic() < deadline, box.run(command)
        time.sleep(0.02)


_SLEEP = "touch begun; n=1000; sleep $n"
_CODE = "import subprocess; open('begun', 'w'); subprocess.run(['sleep', '1000'])"


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/process/execute", {"command": _SLEEP}),
        ("/process/code-run", {"code": _CODE}),
        ("/process/stream", {"command": _SLEEP}),
        ("/process/stream", {"command": "n=1000; sleep $n & touch begun; while :; do echo x; done"}),
    ],
)
def test_a_run_ends_with_the_client_that_waits_for_it(box: Box, path: str, fields: dict[str, Any]) -> None:
    sleepers = "cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -o '[s]leep 1000' | wc -l"
    with _begun(box.toolbox, f"/toolbox/{box.id}{path}", fields):
        _wait_for(box, "ls", "begun\n")
        _wait_for(box, sleepers, "1\n")
        time.sleep(0.2)
        assert box.run(sleepers)["result"] == "1\n", "the control: it runs while the client is there"
    _wait_for(box, sleepers, "0\n")


def test_output_comes_while_the_command_runs(box: Box) -> None:
    with _begun(
        box.toolbox, f"/toolbox/{box.id}/process/stream", {"command": "echo one; sleep 60"}
    ) as connection:
        seen = b""
        while b"one\n" not in seen:
            seen += connection.recv(4096)
    assert b"HTTP/1.1 200" in seen


def test_a_sandbox_whose_client_has_gone_is_not_made(api: Api) -> None:
    fields = {
        "networkBlockAll": True,
        "tidepool": {"dependencies": ["iniconfig"]},
    }  # a layer to be built: it takes time
    with _begun(api, "/api/sandbox", fields):
        time.sleep(0.3)
    after = api.call("POST", "/sandbox", fields)
    assert after.status == 200, after.body
    try:
        assert [item["id"] for item in api.call("GET", "/sandbox").json["items"]] == [after.json["id"]]
    finally:
        api.call("DELETE", f"/sandbox/{after.json['id']}")


def test_an_upload_that_breaks_off_leaves_the_sandbox_usable(box: Box) -> None:
    where = urlsplit(box.toolbox.url)
    with socket.create_connection((where.hostname or "", where.port or 0), timeout=30) as connection:
        connection.sendall(
            f"POST /toolbox/{box.id}/files/upload?path=x HTTP/1.1\r\nHost: x\r\n"
            f"Authorization: Bearer {box.toolbox.key}\r\nContent-Length: 100000\r\n"
            "Content-Type: multipart/form-data; boundary=b\r\n\r\n"
            '--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\nhalf'.encode()
        )
        time.sleep(0.1)
    assert box.run("echo usable")["result"] == "usable\n"
