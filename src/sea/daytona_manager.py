"""Runs generated code together with its tests in a sandbox and returns the verdict as one dictionary.

What a test run counts as is not decided here (the runner reports it out of band) and text is never read for
a verdict. The invariants: no sandbox outlives its call, and where nothing ran, nothing was successful.
"""

from __future__ import annotations

import math
import secrets
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypedDict

from daytona_sdk import (
    CreateSandboxFromSnapshotParams,
    Daytona,
    DaytonaError,
    DaytonaNotFoundError,
    ExecuteResponse,
    FileUpload,
    Sandbox,
    TestReport,
)

DEFAULT_TIMEOUT = 60.0
"""Seconds a test run may take."""
CREATE_TIMEOUT = 600.0
"""Seconds that making the sandbox may take; long, because new dependencies are installed first."""
CONNECTION_TIMEOUT = 20.0
"""Seconds that the one line of `test_connection` may take."""
NO_TESTS = "no tests found"
NOTHING_RAN = -1
"""`exit_code` where no process ended: 0 would read as a success."""


class TestResult(TypedDict):
    """One test; `outcome` is pytest's word, `duration` is in seconds, `message` says why it failed."""

    name: str
    outcome: str
    duration: float
    message: str


class TestResults(TypedDict):
    """What the runner reported; `counts` has the number of tests by outcome."""

    reason: str
    verdict: str
    verdict_basis: str
    counts: dict[str, int]
    tests: list[TestResult]
    collection_errors: list[str]


class SandboxResult(TypedDict):
    """The first system's result shape; `execution_time` is the whole call in seconds, `error` a sentence."""

    success: bool
    exit_code: int
    output: str
    stdout: str
    stderr: str
    test_results: TestResults | None
    sandbox_id: str | None
    execution_time: float
    error: str | None


class DaytonaManager:
    """Tests generated tools in sandboxes of their own.

    Args:
        daytona: The client to use; by default one for the configured server, else for the local one.
    """

    def __init__(self, daytona: Daytona | None = None) -> None:
        self._daytona = daytona or Daytona()

    def run_code_with_tests(
        self,
        tool_code: str,
        dependencies: Sequence[str] | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        test_code: str | None = None,
    ) -> SandboxResult:
        """Run the tests of a tool in a new sandbox without network, and remove the sandbox.

        The tests are the `test_*` in `tool_code` (uploaded as `tool.py`) and those in `test_code` (uploaded
        as `test_tool.py`; it can `from tool import ...`). Success means that the run ended by itself with
        exit code 0, at least one test passed and none failed. Whatever the code does is a result, never an
        exception; so is a sandbox that cannot be made.

        Args:
            tool_code: Python source.
            dependencies: Packages as pip names them; pytest is always there. They are installed apart, before
                the sandbox exists, and kept as a layer for later calls.
            timeout: Seconds the test run may take, enforced from outside; then all that it started is killed.
                Installing and making the sandbox are not part of it (CREATE_TIMEOUT limits them).
            test_code: More tests.

        Raises:
            ValueError: An argument is not usable; the sentence says which and why.
        """
        _check(dependencies, timeout)
        files = [FileUpload(_source("tool_code", tool_code), "tool.py")]
        if test_code is not None:
            files.append(FileUpload(_source("test_code", test_code), "test_tool.py"))

        def run(sandbox: Sandbox) -> SandboxResult:
            sandbox.fs.upload_files(files)
            # By name, because pytest by itself would not look for tests in a file called tool.py.
            return from_report(
                sandbox.process.run_tests(*(file.destination for file in files), timeout=timeout)
            )

        return self._in_sandbox(["pytest", *(dependencies or ())], run)

    def test_connection(self) -> SandboxResult:
        """Make a sandbox, run one line in it and remove it.

        Success means that exit code 0 and exactly the line's output came back.
        """
        word = secrets.token_hex(8)

        def run(sandbox: Sandbox) -> SandboxResult:
            response = sandbox.process.code_run(f"print({word!r})", timeout=CONNECTION_TIMEOUT)
            return from_line(response, f"{word}\n")

        return self._in_sandbox([], run)

    def _in_sandbox(
        self, dependencies: Sequence[str], run: Callable[[Sandbox], SandboxResult]
    ) -> SandboxResult:
        """Apply `run` to a new sandbox and remove it; trouble with the sandbox itself goes into the result."""
        begin = time.perf_counter()
        params = CreateSandboxFromSnapshotParams(dependencies=_unique(dependencies), network="none")
        sandbox: Sandbox | None = None
        sandbox_id: str | None = None
        left: str | None = None
        try:
            sandbox = self._daytona.create(params, timeout=CREATE_TIMEOUT)
            sandbox_id = sandbox.id
            result = run(sandbox)
        except DaytonaError as error:
            what = "could not be made" if sandbox is None else "failed while it was used"
            result = _result(None, success=False, error=f"the sandbox {what}: {error}")
            sandbox_id = sandbox_id or error.sandbox_id
        finally:
            if sandbox_id:
                left = self._remove(sandbox_id, sandbox)
        result["sandbox_id"] = sandbox_id
        result["execution_time"] = time.perf_counter() - begin
        result["error"] = "; ".join(filter(None, [result["error"], left])) or None
        return result

    def _remove(self, sandbox_id: str, sandbox: Sandbox | None) -> str | None:
        """Remove the sandbox; None when it is gone, else the sentence that says it may not be."""
        try:
            (sandbox or self._daytona.get(sandbox_id)).delete()
        except DaytonaNotFoundError:
            return None
        except DaytonaError as error:
            return f"the sandbox {sandbox_id} could not be removed: {error}"
        return None


