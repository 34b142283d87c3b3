"""What goes over the wire and how answers are read: pure, case by case."""

import base64
import json
from typing import Any

import pytest

from daytona_sdk import (
    CodeRunParams,
    CreateSandboxFromSnapshotParams,
    DaytonaBadRequestError,
    DaytonaError,
    DaytonaFileNotFoundError,
    DaytonaInternalServerError,
    DaytonaProcessExecutionTimeoutError,
    FileUpload,
    Resources,
)
from daytona_sdk import _requests as requests
from daytona_sdk._requests import Answer, Call
from daytona_sdk.common import errors
from daytona_sdk.common.sandbox import LANGUAGE_LABEL
from tidepool.wire import errors as wire_errors
from tidepool.wire import sandbox as wire

API = "http://h/api"
BASE = "http://h/toolbox/box-1"


def body(call: Call[Any]) -> Any:
    return json.loads(b"".join(part for part in call.body if isinstance(part, bytes)))


def answer(status: int, value: object) -> Answer:
    return Answer(status, {}, json.dumps(value).encode())


def test_a_plain_create_is_what_the_official_client_sends() -> None:
    call = requests.create_sandbox(API, CreateSandboxFromSnapshotParams(), None, 60)
    assert (call.method, call.url, call.safe) == ("POST", "http://h/api/sandbox", False)
    assert body(call) == {"env": {}, "labels": {"code-toolbox-language": "python"}, "volumes": []}


def test_every_create_field_has_its_place() -> None:
    params = CreateSandboxFromSnapshotParams(
        name="n", language="javascript", os_user="root", env_vars={"A": "1"}, labels={"l": "v"}, snapshot="s",
        network_block_all=True, auto_stop_interval=7, ephemeral=True, ttl_minutes=9,
        resources=Resources(cpu=2, memory=4, disk=8), dependencies=("numpy",), network="none",
        memory_bytes=1, disk_bytes=2, pids=3, cpu=0.5,
    )  # fmt: skip
    assert body(requests.create_sandbox(API, params, "eu", 60)) == {
        "name": "n", "user": "root", "snapshot": "s", "env": {"A": "1"}, "volumes": [], "target": "eu",
        "labels": {"code-toolbox-language": "javascript", "l": "v"},
        "networkBlockAll": True, "autoStopInterval": 7, "autoDeleteInterval": 0, "ttlMinutes": 9,
        "cpu": 2, "memory": 4, "disk": 8,
        "tidepool": {
            "dependencies": ["numpy"], "network": "none", "memoryBytes": 1, "diskBytes": 2, "pids": 3, "cpu": 0.5,
        },
    }  # fmt: skip


def test_a_contradiction_about_the_network_is_refused() -> None:
    params = CreateSandboxFromSnapshotParams(network_block_all=True, network="packages")
    with pytest.raises(DaytonaBadRequestError, match="contradict"):
        requests.create_sandbox(API, params, None, 60)


def test_a_timeout_of_zero_is_none() -> None:
    assert requests.create_sandbox(API, CreateSandboxFromSnapshotParams(), None, 0).timeout is None
    call = requests.execute(BASE, "true", None, None, 0)
    assert call.timeout is None
    assert body(call) == {"command": "true"}


def test_execute_waits_longer_than_the_command_may_take() -> None:
    call = requests.execute(BASE, "ls", "/tmp", {"A": "1"}, 10.0)
    assert call.url == f"{BASE}/process/execute"
    assert body(call) == {"command": "ls", "cwd": "/tmp", "envs": {"A": "1"}, "timeout": 10}
    assert isinstance(body(call)["timeout"], int)
    assert call.timeout == 15
    assert not call.safe


def test_code_goes_to_code_run_and_a_command_line_to_execute() -> None:
    code = requests.code_run(BASE, "print(1)", "python", CodeRunParams(argv=["a"], env={"B": "2"}), 0.5)
    assert code.url == f"{BASE}/process/code-run"
    assert body(code) == {
        "code": "print(1)",
        "language": "python",
        "argv": ["a"],
        "envs": {"B": "2"},
        "timeout": 0.5,
    }
    command = requests.code_run(BASE, " python hello.py\n", "python", CodeRunParams(env={"B": "2"}), None)
    assert command.url == f"{BASE}/process/execute"
    assert body(command) == {"command": "python hello.py", "envs": {"B": "2"}}
    assert requests.code_run(BASE, "python hello.py", "python", CodeRunParams(argv=["x"]), None).url.endswith(
        "code-run"
    )


def test_tests_and_streams() -> None:
    assert body(requests.run_tests(BASE, ("t.py",), None, None, 5)) == {"paths": ["t.py"], "timeout": 5}
    call = requests.stream(BASE, 3, argv=["cat"], stdin=b"\xff", command=None, code=None, cwd=None)
    assert body(call) == {"argv": ["cat"], "stdin": base64.b64encode(b"\xff").decode(), "timeout": 3}


@pytest.mark.parametrize("fields", [{}, {"command": "a", "code": "b"}, {"command": "a", "argv": ["b"]}])
def test_a_stream_needs_exactly_one_program(fields: dict[str, Any]) -> None:
    with pytest.raises(DaytonaBadRequestError, match="exactly one"):
        requests.stream(BASE, None, **fields)


