"""Sessions through the server: state that stays, exit codes, logs of every form, input, ends; see also the contract."""

import json
import time
from collections.abc import Callable

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.server.client import Answer, Api
from tests.server.conftest import Box

pytestmark = pytest.mark.needs("user_namespace", "overlayfs")


class Shell:
    """One session of a box."""

    def __init__(self, box: Box, name: str) -> None:
        self.box, self.path = box, f"/process/session/{name}"
        assert box.toolbox.call("POST", "/process/session", {"sessionId": name}).status == 201

    def run(self, command: str, **more: object) -> Answer:
        """Run a command in it."""
        return self.box.toolbox.call("POST", f"{self.path}/exec", {"command": command, **more})

    def get(self, path: str, **headers: str) -> Answer:
        """Ask for something below it."""
        return self.box.toolbox.send(
            "GET", f"/toolbox/{self.box.id}{self.path}{path}", headers=self._headers(headers)
        )

    def _headers(self, more: dict[str, str]) -> dict[str, str]:
        return {
            "Authorization": f"Bearer {self.box.toolbox.key}",
            **{k.replace("_", "-"): v for k, v in more.items()},
        }


@pytest.fixture
def shell(box: Box) -> Shell:
    return Shell(box, "one")


def test_directory_variables_and_functions_stay(shell: Shell) -> None:
    shell.run("cd /tmp && export A=1; b=2; f() { echo $b; }")
    found = shell.run("pwd; echo $A; f; false").json
    assert (found["output"], found["exitCode"]) == ("/tmp\n1\n2\n", 1)
    apart = shell.run("echo out; echo err >&2").json
    assert (apart["stdout"], apart["stderr"]) == ("out\n", "err\n")


def test_what_looks_like_the_drivers_own_words_is_output(shell: Shell) -> None:
    found = shell.run(
        'echo \'{"id": 99, "code": 3}\'; echo 7 >&11 2>/dev/null; echo \'{"id":1,"code":4}\' >&4'
    ).json
    assert found["exitCode"] != 4
    assert shell.run("echo after").json["output"] == "after\n"


@pytest.mark.parametrize("command", ["echo $(", "if then", "cat <<EOF\nno end", "'"])
def test_a_syntax_error_ends_the_command_and_not_the_session(shell: Shell, command: str) -> None:
    shell.run(command)
    assert shell.run("echo alive").json["output"] == "alive\n"


def test_the_exit_of_the_shell_ends_the_session(shell: Shell) -> None:
    assert shell.run("echo last; exit 5").json["exitCode"] == 5
    refused = shell.run("true")
    assert (refused.status, refused.json["code"]) == (410, "SESSION_ENDED")


def test_an_asynchronous_command_is_answered_at_once_and_those_after_it_wait(shell: Shell) -> None:
    begun = time.monotonic()
    first = shell.run("sleep 0.5; echo first", runAsync=True)
    assert (first.status, list(first.json)) == (202, ["cmdId"])
    assert time.monotonic() - begun < 0.4
    number = first.json["cmdId"]
    assert "exitCode" not in shell.get(f"/command/{number}").json
    shell.run("echo second")
    assert shell.get(f"/command/{number}").json["exitCode"] == 0


def test_logs_in_the_form_of_each_generation(shell: Shell) -> None:
    number = shell.run("echo out; sleep 0.05; echo err >&2").json["cmdId"]
    path = f"/command/{number}/logs"
    new = shell.get(path, X_Daytona_SDK_Version="0.226.1").json
    assert new == {"output": "out\nerr\n", "stdout": "out\n", "stderr": "err\n"}
    marked = shell.get(path, X_Daytona_SDK_Version="0.110.1").body
    assert marked == b"\x01\x01\x01out\n\x02\x02\x02err\n"
    assert shell.get(path, X_Daytona_SDK_Version="0.20.0").body == b"out\nerr\n"
    assert shell.get(path).body == b"out\nerr\n"


def test_following_begins_at_the_beginning_and_ends_with_the_command(api: Api, shell: Shell) -> None:
    number = shell.run("echo a; sleep 0.3; echo b >&2", runAsync=True).json["cmdId"]
    url = f"{api.url}/toolbox/{shell.box.id}{shell.path}/command/{number}/logs?follow=true".replace(
        "http", "ws", 1
    )
    for _ in range(2):  # also when it has ended
        with connect(url, additional_headers={"Authorization": f"Bearer {api.key}"}) as socket:
            seen = b"".join(message for message in socket if isinstance(message, bytes))
        assert seen == b"\x01\x01\x01a\n\x02\x02\x02b\n"
        assert socket.close_code == 1000
    with pytest.raises(InvalidStatus):
        connect(url)


