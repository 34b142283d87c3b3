"""Terminals as clients use them: made over REST or with the WebSocket, typed at, resized, left and come back to."""

import base64
import contextlib
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection
from websockets.sync.client import connect as open_socket

from tests.server.client import Answer, Api
from tests.server.conftest import Box
from tests.server.tenants import TwoTenants
from tidepool.toolbox import terminals

pytestmark = pytest.mark.needs("user_namespace", "overlayfs")

EXIT = "X-Daytona-Pty-Exit-Control"
CONNECTED = {"type": "control", "status": "connected"}


@contextlib.contextmanager
def connect(
    box: Box, path: str, subprotocols: tuple[str, ...] = (), key: str | None = None, **headers: str
) -> Iterator[ClientConnection]:
    """A WebSocket to a terminal; its first message has been taken."""
    url = f"{box.toolbox.url}/toolbox/{box.id}/process/pty{path}".replace("http", "ws", 1)
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if not sent and "AUTH_KEY" not in path:
        sent = {"Authorization": f"Bearer {key or box.toolbox.key}"}
    with open_socket(url, additional_headers=sent, subprotocols=list(subprotocols) or None) as socket:
        assert json.loads(socket.recv(10)) == CONNECTED
        yield socket


def refused(box: Box, path: str, subprotocols: tuple[str, ...] = (), **more: Any) -> Any:
    """The answer to a WebSocket that is not opened."""
    with pytest.raises(InvalidStatus) as found, connect(box, path, subprotocols, **more):
        pass
    return found.value.response


def until(socket: ClientConnection, words: str) -> str:
    """What is shown until these words are."""
    shown = b""
    while words.encode() not in shown:
        message = socket.recv(15)
        assert isinstance(message, bytes), message
        shown += message
    return shown.decode()


def rest(socket: ClientConnection) -> tuple[str, list[Any], int, dict[str, Any]]:
    """What is shown until the end, the messages beside it, and how it was closed."""
    shown, said = bytearray(), []
    with contextlib.suppress(ConnectionClosed):
        for message in socket:
            if isinstance(message, bytes):
                shown += message
            else:
                said.append(json.loads(message))
    assert socket.close_code is not None
    return shown.decode(), said, socket.close_code, json.loads(socket.close_reason or "{}")


def listed(box: Box) -> list[str]:
    """The ids of its terminals."""
    return [one["id"] for one in box.toolbox.call("GET", "/process/pty").json["sessions"]]


def make(box: Box, **fields: Any) -> Answer:
    """`POST /process/pty`."""
    return box.toolbox.call("POST", "/process/pty", fields)


def test_a_terminal_made_by_its_socket_is_a_login_shell_of_that_size(box: Box) -> None:
    envs = base64.urlsafe_b64encode(json.dumps({"GREETING": "höi"}).encode()).decode().rstrip("=")
    path = "/create-connect?id=t&cols=101&rows=33&cwd=/tmp"
    with connect(box, path, (EXIT, f"X-Daytona-Pty-Envs~{envs}")) as socket:
        assert socket.subprotocol == EXIT
        socket.send(b"stty size; pwd; echo $GREETING $TERM; shopt -q login_shell && echo log''in\n")
        shown = until(socket, "login\r\n")
        for expected in ("33 101\r\n", "/tmp\r\n", "höi xterm-256color\r\n"):
            assert expected in shown
        described = box.toolbox.call("GET", "/process/pty/t").json
        assert described.pop("createdAt").endswith("Z")
        assert described == {
            "id": "t", "cwd": "/tmp", "envs": {"GREETING": "höi"}, "cols": 101, "rows": 33, "active": True,
            "lazyStart": False,
        }  # fmt: skip
        resized = box.toolbox.call("POST", "/process/pty/t/resize", {"cols": 120, "rows": 40})
        assert (resized.status, resized.json["cols"], resized.json["rows"]) == (200, 120, 40)
        socket.send(b"stty size; exit 5\n")
        shown, said, code, reason = rest(socket)
        assert "40 120" in shown
        assert said == [{"type": "control", "status": "exited", "exitCode": 5}]
        assert (code, reason) == (1011, {"exitCode": 5})
    assert listed(box) == []
    assert box.toolbox.call("POST", "/process/pty/t/resize", {"cols": 9, "rows": 9}).status == 410
    assert box.toolbox.call("GET", "/process/pty/t").status == 410
    assert make(box, id="t", lazyStart=True).status == 201  # its id may be used again