def test_ids_and_paths_are_quoted() -> None:
    assert requests.get_sandbox(API, "a/../b?c").url == f"{API}/sandbox/a%2F..%2Fb%3Fc"
    assert requests.download(BASE, "a b&c=/é", 1).url == f"{BASE}/files/download?path=a%20b%26c%3D%2F%C3%A9"
    with pytest.raises(DaytonaBadRequestError, match="empty"):
        requests.get_sandbox(API, "")


def test_list_sends_labels_as_json_and_the_cursor() -> None:
    url = requests.list_sandboxes(API, {"a": "b"}, "next").url
    assert url == f"{API}/sandbox?limit=100&labels=%7B%22a%22%3A%20%22b%22%7D&cursor=next"


def test_the_toolbox_is_where_the_server_says_else_where_the_oldest_clients_look() -> None:
    assert requests.toolbox(API, "i", "http://x/toolbox/i") == "http://x/toolbox/i"
    assert requests.toolbox(API, "i", "") == "http://h/api/toolbox/i/toolbox"


def test_upload_parts() -> None:
    files = [FileUpload(b"one", 'a"\r\nb'), FileUpload("/local/two", "c")]
    call = requests.upload(BASE, files, "BOUND", 60)
    assert (b"Content-Type", b"multipart/form-data; boundary=BOUND") in call.headers
    kinds = [part if isinstance(part, bytes) else part.__fspath__() for part in call.body]
    head = b'--BOUND\r\nContent-Disposition: form-data; name="files[0].path"\r\n\r\na"\r\nb\r\n'
    assert kinds[0].startswith(head)  # type: ignore[union-attr]
    assert b'filename="a%22%0D%0Ab"\r\n' in kinds[0]  # type: ignore[operator]
    assert kinds[1] == b"one"
    assert kinds[4] == "/local/two"
    assert kinds[-1] == b"--BOUND--\r\n"


def test_an_error_answer_becomes_its_exception() -> None:
    data = {
        "message": "no such file: x",
        "code": "FILE_NOT_FOUND",
        "source": "DAYTONA_DAEMON",
        "statusCode": 404,
    }
    with pytest.raises(
        DaytonaFileNotFoundError, match=r"\AFailed to download file: no such file: x\Z"
    ) as caught:
        requests.download(BASE, "x", 1).value(answer(404, data))
    assert (caught.value.status_code, caught.value.code) == (404, "FILE_NOT_FOUND")
    assert caught.value.error_code == "FILE_NOT_FOUND"


def test_a_timeout_answer_carries_what_was_there() -> None:
    partial = {"exitCode": 124, "result": "so far", "stdout": "so far", "stderr": "", "verdict": "timed_out"}
    data = {
        "message": "m",
        "code": "PROCESS_EXECUTION_TIMEOUT",
        "source": "DAYTONA_DAEMON",
        "partial": partial,
    }
    with pytest.raises(DaytonaProcessExecutionTimeoutError) as caught:
        requests.execute(BASE, "x", None, None, 1).value(answer(408, data))
    assert caught.value.partial is not None
    assert caught.value.partial.result == "so far"
    assert caught.value.partial.exit_code == 124


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the server answered 500 without a word"),
        (b"<html>oops</html>", "<html>oops</html>"),
        (b'["x"]', r'\["x"\]'),
        (b'{"error": "Internal"}', "Internal"),
        (b'{"message": ["a", "b"]}', "a; b"),
    ],
)
def test_an_error_without_the_usual_body_still_has_a_sentence(content: bytes, message: str) -> None:
    with pytest.raises(DaytonaInternalServerError, match=rf"\AFailed to get sandbox: {message}\Z"):
        requests.get_sandbox(API, "x").value(Answer(500, {}, content))


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"null", b"{"])
def test_a_success_that_is_not_the_protocols_is_an_error_with_a_sentence(content: bytes) -> None:
    with pytest.raises(DaytonaError, match="is not what the protocol says"):
        requests.execute(BASE, "x", None, None, None).value(Answer(200, {}, content))


def test_a_result_of_another_server_has_fewer_fields() -> None:
    value = requests.execute(BASE, "x", None, None, None).value(answer(200, {"exitCode": 3, "result": "out"}))
    assert (value.exit_code, value.result, value.stdout, value.stderr) == (3, "out", "out", "")
    assert (value.verdict, value.duration_ms, value.truncated_bytes) == (None, None, None)
    assert value.artifacts.stdout == "out"
    assert (
        requests.execute(BASE, "x", None, None, None).value(answer(200, {"code": 3, "result": None})).result
        == ""
    )


def test_the_key_is_in_the_header_only_where_there_is_one() -> None:
    assert (b"Authorization", b"Bearer k") in requests.common_headers("k")
    assert all(name != b"Authorization" for name, _ in requests.common_headers(None))


def test_the_constants_that_both_sides_must_share() -> None:
    assert LANGUAGE_LABEL == wire.LANGUAGE_LABEL
    assert errors.SOURCE_DAEMON == wire_errors.SOURCE
    codes = {name for name in vars(wire_errors) if name.isupper() and name != "SOURCE"}
    assert codes <= set(errors.BY_CODE)
