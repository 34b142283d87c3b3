"""JSON of runs (protocol section 6.1): requests of the toolbox's process calls and how they are answered.

What Daytona's answers do not have (verdict, times, the two streams apart) stands beside its own fields.
"""

import msgspec
from msgspec import UNSET, UnsetType

from tidepool.wire.charts import Artifacts

CLOSING, STDOUT, STDERR = 0, 1, 2
"""Kinds of frames in the answer of `POST /process/stream`: one byte kind, four bytes length, payload."""


class Execute(msgspec.Struct):
    """`POST /process/execute`."""

    command: str
    cwd: str | None = None
    timeout: float | None = None
    """Seconds; None or 0 is no limit."""
    envs: dict[str, str] | None = None


class CodeRun(msgspec.Struct):
    """`POST /process/code-run`."""

    code: str
    language: str = "python"
    argv: list[str] | None = None
    envs: dict[str, str] | None = None
    timeout: float | None = None


class Tests(msgspec.Struct):
    """`POST /process/tests` (ours)."""

    paths: list[str] | None = None
    cwd: str | None = None
    envs: dict[str, str] | None = None
    timeout: float | None = None


class Stream(msgspec.Struct):
    """`POST /process/stream` (ours): exactly one of command, argv and code."""

    command: str | None = None
    argv: list[str] | None = None
    code: str | None = None
    language: str = "python"
    cwd: str | None = None
    envs: dict[str, str] | None = None
    timeout: float | None = None
    stdin: str | None = None
    """Base64."""


class Ended(msgspec.Struct, rename="camel", kw_only=True):
    """How a run ended; the closing frame of a stream is this and nothing more."""

    exit_code: int
    verdict: str
    duration_ms: float
    peak_memory_bytes: int
    truncated_bytes: int
    basis: str


class ExecuteAnswer(Ended, rename="camel", kw_only=True):
    """Answer of `execute` and `code-run`."""

    result: str
    """Both streams in order of arrival."""
    stdout: str
    stderr: str
    artifacts: Artifacts | UnsetType = UNSET


class TestCase(msgspec.Struct, rename="camel", kw_only=True):
    """One test of a pytest run."""

    node_id: str
    outcome: str
    duration_ms: float
    message: str


class TestsAnswer(Ended, rename="camel", kw_only=True):
    """Answer of `tests`."""

    success: bool
    reason: str
    """Why it is no success; empty when it is."""
    verdict_basis: str
    complete: bool
    collection_errors: list[str]
    tests: list[TestCase]
    output: str
    stdout: str
    stderr: str