def test_a_terminal_made_first_starts_when_somebody_connects(box: Box) -> None:
    made = make(box, id="old", cols=90, rows=20, lazyStart=True)
    assert (made.status, made.json) == (201, {"sessionId": "old"})
    assert not box.toolbox.call("GET", "/process/pty/old").json["active"]
    assert "bash" not in box.run("ps ax")["result"]
    assert box.toolbox.call("POST", "/process/pty/old/resize", {"cols": 91, "rows": 21}).status == 200
    with connect(box, "/old/connect") as socket:
        socket.send("stty size; exit\n")  # text is typed as well
        shown, said, code, reason = rest(socket)
        assert "21 91" in shown
        assert (said, code, reason) == ([], 1000, {"exitCode": 0})  # it did not ask for the message


@pytest.mark.thorough
def test_one_that_is_left_goes_on_and_shows_what_was_missed(box: Box) -> None:
    with connect(box, "/create-connect?id=t") as socket:
        socket.send(b"sleep 0.4; echo mis''sed\n")
        until(socket, "sleep")
    time.sleep(0.6)
    assert listed(box) == ["t"]
    with connect(box, "/t/connect") as first, connect(box, "/t/connect") as second:
        until(first, "missed\r\n")
        first.send(b"echo to-$((1+1))\n")
        for socket in (first, second):
            until(socket, "to-2\r\n")
        assert box.toolbox.call("DELETE", "/process/pty/t").status == 200
        for socket in (first, second):
            _, _, code, reason = rest(socket)
            assert (code, reason) == (1011, {"exitCode": 137, "exitReason": "killed by signal 9"})
    assert listed(box) == []


def test_closing_one_ends_all_that_was_started_at_it(box: Box) -> None:
    with connect(box, "/create-connect?id=t") as socket:
        socket.send(b"setsid sleep 4321 & sleep 4322\n")
        until(socket, "4322")
        time.sleep(0.2)
        assert box.toolbox.call("DELETE", "/process/pty/t").json == {"message": "PTY session deleted"}
    assert box.run("ps ax -o args | grep '^sleep 432'; true")["result"] == ""


def test_what_cannot_be_is_refused_with_a_status_before_the_upgrade(box: Box) -> None:
    assert make(box, id="t").status == 201
    assert make(box, id="t").status == 409
    for status, path in (
        (409, "/create-connect?id=t"),
        (400, "/create-connect?id=u&cols=no"),
        (400, "/create-connect?id=u&cols=2000"),
        (404, "/create-connect?id=u&cwd=/no/such"),
        (404, "/none/connect"),
    ):
        answer = refused(box, path)
        assert (answer.status_code, json.loads(answer.body)["statusCode"]) == (status, status), path
    assert refused(box, "/create-connect?id=u", ("X-Daytona-Pty-Envs~!!",)).status_code == 400
    for method, path in (("GET", "/none"), ("DELETE", "/none")):
        assert box.toolbox.call(method, f"/process/pty{path}").status == 404
    for fields in ({"cols": -1}, {"cwd": 3}, {"id": "a/b"}, {"envs": {"1": "x"}}):
        assert make(box, **fields).status == 400, fields
    assert listed(box) == ["t"]


def test_a_sandbox_has_a_hundred_terminals_at_most(box: Box) -> None:
    for number in range(terminals.MAX_TERMINALS):
        assert make(box, id=f"t{number}", lazyStart=True).status == 201
    assert make(box, lazyStart=True).status == 409
    assert box.toolbox.call("DELETE", "/process/pty/t0").status == 200
    assert make(box, lazyStart=True).status == 201


def test_a_socket_needs_a_key_or_the_token_of_the_toolbox(box: Box, make_box: Callable[..., Box]) -> None:
    api = box.toolbox.at("/api")
    token = api.call("GET", f"/sandbox/{box.id}/ports/1/preview-url").json["token"]
    version = "X-Daytona-SDK-Version~0.226.1"
    with connect(box, f"/create-connect?id=a&DAYTONA_SANDBOX_AUTH_KEY={token}", (version,)) as socket:
        assert socket.subprotocol == version
    with connect(box, "/create-connect?id=b", X_Daytona_Preview_Token=token) as socket:
        assert socket.subprotocol is None
    assert listed(box) == ["a", "b"]
    for other, path, headers in (
        (box, "/a/connect?DAYTONA_SANDBOX_AUTH_KEY=pv_wrong", {}),
        (box, "/a/connect", {"X_Daytona_Preview_Token": "pv_wrong"}),
        (make_box(), "/create-connect?id=a", {"X_Daytona_Preview_Token": token}),
    ):
        assert refused(other, path, **headers).status_code == 401


