"""Toolbox: runs through a real server in a real sandbox (protocol sections 6.1, 8 and 10.2)."""

import base64
import json
import struct
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.server.client import Answer, Api
from tests.server.conftest import Box
from tests.server.test_envelope import python, wrapped

pytestmark = pytest.mark.needs("user_namespace", "overlayfs")


def execute(box: Box, command: str, **more: Any) -> Answer:
    return box.toolbox.call("POST", "/process/execute", {"command": command, **more})


def code_run(box: Box, code: str, **more: Any) -> Answer:
    return box.toolbox.call("POST", "/process/code-run", {"code": code, "language": "python", **more})


def test_a_command_and_its_end(box: Box) -> None:
    answer = execute(box, "echo out; echo err >&2; exit 3")
    assert answer.status == 200
    body = answer.json
    assert (body["exitCode"], body["result"]) == (3, "out\nerr\n")
    assert (body["stdout"], body["stderr"], body["verdict"]) == ("out\n", "err\n", "exited")
    assert (body["truncatedBytes"], body["durationMs"] > 0, body["peakMemoryBytes"] > 0) == (0, True, True)


def test_directory_and_environment(box: Box) -> None:
    assert box.run("pwd")["result"] == "/home/daytona\n"
    assert box.run("pwd", cwd="/tmp")["result"] == "/tmp\n"
    assert box.run("mkdir -p a/b")["exitCode"] == 0
    assert box.run("pwd", cwd="a/b")["result"] == "/home/daytona/a/b\n"
    assert box.run('echo "$A"', envs={"A": "x  y"})["result"] == "x  y\n"
    body = box.run("true", cwd="nowhere")
    assert (body["verdict"], body["exitCode"]) in (("not_started", 126), ("not_started", 127))


def test_the_sandboxes_environment_is_there_and_the_servers_is_not(make_box: Callable[..., Box]) -> None:
    box = make_box(env={"MINE": "1"})
    found = dict(line.partition("=")[::2] for line in box.run("env")["result"].splitlines())
    assert (found["MINE"], found["DAYTONA_SANDBOX_ID"]) == ("1", box.id)
    assert [name for name in found if name.startswith("TIDEPOOL")] == []


@pytest.mark.parametrize(
    "fields",
    [
        {"command": ""},
        {"command": "  \n"},
        {"command": "true", "timeout": -1},
        {"command": "true", "envs": {"1A": "x"}},
        {"command": "true\0"},
        {"command": 3},
        {"command": "true", "envs": {"A": 1}},
        {"command": "true", "timeout": "soon"},
        {},
    ],
)
def test_requests_that_make_no_sense_are_400(box: Box, fields: dict[str, Any]) -> None:
    answer = box.toolbox.call("POST", "/process/execute", fields)
    assert (answer.status, answer.json["code"]) == (400, "BAD_REQUEST")
    assert answer.message


@pytest.mark.parametrize("call", [execute, code_run])
def test_a_deadline_is_408_with_what_was_written(box: Box, call: Callable[..., Answer]) -> None:
    text = (
        "echo early; sleep 60"
        if call is execute
        else "import time; print('early', flush=True); time.sleep(60)"
    )
    started = time.monotonic()
    answer = call(box, text, timeout=0.3)
    assert time.monotonic() - started < 5
    assert (answer.status, answer.json["code"]) == (408, "PROCESS_EXECUTION_TIMEOUT")
    assert answer.message.startswith("request timeout: command execution timeout")
    assert "early" in answer.message
    partial = answer.json["partial"]
    assert (partial["result"], partial["verdict"], partial["exitCode"]) == ("early\n", "timed_out", 124)
    assert box.run("echo still here")["result"] == "still here\n"


def test_code_and_its_end(box: Box) -> None:
    code = "import os, sys; print(sys.argv[1:], os.environ['A']); sys.exit(5)"
    body = code_run(box, code, argv=["x y"], envs={"A": "1"}).json
    assert (body["exitCode"], body["result"]) == (5, "['x y'] 1\n")


def test_an_exception_is_a_result_with_its_traceback(box: Box) -> None:
    answer = code_run(box, "1/0")
    assert (answer.status, answer.json["exitCode"]) == (200, 1)
    assert "ZeroDivisionError" in answer.json["result"]


@pytest.mark.parametrize("language", ["javascript", "typescript"])
def test_other_languages(box: Box, language: str) -> None:
    code = "const n: number = 3; console.log(n + 1)" if language == "typescript" else "console.log(3 + 1)"
    flag = "--experimental-strip-types" if language == "typescript" else "--version"
    if box.run(f"node {flag} -e 0")["exitCode"] != 0:
        pytest.skip(f"this host has no node that knows {language}, so neither has the image")
    body = code_run(box, code, language=language).json
    assert (body["exitCode"], body["stdout"]) == (0, "4\n")


def test_an_unknown_language_is_400(box: Box) -> None:
    assert code_run(box, "x", language="cobol").status == 400


