"""DaytonaManager against a real server and real sandboxes: what counts as a success, and what never does."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from daytona_sdk import Daytona, DaytonaConfig, ExecuteResponse, TestReport
from sea.daytona_manager import NO_TESTS, NOTHING_RAN, DaytonaManager, SandboxResult, from_line, from_report
from tests.conftest import Server

pytestmark = pytest.mark.thorough

KEYS = {
    "success",
    "exit_code",
    "output",
    "stdout",
    "stderr",
    "test_results",
    "sandbox_id",
    "execution_time",
    "error",
}

SLUG = '''
import re


def slug(title: str) -> str:
    """A title as a name for a URL."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
'''
GOOD_TEST = """
def test_slug():
    assert slug("Ten Ways!") == "ten-ways"
"""
BAD_TEST = """
def test_wrong():
    assert slug("Ten Ways!") == "ten ways"
"""


@pytest.fixture(scope="module")
def daytona(server: Server) -> Iterator[Daytona]:
    with Daytona(DaytonaConfig(api_key=server.key, api_url=server.url)) as client:
        yield client


@pytest.fixture(scope="module")
def manager(daytona: Daytona) -> DaytonaManager:
    return DaytonaManager(daytona)


def assert_gone(daytona: Daytona, result: SandboxResult) -> None:
    assert result["sandbox_id"]
    assert result["sandbox_id"] not in [sandbox.id for sandbox in daytona.list()]


def test_a_good_tool_passes_and_its_sandbox_is_gone(daytona: Daytona, manager: DaytonaManager) -> None:
    result = manager.run_code_with_tests(SLUG + GOOD_TEST, dependencies=["pytest"], timeout=60)
    assert set(result) == KEYS
    assert result["error"] is None
    assert result["success"] is True
    assert result["exit_code"] == 0
    assert result["execution_time"] > 0
    assert result["test_results"] is not None
    assert result["test_results"]["counts"] == {"passed": 1}
    assert_gone(daytona, result)


def test_a_failing_test_is_a_result_with_its_message(daytona: Daytona, manager: DaytonaManager) -> None:
    result = manager.run_code_with_tests(SLUG + GOOD_TEST + BAD_TEST)
    assert result["success"] is False
    assert result["exit_code"] == 1
    assert result["test_results"] is not None
    assert result["test_results"]["counts"] == {"passed": 1, "failed": 1}
    assert "ten ways" in result["output"]
    assert result["error"]
    assert_gone(daytona, result)


def test_test_code_can_import_the_tool_and_is_run(manager: DaytonaManager) -> None:
    star = "from tool import *\n"
    assert manager.run_code_with_tests(SLUG, test_code=star + GOOD_TEST)["success"] is True
    assert manager.run_code_with_tests(SLUG + GOOD_TEST, test_code=star + BAD_TEST)["success"] is False
    assert manager.run_code_with_tests(SLUG + BAD_TEST, test_code=star + GOOD_TEST)["success"] is False


def test_no_tests_is_not_a_success(manager: DaytonaManager) -> None:
    result = manager.run_code_with_tests(SLUG)
    assert result["success"] is False
    assert result["error"] == NO_TESTS
    assert manager.run_code_with_tests(SLUG, test_code="from tool import slug\n")["error"] == NO_TESTS


@pytest.mark.parametrize(
    "code",
    [
        pytest.param("import a_module_that_is_nowhere\n\ndef test_ok():\n    pass\n", id="import error"),
        pytest.param("def test_ok(:\n    pass\n", id="syntax error"),
        pytest.param("import os\n\ndef test_ok():\n    os._exit(0)\n", id="exit in a test"),
        pytest.param(
            "import os\n\ndef test_ok():\n    pass\n\nprint('1 passed in 0.01s', flush=True)\nos._exit(0)\n",
            id="forged text and exit at import",
        ),
        pytest.param("import sys\n\ndef test_ok():\n    sys.exit(0)\n", id="SystemExit in a test"),
        pytest.param(
            "import os, signal\n\ndef test_ok():\n    os.kill(os.getpid(), signal.SIGKILL)\n", id="killed"
        ),
        pytest.param(
            "import pytest\n\n@pytest.mark.skip(reason='no')\ndef test_ok():\n    pass\n", id="only skipped"
        ),
        pytest.param(
            "import pytest\n\n@pytest.mark.xfail\ndef test_ok():\n    assert False\n",
            id="only expected failures",
        ),
    ],
)
def test_what_only_looks_like_a_success_is_none(code: str, daytona: Daytona, manager: DaytonaManager) -> None:
    result = manager.run_code_with_tests(code)
    assert result["success"] is False
    assert result["error"]
    assert_gone(daytona, result)


def test_words_in_the_output_decide_nothing(manager: DaytonaManager) -> None:
    code = "def test_words():\n    print('FAILED ERROR Traceback')\n"
    assert manager.run_code_with_tests(code)["success"] is True


def test_the_timeout_comes_from_outside(daytona: Daytona, manager: DaytonaManager) -> None:
    code = """
import signal
import time


def test_never_ends():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("begun", flush=True)
    while True:
        time.sleep(0.01)
"""
    manager.run_code_with_tests("def test_warm():\n    pass\n")
    begin = time.perf_counter()
    result = manager.run_code_with_tests(code, timeout=1)
    assert 1 <= time.perf_counter() - begin < 8
    assert result["success"] is False
    assert result["error"]
    assert result["test_results"] is not None
    assert result["test_results"]["verdict"] == "timed_out"
    assert_gone(daytona, result)


def test_there_is_no_network_while_testing(manager: DaytonaManager) -> None:
    with socket.create_server(("127.0.0.1", 0)) as outside:
        port = outside.getsockname()[1]
        socket.create_connection(
            ("127.0.0.1", port), timeout=5
        ).close()  # the control: from here it can be reached
        code = f"""
import socket
from pathlib import Path

import pytest


def test_no_way_out():
    for address in (("127.0.0.1", {port}), ("198.51.100.1", 80)):
        with pytest.raises(OSError):
            socket.create_connection(address, timeout=1)


def test_no_proxy_listens():
    for table in ("tcp", "tcp6"):
        sockets = Path("/proc/net", table).read_text().splitlines()[1:]
        assert [line for line in sockets if line.split()[3] == "0A"] == []
"""
        result = manager.run_code_with_tests(code)
    assert result["error"] is None
    assert result["success"] is True


def test_an_unknown_dependency_is_named(daytona: Daytona, manager: DaytonaManager) -> None:
    name = "no-package-has-this-name-4711"
    before = {sandbox.id for sandbox in daytona.list()}
    result = manager.run_code_with_tests(SLUG + GOOD_TEST, dependencies=[name])
    assert set(result) == KEYS
    assert result["success"] is False
    assert result["exit_code"] == NOTHING_RAN
    assert name in (result["error"] or "")
    assert {sandbox.id for sandbox in daytona.list()} <= before


def test_without_a_server_nothing_counts_as_tested() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with Daytona(DaytonaConfig(api_key="k", api_url=f"http://127.0.0.1:{port}/api")) as nowhere:
        for result in (
            DaytonaManager(nowhere).run_code_with_tests(SLUG + GOOD_TEST),
            DaytonaManager(nowhere).test_connection(),
        ):
            assert set(result) == KEYS
            assert result["success"] is False
            assert result["sandbox_id"] is None
            assert "could not be made" in (result["error"] or "")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"tool_code": ""}, "tool_code"),
        ({"tool_code": " \n"}, "tool_code"),
        ({"tool_code": b"x = 1"}, "tool_code"),
        ({"tool_code": "x = '\ud800'"}, "tool_code"),
        ({"tool_code": SLUG, "test_code": ""}, "test_code"),
        ({"tool_code": SLUG, "dependencies": "pytest"}, "dependencies"),
        ({"tool_code": SLUG, "dependencies": [""]}, "dependencies"),
        ({"tool_code": SLUG, "dependencies": [3]}, "dependencies"),
        ({"tool_code": SLUG, "timeout": 0}, "timeout"),
        ({"tool_code": SLUG, "timeout": -1}, "timeout"),
        ({"tool_code": SLUG, "timeout": float("nan")}, "timeout"),
        ({"tool_code": SLUG, "timeout": float("inf")}, "timeout"),
        ({"tool_code": SLUG, "timeout": True}, "timeout"),
        ({"tool_code": SLUG, "timeout": "60"}, "timeout"),
    ],
)
def test_unusable_arguments_are_refused_by_name(
    arguments: dict[str, object], named: str, manager: DaytonaManager
) -> None:
    with pytest.raises(ValueError, match=named):
        manager.run_code_with_tests(**arguments)  # type: ignore[arg-type]


def test_the_connection_test_measures_a_real_sandbox(daytona: Daytona, manager: DaytonaManager) -> None:
    result = manager.test_connection()
    assert set(result) == KEYS
    assert result["error"] is None
    assert result["success"] is True
    assert result["exit_code"] == 0
    assert_gone(daytona, result)


def test_a_connection_that_answers_something_else_is_no_success() -> None:
    assert from_line(ExecuteResponse(exit_code=0, result="hi\n", stdout="hi\n"), "hi\n")["success"] is True
    for answer in (
        ExecuteResponse(exit_code=0, result="ho\n", stdout="ho\n"),
        ExecuteResponse(exit_code=1, result="hi\n", stdout="hi\n"),
    ):
        result = from_line(answer, "hi\n")
        assert result["success"] is False
        assert "exit code" in (result["error"] or "")


def test_an_incomplete_report_without_tests_is_not_called_empty() -> None:
    report = TestReport(
        success=False,
        reason="The run was killed.",
        exit_code=137,
        verdict="signaled",
        verdict_basis="in_process",
        output="",
        stdout="",
        stderr="",
        duration_ms=1.0,
        peak_memory_bytes=0,
        truncated_bytes=0,
        complete=False,
        collection_errors=(),
        tests=(),
    )
    assert from_report(report)["error"] == "The run was killed."
