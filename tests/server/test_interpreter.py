"""The code interpreter as clients speak to it: contexts over REST, runs over a real WebSocket."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    CloseConnection,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)

from tests.server.client import connect
from tests.server.conftest import Box

CONTEXT = "/process/interpreter/context"
EXECUTE = "/process/interpreter/execute"


class Socket:
    """One WebSocket to a sandbox's interpreter."""

    def __init__(self, box: Box, key: str | None = None, subprotocols: tuple[str, ...] = ()) -> None:
        api = box.toolbox
        connection = connect(api.url)
        connection.connect()
        self._socket = connection.sock
        self._protocol = WSConnection(ConnectionType.CLIENT)
        headers = [(b"Authorization", f"Bearer {api.key if key is None else key}".encode())]
        target = f"/toolbox/{box.id}{EXECUTE}"
        self._send(
            Request(host="localhost", target=target, extra_headers=headers, subprotocols=list(subprotocols))
        )
        self._waiting: list[Any] = []
        self.status, self.body = 101, b""
        opened = self._next()
        if isinstance(opened, RejectConnection):
            self.status = opened.status_code
            while not (isinstance(part := self._next(), RejectData) and part.body_finished):
                self.body += part.data
            self.body += part.data
            self.close()
        else:
            assert isinstance(opened, AcceptConnection)
            self.subprotocol = opened.subprotocol

    def _send(self, event: Any) -> None:
        self._socket.sendall(self._protocol.send(event))

    def _next(self) -> Any:
        while not self._waiting:
            self._protocol.receive_data(self._socket.recv(65536) or None)
            self._waiting += self._protocol.events()
        return self._waiting.pop(0)

    def ask(self, text: str) -> None:
        """Send a message."""
        self._send(TextMessage(text))

    def message(self) -> dict[str, Any] | tuple[int, str]:
        """The next message; at the end the closing code and reason."""
        text = ""
        while True:
            event = self._next()
            if isinstance(event, CloseConnection):
                return event.code, event.reason or ""
            text += event.data
            if event.message_finished:
                found: dict[str, Any] = json.loads(text)
                return found

    def all(self) -> tuple[list[dict[str, Any]], tuple[int, str]]:
        """All messages, and how it was closed."""
        found = []
        while isinstance(message := self.message(), dict):
            found.append(message)
        self.close()
        return found, message

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


def run(box: Box, code: str, **more: Any) -> tuple[list[dict[str, Any]], tuple[int, str]]:
    """One run: its messages and how the socket was closed."""
    socket = Socket(box)
    socket.ask(json.dumps({"code": code, **more}))
    return socket.all()


DONE = {"type": "control", "text": "completed"}


def test_code_runs_and_its_names_stay(box: Box) -> None:
    assert run(box, "x = 1\nx + 1") == ([{"type": "stdout", "text": "2\n"}, DONE], (1000, ""))
    code = "import sys\nprint('e', file=sys.stderr)\nx / 0"
    (stderr, error, done), closed = run(box, code)
    assert (stderr, done, closed) == ({"type": "stderr", "text": "e\n"}, DONE, (1000, ""))
    assert (error["type"], error["name"], error["value"]) == (
        "error",
        "ZeroDivisionError",
        "division by zero",
    )
    assert error["traceback"].endswith("ZeroDivisionError: division by zero\n")


def test_output_comes_while_the_code_runs(box: Box) -> None:
    socket = Socket(box)
    started = time.monotonic()
    socket.ask(json.dumps({"code": "import time\nprint('on')\ntime.sleep(20)"}))
    assert socket.message() == {"type": "stdout", "text": "on\n"}
    assert time.monotonic() - started < 10
    socket.close()  # the run is interrupted: the next does not wait for it
    assert run(box, "1")[0][0] == {"type": "stdout", "text": "1\n"}
    assert time.monotonic() - started < 15


def test_time_over_is_close_code_4008_and_names_stay(box: Box) -> None:
    messages, closed = run(box, "x = 5\nwhile True: pass", timeout=1)
    assert (messages, closed) == ([], (4008, "the run's time was over"))
    assert run(box, "x")[0][0] == {"type": "stdout", "text": "5\n"}