def test_a_terminal_ends_with_its_sandbox(box: Box) -> None:
    with connect(box, "/create-connect?id=t", (EXIT,)) as socket:
        until(socket, "$")
        assert box.toolbox.at("/api").call("POST", f"/sandbox/{box.id}/stop").status == 200
        _, said, code, reason = rest(socket)
        assert (code, reason["exitReason"]) == (1011, "the sandbox has ended")
        assert said[0]["exitCode"] == 137
    assert make(box, id="t").status == 409  # not started
    assert box.toolbox.at("/api").call("POST", f"/sandbox/{box.id}/start").status == 200
    assert listed(box) == []
    assert make(box, id="t").status == 201


@pytest.mark.thorough
def test_a_client_that_does_not_look_stops_the_shell_and_misses_nothing(box: Box) -> None:
    with connect(box, "/create-connect?id=t") as socket:
        socket.send(b"stty -echo -opost; PS1=; head -c 12000000 /dev/zero | tr '\\0' x; exit\n")
        time.sleep(1)
        shown, _, code, _ = rest(socket)
        assert (shown.count("x") >= 12_000_000, code) == (True, 1000)


@pytest.fixture
def near(two: TwoTenants) -> Iterator[Box]:
    """A sandbox of the server in this process."""
    with contextlib.closing(Api(two.url, "key-of-one")) as api:
        made = api.call("POST", "/sandbox", {"networkBlockAll": True}).json
        yield Box(made["id"], made, api.at(f"/toolbox/{made['id']}"))
        api.call("DELETE", f"/sandbox/{made['id']}")


def wait_until_idle(two: TwoTenants, box: Box) -> None:
    """Until nobody sits at its terminals any more."""
    sandbox = two.engine.find(box.id)
    assert sandbox is not None
    end = time.monotonic() + 5
    while sandbox.busy and time.monotonic() < end:
        time.sleep(0.02)
    assert sandbox.busy == 0


def test_a_terminal_keeps_its_sandbox_awake_only_while_somebody_is_there(two: TwoTenants, near: Box) -> None:
    sandbox = two.engine.find(near.id)
    assert sandbox is not None
    with connect(near, "/create-connect?id=t") as socket:
        until(socket, "$")
        assert sandbox.busy == 1
    wait_until_idle(two, near)
    assert listed(near) == ["t"]
    assert refused(near, "/t/connect", key="key-of-two").status_code == 404


@pytest.mark.thorough
def test_closing_one_does_not_wait_for_a_client_that_does_not_look(box: Box) -> None:
    with connect(box, "/create-connect?id=t") as idle, connect(box, "/t/connect") as other:
        idle.close_timeout = 0.1  # it will not even look at the answer to its own closing
        idle.send(b"stty -opost; yes $(printf %01000d 0)\n")
        with contextlib.suppress(TimeoutError):
            while True:  # until the first client's connection is full, and the terminal waits for it
                other.recv(1)
        started = time.monotonic()
        assert box.toolbox.call("DELETE", "/process/pty/t").status == 200
        _, _, code, _ = rest(other)
        assert (code, listed(box)) == (1011, [])
        assert time.monotonic() - started < 5


def test_two_that_type_at_once_lose_nothing(box: Box) -> None:
    ready = b"stty raw -echo; echo re''ady; sleep 0.5; head -c 800000 | wc -c; echo do''ne\n"
    with connect(box, "/create-connect?id=t") as first, connect(box, "/t/connect") as second:
        first.send(ready)
        until(first, "ready")
        for socket in (first, second):
            socket.send(b"x" * 400_000)
        assert "800000" in until(first, "done")


def test_what_nothing_takes_ends_the_connection_but_not_the_terminal(
    two: TwoTenants, near: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminals, "TYPING_S", 0.5)
    with connect(near, "/create-connect?id=t") as socket:
        socket.send(b"stty raw -echo; echo re''ady; sleep 100\n")
        until(socket, "ready")
        socket.send(b"x" * 400_000)
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(10)
        assert closed.value.rcvd is not None
        reason = "nothing at this terminal takes what is typed"
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1011, reason)
    wait_until_idle(two, near)
    assert listed(near) == ["t"]
