"""What the server says of itself, and of what it does not have."""

import os

import msgspec
import pytest

from tests.conftest import Server
from tests.server.client import Api
from tidepool import __version__
from tidepool.wire import info


def test_health(api: Api) -> None:
    assert api.call("GET", "/health").json == {"status": "ok"}


def test_the_configuration_has_all_that_clients_insist_on(api: Api) -> None:
    found = msgspec.convert(api.call("GET", "/config").json, info.Configuration)
    assert found.proxy_toolbox_url == api.url + "/toolbox"
    assert found.version == __version__
    assert found.default_snapshot == "default"


def test_the_handshake(api: Api, server: Server) -> None:
    assert api.call("GET", "/tidepool").json == {
        "version": __version__,
        "protocol": 1,
        "pid": server.pid,
        "sandboxes": 0,
    }


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/nothing", 404),
        ("GET", "/api/", 404),
        ("GET", "/", 404),
        ("DELETE", "/api/health", 405),
        ("GET", "/toolbox/x/process/execute", 405),
        ("PATCH", "/api/sandbox", 405),
    ],
)
def test_what_is_not_there_is_said_in_a_sentence(api: Api, method: str, path: str, status: int) -> None:
    answer = api.send(method, path, headers={"Authorization": f"Bearer {api.key}"})
    assert answer.status == status
    assert answer.message == f"this server has no {method} {path}"


def test_the_server_has_given_root_up(server: Server) -> None:
    if os.geteuid() != 0:
        pytest.skip("the server was not started by root, so there was nothing to give up")
    with open(f"/proc/{server.pid}/status") as file:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in file)
    assert "0" not in status["Uid"].split() + status["Gid"].split()
    assert status["Groups"].split() == []
    assert [int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")] == [0, 0, 0, 0]
    assert status["NoNewPrivs"] == "1"