def test_input_reaches_a_running_command_and_is_echoed_unless_that_is_not_wanted(shell: Shell) -> None:
    for suppress, expected in ((False, "words\ngot words\n"), (True, "got words\n")):
        number = shell.run("read x; echo got $x", runAsync=True, suppressInputEcho=suppress).json["cmdId"]
        path = f"{shell.path}/command/{number}"
        assert shell.box.toolbox.call("POST", f"{path}/input", {"data": "words"}).status == 204
        assert shell.run("true").status == 200
        assert (
            shell.get(f"/command/{number}/logs", X_Daytona_SDK_Version="0.226.1").json["output"] == expected
        )
        late = shell.box.toolbox.call("POST", f"{path}/input", {"data": "late"})
        assert (late.status, late.json["code"]) == (410, "COMMAND_ALREADY_COMPLETED")


@pytest.mark.thorough
def test_what_a_command_left_running_writes_stays_its_own(shell: Shell) -> None:
    first = shell.run("(sleep 0.2; echo late; sleep 0.4; echo later >&2) & echo begun").json
    assert first["output"] == "begun\n"
    time.sleep(0.4)  # also while nothing runs
    assert shell.run("sleep 0.5; echo second").json["output"] == "second\n"
    found = shell.get(f"/command/{first['cmdId']}/logs", X_Daytona_SDK_Version="0.226.1").json
    assert (found["stdout"], found["stderr"]) == ("begun\nlate\n", "later\n")


@pytest.mark.thorough
def test_input_that_was_not_read_is_not_the_next_commands(shell: Shell) -> None:
    number = shell.run("sleep 0.3", runAsync=True).json["cmdId"]
    path = f"{shell.path}/command/{number}/input"
    for data in ("words", "x" * 900_000):
        assert shell.box.toolbox.call("POST", path, {"data": data}).status == 204
    next_one = shell.run("timeout 0.5 cat", runAsync=True).json["cmdId"]
    assert shell.run("true").json["exitCode"] == 0
    assert shell.get(f"/command/{next_one}").json["exitCode"] == 124
    assert shell.get(f"/command/{next_one}/logs").body == b""


def test_a_command_that_is_waited_for_reads_the_end_of_its_input(shell: Shell) -> None:
    assert shell.run("cat; echo done").json["output"] == "done\n"


def test_input_is_kept_for_a_command_that_has_not_begun(shell: Shell) -> None:
    shell.run("sleep 0.3", runAsync=True)
    number = shell.run("read a; read b; echo $b $a", runAsync=True, suppressInputEcho=True).json["cmdId"]
    for data in ("one", "two\n"):
        path = f"{shell.path}/command/{number}/input"
        assert shell.box.toolbox.call("POST", path, {"data": data}).status == 204
    shell.run("true")
    assert shell.get(f"/command/{number}/logs").body == b"two one\n"


def test_a_flood_is_kept_head_and_tail(shell: Shell) -> None:
    found = shell.run("echo begun; head -c 20000000 /dev/zero | tr '\\0' x; echo ended").json["output"]
    assert found.startswith("begun\n")
    assert found.endswith("ended\n")
    assert "bytes left out" in found
    assert len(found) < 1_200_000


def test_deleting_ends_everything_in_it(shell: Shell) -> None:
    shell.run("sleep 300 & echo $!; sleep 301", runAsync=True)
    time.sleep(0.3)
    assert shell.box.toolbox.call("DELETE", shell.path).status == 204
    left = shell.box.run("ps ax -o args | grep '^sleep 30[01]' ; true")
    assert left["result"] == ""
    assert shell.get("").status == 404


def test_sessions_end_with_the_box_they_were_in(api: Api, make_box: Callable[..., Box]) -> None:
    box = make_box()
    Shell(box, "one")
    api.call("POST", f"/sandbox/{box.id}/stop")
    api.call("POST", f"/sandbox/{box.id}/start")
    assert box.toolbox.call("GET", "/process/session").json == []
    assert Shell(box, "one").run("echo new").json["output"] == "new\n"


def test_what_is_wrong_is_said(box: Box, shell: Shell) -> None:
    assert box.toolbox.call("POST", "/process/session", {"sessionId": "one"}).status == 409
    assert box.toolbox.call("POST", "/process/session", {}).status == 400
    assert shell.run("").status == 400
    assert shell.get("/command/none").status == 404
    assert box.toolbox.call("POST", "/process/session/none/exec", {"command": "true"}).status == 404
    assert json.loads(box.toolbox.call("GET", "/process/session/entrypoint").body)["statusCode"] == 404