def test_envs_are_for_one_run(box: Box) -> None:
    code = "import os\nos.environ.get('A')"
    assert run(box, code, envs={"A": "1"})[0] == [{"type": "stdout", "text": "'1'\n"}, DONE]
    assert run(box, code)[0] == [DONE]
    assert run(box, code, envs={"not one": ""})[1][0] == 1008


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("nonsense", "the message does not fit"),
        ("{}", "code"),
        ('{"code": 5}', "$.code"),
        ('{"code": "1", "timeout": -1}', "timeout is -1 s"),
        ('{"code": "1", "contextId": "other"}', "interpreter context other not found"),
        ('{"code": "' + "\\u0000" + '"}', "NUL"),
    ],
)
def test_what_cannot_be_run_is_close_code_1008(box: Box, message: str, reason: str) -> None:
    socket = Socket(box)
    socket.ask(message)
    messages, (code, said) = socket.all()
    assert (messages, code) == ([], 1008)
    assert reason in said


def test_contexts_are_made_listed_used_and_deleted(box: Box) -> None:
    assert box.toolbox.call("GET", CONTEXT).json == {"contexts": []}
    made = box.toolbox.call("POST", CONTEXT, {"cwd": "/tmp"})  # inside the sandbox
    assert made.status == 200
    context = made.json
    assert context.keys() == {"id", "cwd", "createdAt", "active", "language"}
    assert (context["cwd"], context["active"], context["language"]) == ("/tmp", True, "python")
    assert box.toolbox.call("GET", CONTEXT).json == {"contexts": [context]}
    assert run(box, "import os\nos.getcwd()", contextId=context["id"])[0][0]["text"] == "'/tmp'\n"
    assert run(box, "os", contextId=None)[0][0]["name"] == "NameError"
    deleted = box.toolbox.call("DELETE", f"{CONTEXT}/{context['id']}")
    assert (deleted.status, deleted.json.keys()) == (200, {"message"})
    assert box.toolbox.call("DELETE", f"{CONTEXT}/{context['id']}").status == 404
    assert run(box, "1", contextId=context["id"])[1][0] == 1008


@pytest.mark.parametrize(
    ("body", "status"),
    [({"language": "ruby"}, 400), ({"cwd": "/not/there"}, 404), ({"cwd": "/etc/passwd"}, 400)],
)
def test_contexts_that_cannot_be_made(box: Box, body: dict[str, str], status: int) -> None:
    assert box.toolbox.call("POST", CONTEXT, body).status == status


def test_the_shared_context_cannot_be_deleted(box: Box) -> None:
    assert box.toolbox.call("DELETE", f"{CONTEXT}/default").status == 400


def test_a_context_that_dies_says_why_and_the_shared_one_begins_anew(box: Box) -> None:
    made = box.toolbox.call("POST", CONTEXT, {}).json["id"]
    (error, done), closed = run(box, "import os\nos._exit(3)", contextId=made)
    assert (error["type"], error["name"]) == ("error", "ContextDied")
    assert "exit code 3" in error["value"]
    assert (done, closed) == (DONE, (1000, ""))
    assert "exit code 3" in run(box, "1", contextId=made)[1][1]
    assert not box.toolbox.call("GET", CONTEXT).json["contexts"][0]["active"]
    run(box, "import os\nos._exit(3)")
    assert run(box, "1")[0][0]["text"] == "1\n"


def test_who_may_not_is_told_with_a_status_and_no_socket(box: Box, make_box: Callable[..., Box]) -> None:
    assert Socket(box, key="wrong").status == 401
    gone = make_box()
    assert gone.toolbox.call("GET", CONTEXT).status == 200
    other = Box("not-there", {}, gone.toolbox)
    socket = Socket(other)
    assert (socket.status, json.loads(socket.body)["source"]) == (404, "DAYTONA_DAEMON")


def test_one_of_the_offered_subprotocols_is_taken(box: Box) -> None:
    socket = Socket(box, subprotocols=("X-Daytona-SDK-Version~0.226.1",))
    assert socket.subprotocol == "X-Daytona-SDK-Version~0.226.1"
    socket.close()
