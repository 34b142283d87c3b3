"""The reference document's programs beyond its Quick Start, run as a user runs them: DaytonaManager and the scripts."""

from __future__ import annotations

import importlib.util
import json
import re
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sea.daytona_manager import DaytonaManager
from sea.ingest import read_traces
from tests.journeys.conftest import run_script
from tests.sdk.conftest import LocalPlace
from tests.style.source import ROOT

pytestmark = pytest.mark.thorough

TRACES = ROOT / "examples/traces"
EVOLUTION = "scripts/run_atc_evolution.py"

MANAGER = '''
generated_code = """
from langchain_core.tools import tool


@tool
def add(a: int, b: int) -> int:
    "Add two numbers."
    return a + b


def test_add():
    assert add.invoke({"a": 1, "b": 2}) == 3
"""
from sea.daytona_manager import DaytonaManager
from sea.ingest import read_traces

manager = DaytonaManager()

# Test generated tool code
result = manager.run_code_with_tests(
    tool_code=generated_code,
    dependencies=["pytest", "langchain-core"],
    timeout=60
)

if result["success"]:
    print("Tool tests passed!")
else:
    print(f"Tests failed: {result['output']}")
'''


@pytest.fixture
def nowhere() -> dict[str, str]:
    """The environment of a user whose server does not run."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    return {"DAYTONA_API_URL": f"http://127.0.0.1:{port}/api", "DAYTONA_API_KEY": "k"}


@pytest.mark.timeout(120)
def test_the_manager_program_of_the_document(home: LocalPlace, tmp_path: Path) -> None:
    ran = home.run(MANAGER, tmp_path)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "Tool tests passed!\n", "")


@pytest.mark.timeout(120)
def test_the_manager_program_with_a_wrong_tool(home: LocalPlace, tmp_path: Path) -> None:
    ran = home.run(MANAGER.replace("return a + b", "return a - b"), tmp_path)
    assert ran.returncode == 0
    assert ran.stdout.startswith("Tests failed: ")
    assert "test_add" in ran.stdout


def test_the_connection_test(home: LocalPlace) -> None:
    ran = run_script(home, EVOLUTION, "--test-daytona")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert re.fullmatch(r"connection: passed in \d+\.\d\d s, sandbox [0-9a-f-]{36}\n", ran.stdout)


def test_the_connection_test_without_a_server(home: LocalPlace, nowhere: dict[str, str]) -> None:
    ran = run_script(home, EVOLUTION, "--test-daytona", **nowhere)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert "connection: FAILED" in ran.stderr


@pytest.mark.timeout(120)
def test_the_integration_checks(home: LocalPlace) -> None:
    ran = run_script(home, "scripts/test_daytona_codegen.py")
    assert (ran.returncode, ran.stderr) == (0, "")
    lines = ran.stdout.splitlines()
    names = ("connection", "simple execution", "code generation", "end to end")
    for name, line in zip(names, lines, strict=False):
        assert re.match(rf"{name}: passed \(\d+\.\d\d s\): ", line)
    assert lines[-1] == "4 of 4 checks passed"


@pytest.mark.timeout(120)
def test_the_integration_checks_without_a_server(home: LocalPlace, nowhere: dict[str, str]) -> None:
    ran = run_script(home, "scripts/test_daytona_codegen.py", **nowhere)
    assert ran.returncode == 1
    assert ran.stdout.splitlines()[-1] == "0 of 4 checks passed"


def test_patterns_alone_need_no_sandbox(home: LocalPlace, nowhere: dict[str, str]) -> None:
    ran = run_script(home, EVOLUTION, "--traces", 20, **nowhere)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("traces: 20 read, of 20 tasks, from ")
    assert "specifications:" not in ran.stdout


@pytest.mark.timeout(120)
def test_all_stages_and_what_they_write(home: LocalPlace, tmp_path: Path) -> None:
    file = tmp_path / "found.json"
    given = [TRACES / f"{kind}.jsonl" for kind in ("intervals", "tables", "retries")]
    ran = run_script(
        home, EVOLUTION, *given, "--test-in-sandbox", "--min-frequency", 3, "--output-file", file
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    found = json.loads(file.read_text())
    records = sum(len(path.read_text().splitlines()) for path in given)
    assert f"traces: {records} read, of {records - 4} tasks, from 3 file(s)\n" in ran.stdout
    assert_printed_is_written(ran.stdout, found)
    for result in found["generated_tools"]:
        assert_shape(result)
    saved = [result for result in found["generated_tools"] if result["save_status"] == "saved"]
    assert saved
    for result in saved:
        assert Path(result["file_path"]).read_text() == result["tool_code"]
        assert result["final_test_result"]["success"] is True


def assert_printed_is_written(printed: str, found: dict[str, Any]) -> None:
    tools = found["generated_tools"]
    passed = [tool for tool in tools if tool["final_test_result"]["success"]]
    saved = [tool for tool in tools if tool["save_status"] == "saved"]
    for sentence in (
        f"patterns: {len(found['patterns'])} in 3 or more tasks, {len(found['proposals'])} of them worth a tool",
        f"specifications: {len(found['specifications'])} of {len(found['proposals'])}",
        f"tests: {len(passed)} of {len(tools)} tools passed in a sandbox",
        f"saved: {len(saved)} in ",
    ):
        assert sentence in printed


def assert_shape(result: dict[str, Any]) -> None:
    assert {
        "tool_code",
        "tool_name",
        "dependencies",
        "implementation_notes",
        "specification",
    } <= result.keys()
    assert {"code_valid", "save_status", "file_path", "test_attempts", "test_history"} <= result.keys()
    assert result["code_valid"] is True
    assert result["save_status"] in ("saved", "test_failed", "validation_failed", "save_error")
    assert result["test_attempts"] == len(result["test_history"]) == 1
    shape = {"attempt", "success", "exit_code", "execution_time", "output", "error"}
    assert set(result["test_history"][0]) == shape
    assert set(result["final_test_result"]) >= shape - {"attempt"} | {"stdout", "stderr", "test_results"}


def test_without_a_sandbox_nothing_is_written(
    home: LocalPlace, nowhere: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "found.json"
    ran = run_script(home, EVOLUTION, "--test-in-sandbox", "--output-file", file, **nowhere)
    assert ran.returncode == 1
    assert "no sandbox could be made" in ran.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--traces", "0"], "not a number above 0"),
        (["--min-frequency", "1"], "at least 2"),
        (["--op-name-filter", "solve"], "give --weave-project too"),
        (["--weave-project", "a/b", "x.jsonl"], "not both"),
        (["--output-file", "/proc/nowhere/found.json"], "cannot be written"),
        (["there/is/no/such.jsonl"], "there/is/no/such.jsonl"),
    ],
)
def test_what_cannot_be_followed_is_refused_in_a_sentence(
    home: LocalPlace, arguments: list[str], sentence: str
) -> None:
    ran = run_script(home, EVOLUTION, *arguments)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert sentence in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_weave_project_needs_the_package_and_a_key(home: LocalPlace) -> None:
    ran = run_script(home, EVOLUTION, "--weave-project", "a/b", WANDB_API_KEY="")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert re.search("--weave-project needs (the weave package|a Weights & Biases key)", ran.stderr)


def test_a_weave_call_becomes_a_trace_with_its_childrens_code(tmp_path: Path) -> None:
    located = importlib.util.spec_from_file_location("run_atc_evolution", ROOT / EVOLUTION)
    assert located is not None
    assert located.loader is not None
    script = importlib.util.module_from_spec(located)
    located.loader.exec_module(script)
    common = {"trace_id": "t1", "exception": None, "started_at": "2024-05-01T10:00:00Z"}
    root = SimpleNamespace(
        **common, id="c1", op_name="solve", inputs={"problem": "What is 6 * 7?"}, output="It is 42."
    )
    child = SimpleNamespace(
        **common, id="c2", op_name="python", inputs={"code": "print(6 * 7)"}, output="42\n"
    )
    file = tmp_path / "weave.jsonl"
    file.write_text(json.dumps(script.record_of(root, [child])) + "\n")
    (trace,) = read_traces([file]).traces
    assert (trace.id, trace.problem, trace.status) == ("t1", "What is 6 * 7?", "success")
    assert [(step.code, step.output) for step in trace.steps] == [("print(6 * 7)", "42")]


def test_the_manager_is_importable_from_where_the_document_says() -> None:
    assert DaytonaManager.__module__ == "sea.daytona_manager"
