"""What comes back: plain data, read from the server's answers by `from_wire`.

A field that only our server sends is None (or empty) when another server answered. Nothing here judges text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class SandboxState(StrEnum):
    """Where a sandbox is in its life (the official list); what is not in it reads as `UNKNOWN`."""

    CREATING = "creating"
    RESTORING = "restoring"
    DESTROYED = "destroyed"
    DESTROYING = "destroying"
    STARTED = "started"
    STOPPED = "stopped"
    STARTING = "starting"
    STOPPING = "stopping"
    ERROR = "error"
    BUILD_FAILED = "build_failed"
    PENDING_BUILD = "pending_build"
    BUILDING_SNAPSHOT = "building_snapshot"
    PULLING_SNAPSHOT = "pulling_snapshot"
    ARCHIVED = "archived"
    ARCHIVING = "archiving"
    RESIZING = "resizing"
    SNAPSHOTTING = "snapshotting"
    FORKING = "forking"
    PAUSING = "pausing"
    PAUSED = "paused"
    RESUMING = "resuming"
    UNKNOWN = "unknown"

    @classmethod
    def _missing_(cls, value: object) -> SandboxState:
        return cls.UNKNOWN


@dataclass(frozen=True)
class Isolation:
    """What keeps this sandbox apart from the host, as the server really applies it."""

    kind: str
    """`namespaces`: kernel namespaces of its own; `gvisor`, `crun`: that runtime inside them."""
    enforced: tuple[str, ...]
    not_enforced: tuple[str, ...]
    """What this host could not give; `tidepool doctor` says how to enable it."""
    network: str
    memory_bytes: int
    disk_bytes: int
    pids: int
    cpu: float
    dependencies: tuple[str, ...]

    @classmethod
    def from_wire(cls, data: Mapping[str, Any]) -> Isolation:
        """Read the `tidepool` member of a sandbox."""
        return cls(
            kind=data["isolation"],
            enforced=tuple(data["enforced"]),
            not_enforced=tuple(data["notEnforced"]),
            network=data["network"],
            memory_bytes=data["memoryBytes"],
            disk_bytes=data["diskBytes"],
            pids=data["pids"],
            cpu=data["cpu"],
            dependencies=tuple(data["dependencies"]),
        )


@dataclass(frozen=True)
class ExecutionArtifacts:
    """What a run left besides its text."""

    stdout: str = ""
    """The same as `result`, as in the official client."""
    charts: list[Any] = field(default_factory=list)


@dataclass(frozen=True)
class ExecuteResponse:
    """How a command or a program text ended. A failure is here, not an exception."""

    exit_code: int
    """Its own, 128 + signal when a signal ended it, 124 on a timeout, 137 on out of memory."""
    result: str
    """Both streams in order of arrival."""
    stdout: str = ""
    """Standard output alone; both streams where the server does not tell them apart."""
    stderr: str = ""
    verdict: str | None = None
    """Why it is over: exited, signaled, timed_out, out_of_memory, not_started, lost."""
    duration_ms: float | None = None
    """Wall clock, milliseconds."""
    peak_memory_bytes: int | None = None
    truncated_bytes: int | None = None
    """Left out of `result` between its head and tail; 0 when complete."""
    basis: str | None = None
    """`exec`: a fresh process image. `fork`: forked from a preloaded interpreter."""
    artifacts: ExecutionArtifacts = field(default_factory=ExecutionArtifacts)

    @classmethod
    def from_wire(cls, data: Mapping[str, Any]) -> ExecuteResponse:
        """Read an execute, code-run or closing stream answer."""
        exit_code = data["exitCode"] if "exitCode" in data else data["code"]
        result = data.get("result") or ""
        artifacts = data.get("artifacts") or {}
        return cls(
            exit_code=int(exit_code),
            result=result,
            stdout=data.get("stdout", result),
            stderr=data.get("stderr", ""),
            verdict=data.get("verdict"),
            duration_ms=data.get("durationMs"),
            peak_memory_bytes=data.get("peakMemoryBytes"),
            truncated_bytes=data.get("truncatedBytes"),
            basis=data.get("basis"),
            artifacts=ExecutionArtifacts(stdout=result, charts=artifacts.get("charts") or []),
        )


@dataclass(frozen=True)
class OutputChunk:
    """Some output of a running command, as it came; a chunk may end inside a character."""

    stream: str
    """`stdout` or `stderr`."""
    data: bytes


@dataclass(frozen=True)
class TestCase:
    """One test of a run, as the runner reported it."""

    __test__ = False  # pytest would take the name for a test class

    node_id: str
    outcome: str
    duration_ms: float
    message: str
    """Why it failed or was skipped; empty when it passed."""


@dataclass(frozen=True)
class TestReport:
    """The verdict of a test run: reported by the runner out of band, never read off the text."""

    __test__ = False

    success: bool
    """Exit code 0, at least one test passed, none failed, and the report is complete."""
    reason: str
    """One sentence: why it is or is not a success."""
    exit_code: int
    verdict: str
    verdict_basis: str
    """`in_process`: the tests shared a process with the code under test."""
    output: str
    stdout: str
    stderr: str
    duration_ms: float
    peak_memory_bytes: int
    truncated_bytes: int
    complete: bool
    collection_errors: tuple[str, ...]
    tests: tuple[TestCase, ...]

    @classmethod
    def from_wire(cls, data: Mapping[str, Any]) -> TestReport:
        """Read the answer of `process/tests`."""
        return cls(
            success=data["success"],
            reason=data["reason"],
            exit_code=data["exitCode"],
            verdict=data["verdict"],
            verdict_basis=data["verdictBasis"],
            output=data["output"],
            stdout=data["stdout"],
            stderr=data["stderr"],
            duration_ms=data["durationMs"],
            peak_memory_bytes=data["peakMemoryBytes"],
            truncated_bytes=data["truncatedBytes"],
            complete=data["complete"],
            collection_errors=tuple(data["collectionErrors"]),
            tests=tuple(
                TestCase(case["nodeId"], case["outcome"], case["durationMs"], case["message"])
                for case in data["tests"]
            ),
        )


@dataclass(frozen=True)
class FileInfo:
    """One directory entry."""

    name: str
    is_dir: bool
    size: int
    """Bytes."""
    mod_time: str
    mode: str
    """As `ls -l` writes it, such as `-rw-r--r--`."""
    permissions: str
    """Octal text, such as `0644`."""
    owner: str
    group: str
    path: str | None = None

    @classmethod
    def from_wire(cls, data: Mapping[str, Any]) -> FileInfo:
        """Read one entry of a listing."""
        return cls(
            name=data["name"],
            is_dir=data["isDir"],
            size=data["size"],
            mod_time=data["modTime"],
            mode=data["mode"],
            permissions=data["permissions"],
            owner=data["owner"],
            group=data["group"],
            path=data.get("path"),
        )


@dataclass(frozen=True)
class FileDownloadResponse:
    """How one download of several ended: `result` or `error`."""

    source: str
    result: bytes | str | None = None
    """The content, or the local path it was written to."""
    error: str | None = None