def from_report(report: TestReport) -> SandboxResult:
    """The result of a test run: what `report` says, under the names of the result shape."""
    results = TestResults(
        reason=report.reason,
        verdict=report.verdict,
        verdict_basis=report.verdict_basis,
        counts=dict(Counter(case.outcome for case in report.tests)),
        tests=[
            TestResult(
                name=case.node_id,
                outcome=case.outcome,
                duration=case.duration_ms / 1000,
                message=case.message,
            )
            for case in report.tests
        ],
        collection_errors=list(report.collection_errors),
    )
    why = None if report.success else _why(report)
    return _result(report, success=report.success, test_results=results, error=why)


def from_line(response: ExecuteResponse, expected: str) -> SandboxResult:
    """The result of the connection test: success only for exit code 0 and exactly the expected output."""
    success = response.exit_code == 0 and response.stdout == expected
    why = f"the line ended with exit code {response.exit_code} and printed {response.result!r}"
    return _result(response, success=success, error=None if success else f"{why}, not {expected!r}")


def _result(
    ran: TestReport | ExecuteResponse | None,
    *,
    success: bool,
    test_results: TestResults | None = None,
    error: str | None,
) -> SandboxResult:
    """The whole shape; `ran` is None where nothing was run to its end."""
    return SandboxResult(
        success=success,
        exit_code=ran.exit_code if ran else NOTHING_RAN,
        output=(ran.output if isinstance(ran, TestReport) else ran.result) if ran else "",
        stdout=ran.stdout if ran else "",
        stderr=ran.stderr if ran else "",
        test_results=test_results,
        sandbox_id=None,
        execution_time=0.0,
        error=error,
    )


def _why(report: TestReport) -> str:
    """The sentence for a run without success: a complete run that found nothing has its own."""
    if report.complete and not report.tests and not report.collection_errors:
        return NO_TESTS
    return "; ".join([report.reason, *report.collection_errors])


def _check(dependencies: Sequence[str] | None, timeout: float) -> None:
    """Refuse values that cannot mean anything, before anything is made."""
    if isinstance(dependencies, str) or not all(
        isinstance(name, str) and name.strip() for name in dependencies or ()
    ):
        raise ValueError(f"dependencies must be a list of package names, not {dependencies!r}")
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not 0 < timeout < math.inf:
        raise ValueError(f"timeout must be a number of seconds above 0, not {timeout!r}")


def _source(name: str, text: str) -> bytes:
    """Python source as a file's content."""
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"{name} must be Python source, not {text!r}")
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{name} cannot be written as UTF-8: {error}") from error


def _unique(names: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(name.strip() for name in names))