def test_a_shell_line_sent_as_code_fails_with_a_hint(box: Box) -> None:
    body = code_run(box, "python hello.py").json
    assert body["exitCode"] == 1
    assert "SyntaxError" in body["result"]
    assert body["result"].splitlines()[-1].startswith("ERROR: ")
    assert "ERROR" not in body["stderr"]


@pytest.mark.parametrize(
    ("command", "exit_code", "result"),
    [
        (wrapped('echo "$A"; exit 4', A="x  y"), 4, "x  y\n"),
        (wrapped(python("import sys; print(sys.argv[1:]); sys.exit(6)", "a b")), 6, "['a', 'b']\n"),
        (wrapped(python("import os; print(os.environ['A'])"), A="x  y"), 0, "x  y\n"),
        (wrapped(python("print('here')", "'two words'")), 0, "here\n"),  # not recognised: a shell runs it
    ],
)
def test_old_clients_envelopes(box: Box, command: str, exit_code: int, result: str) -> None:
    body = execute(box, command).json
    assert (body["exitCode"], body["result"]) == (exit_code, result)


def test_code_in_an_envelope_runs_where_it_is_told(box: Box) -> None:
    body = execute(box, wrapped(python("import os; print(os.getcwd())")), cwd="/tmp").json
    assert body["result"] == "/tmp\n"


def test_tests_are_judged_by_their_report(make_box: Callable[..., Box]) -> None:
    box = make_box(tidepool={"dependencies": ["pytest"]})
    box.run("printf 'def test_a():\\n    pass\\n\\ndef test_b():\\n    assert 1 == 2\\n' > test_x.py")
    body = box.toolbox.call("POST", "/process/tests", {"paths": ["test_x.py"]}).json
    assert (body["success"], body["reason"]) == (False, "1 test(s) failed")
    outcomes = {case["nodeId"].rpartition("::")[2]: case["outcome"] for case in body["tests"]}
    assert outcomes == {"test_a": "passed", "test_b": "failed"}
    assert body["complete"] is True


@pytest.mark.thorough
def test_a_timeout_of_tests_is_a_verdict(make_box: Callable[..., Box]) -> None:
    box = make_box(tidepool={"dependencies": ["pytest"]})
    box.run("printf 'import time\\ntime.sleep(60)\\n' > test_y.py")
    answer = box.toolbox.call("POST", "/process/tests", {"paths": ["test_y.py"], "timeout": 1})
    assert answer.status == 200
    assert (answer.json["success"], answer.json["complete"]) == (False, False)
    assert answer.json["reason"]


# Streams


def frames(data: bytes) -> Iterator[tuple[int, bytes]]:
    while data:
        kind, size = struct.unpack(">BI", data[:5])
        yield kind, data[5 : 5 + size]
        assert len(data) >= 5 + size, "the last frame is cut short"
        data = data[5 + size :]


def stream(box: Box, **fields: Any) -> tuple[bytes, bytes, dict[str, Any]]:
    """Standard output, standard error, and the closing frame."""
    answer = box.toolbox.call("POST", "/process/stream", fields)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/octet-stream")
    found = list(frames(answer.body))
    assert [kind for kind, _ in found].count(0) == 1
    assert found[-1][0] == 0
    texts = [b"".join(payload for kind, payload in found if kind == wanted) for wanted in (1, 2)]
    return texts[0], texts[1], json.loads(found[-1][1])


@pytest.mark.parametrize(
    "fields",
    [
        {"command": "cat; echo err >&2; exit 7"},
        {"argv": ["sh", "-c", "cat; echo err >&2; exit 7"]},
        {"code": "import sys; print(sys.stdin.read(), end=''); print('err', file=sys.stderr); sys.exit(7)"},
    ],
)
def test_a_stream_has_both_outputs_and_the_end(box: Box, fields: dict[str, Any]) -> None:
    out, err, end = stream(box, stdin=base64.b64encode(b"in\n").decode(), **fields)
    assert (out, err) == (b"in\n", b"err\n")
    assert (end["exitCode"], end["verdict"]) == (7, "exited")
    assert {"durationMs", "peakMemoryBytes", "truncatedBytes"} <= end.keys()
    assert "result" not in end


def test_any_bytes_pass_a_stream(box: Box) -> None:
    out, _, end = stream(box, argv=["cat"], stdin=base64.b64encode(bytes(range(256)) * 4000).decode())
    assert out == bytes(range(256)) * 4000
    assert end["exitCode"] == 0


def test_a_deadline_in_a_stream_is_a_result(box: Box) -> None:
    out, _, end = stream(box, command="echo early; sleep 60", timeout=0.3)
    assert (out, end["verdict"], end["exitCode"]) == (b"early\n", "timed_out", 124)


def test_a_stream_that_makes_no_sense_is_400(box: Box) -> None:
    assert box.toolbox.call("POST", "/process/stream", {"command": "x", "code": "y"}).status == 400


def test_a_stream_in_a_destroyed_sandbox_is_409(api: Api, box: Box) -> None:
    api.call("DELETE", f"/sandbox/{box.id}")
    assert box.toolbox.call("POST", "/process/stream", {"command": "true"}).status == 409
