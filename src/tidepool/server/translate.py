"""Wire to engine and back: the only file that knows both vocabularies. Pure."""

import base64
import binascii
import math
import stat
from datetime import UTC, datetime
from typing import Any

from tidepool.engine import (
    CodeRun,
    Command,
    ExecResult,
    FileInfo,
    Limits,
    Sandbox,
    SandboxSpec,
    TestReport,
    TestRun,
    Verdict,
)
from tidepool.engine.errors import InvalidSpec
from tidepool.wire import files as wire_files
from tidepool.wire import process as wire
from tidepool.wire.sandbox import CreateSandbox

ORGANIZATION = "00000000-0000-4000-8000-000000000001"
"""One organization for all: clients want a stable id."""
TARGET = "local"
SNAPSHOT = "default"
GIB = 1 << 30
AUTO_STOP_MIN = 15
AUTO_ARCHIVE_MIN = 10080
NEVER = -1


def sandbox_spec(request: CreateSandbox, tenant: str, default_network: str) -> SandboxSpec:
    """What a create request asks for.

    Raises:
        InvalidSpec: A field is wrong, or asks for what is not there; the message names it.
    """
    if request.snapshot not in (None, "", SNAPSHOT):
        raise InvalidSpec(f"Snapshot {request.snapshot!r} not found; the one there is is called {SNAPSHOT!r}")
    for name, value in (
        ("buildInfo", request.build_info),
        ("volumes", request.volumes),
        ("gpu", request.gpu),
    ):
        if value:
            raise InvalidSpec(f"{name} is not supported by this server")
    if request.network_allow_list or request.domain_allow_list:
        raise InvalidSpec(
            "networkAllowList and domainAllowList are not supported; networks are none and packages"
        )
    return SandboxSpec(
        tenant=tenant,
        name=request.name or None,
        dependencies=request.tidepool.dependencies,
        env=request.env or {},
        labels=request.labels or {},
        user=request.user or "daytona",  # type: ignore[arg-type]  # checked by SandboxSpec
        limits=_limits(request),
        network=_network(request, default_network),  # type: ignore[arg-type]  # checked by SandboxSpec
    )


def _limits(request: CreateSandbox) -> Limits:
    ours, normal = request.tidepool, Limits()
    memory = ours.memory_bytes or int((request.memory or 0) * GIB) or normal.memory_bytes
    asked = ours.disk_bytes or int((request.disk or 0) * GIB)
    return Limits(
        cpu=ours.cpu or request.cpu or normal.cpu,
        memory_bytes=memory,
        disk_bytes=asked or normal.disk_bytes,
        pids=ours.pids or normal.pids,
    )


def _network(request: CreateSandbox, default_network: str) -> str:
    if request.network_block_all:
        return "none"
    return request.tidepool.network or default_network


def sandbox_body(
    sandbox: Sandbox, toolbox_url: str, enforced: tuple[str, ...], not_enforced: tuple[str, ...]
) -> Any:
    """A sandbox as clients see it; whole GiB where the protocol wants integers, the truth under `tidepool`."""
    limits = sandbox.spec.limits
    body: dict[str, Any] = {
        "id": sandbox.id,
        "organizationId": ORGANIZATION,
        "name": sandbox.name,
        "user": sandbox.spec.user,
        "env": dict(sandbox.spec.env),
        "labels": sandbox.labels,
        "public": False,
        "networkBlockAll": sandbox.spec.network == "none",
        "kvm": False,
        "target": TARGET,
        "cpu": max(1, math.ceil(limits.cpu)),
        "gpu": 0,
        "memory": max(1, math.ceil(limits.memory_bytes / GIB)),
        "disk": max(1, math.ceil(limits.disk_bytes / GIB)),
        "state": sandbox.state.value,
        "desiredState": "destroyed" if sandbox.state.value.startswith("destroy") else "started",
        "toolboxProxyUrl": toolbox_url,
        "snapshot": SNAPSHOT,
        "createdAt": timestamp(sandbox.created_at),
        "updatedAt": timestamp(sandbox.updated_at),
        "lastActivityAt": timestamp(sandbox.last_activity_at),
        "autoStopInterval": 0,
        "autoArchiveInterval": AUTO_ARCHIVE_MIN,
        "autoDeleteInterval": NEVER,
        "volumes": [],
        "backupState": "None",
        "tidepool": {
            "isolation": "namespaces",
            "enforced": list(enforced),
            "notEnforced": list(not_enforced),
            "network": sandbox.spec.network,
            "memoryBytes": limits.memory_bytes,
            "diskBytes": limits.disk_bytes,
            "pids": limits.pids,
            "cpu": limits.cpu,
            "dependencies": list(sandbox.spec.dependencies),
        },
    }
    return body if sandbox.error_reason is None else {**body, "errorReason": sandbox.error_reason}


def timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC with milliseconds and Z."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def command(request: wire.Execute) -> Command:
    """A shell command; an old client's envelope around it is taken off (protocol section 10.2)."""
    return Command(
        shell=request.command, cwd=request.cwd, env=request.envs or {}, timeout_s=_timeout(request.timeout)
    )


def code_run(request: wire.CodeRun) -> CodeRun:
    """A program text."""
    return CodeRun(
        code=request.code,
        language=request.language,  # type: ignore[arg-type]  # checked by CodeRun
        argv=tuple(request.argv or ()),
        env=request.envs or {},
        timeout_s=_timeout(request.timeout),
    )


def test_run(request: wire.Tests) -> TestRun:
    """A pytest run."""
    return TestRun(
        paths=tuple(request.paths or ()),
        cwd=request.cwd,
        env=request.envs or {},
        timeout_s=_timeout(request.timeout),
    )


def stream_run(request: wire.Stream) -> Command | CodeRun:
    """A run whose output is streamed.

    Raises:
        InvalidSpec: Not exactly one of command, argv and code; stdin is not base64.
    """
    if sum(part is not None for part in (request.command, request.argv, request.code)) != 1:
        raise InvalidSpec("give exactly one of command, argv and code")
    try:
        stdin = base64.b64decode(request.stdin or "", validate=True)
    except binascii.Error:
        raise InvalidSpec("stdin is not base64") from None
    more: dict[str, Any] = {
        "cwd": request.cwd,
        "env": request.envs or {},
        "timeout_s": _timeout(request.timeout),
        "stdin": stdin,
    }
    if request.code is not None:
        return CodeRun(request.code, request.language, tuple(request.argv or ()), **more)  # type: ignore[arg-type]
    return Command(shell=request.command, argv=tuple(request.argv or ()), **more)


def _timeout(seconds: float | None) -> float | None:
    return seconds or None


def run_body(result: ExecResult, hint: str = "") -> dict[str, Any]:
    """How a run ended: Daytona's two fields, and ours beside them."""
    text = _text(result.output) + hint
    return {
        "exitCode": result.exit_code,
        "result": text,
        "stdout": _text(result.stdout),
        "stderr": _text(result.stderr) + hint,
        **figures(result),
    }


def figures(result: ExecResult) -> dict[str, Any]:
    """What every result carries beside its output."""
    return {
        "verdict": result.verdict.value,
        "durationMs": round(result.duration_s * 1000, 3),
        "peakMemoryBytes": result.peak_memory_bytes,
        "truncatedBytes": result.truncated_bytes,
        "basis": result.basis,
    }


def tests_body(report: TestReport) -> dict[str, Any]:
    """How a pytest run ended."""
    return {
        "success": report.success,
        "reason": report.reason,
        "verdictBasis": report.verdict_basis,
        "complete": report.complete,
        "collectionErrors": list(report.collection_errors),
        "tests": [
            {
                "nodeId": case.node_id,
                "outcome": case.outcome,
                "durationMs": round(case.duration_s * 1000, 3),
                "message": case.message,
            }
            for case in report.cases
        ],
        "exitCode": report.result.exit_code,
        "output": _text(report.result.output),
        "stdout": _text(report.result.stdout),
        "stderr": _text(report.result.stderr),
        **figures(report.result),
    }


def timed_out(result: ExecResult) -> bool:
    """Whether the deadline ended it."""
    return result.verdict is Verdict.TIMED_OUT


def file_body(info: FileInfo, with_path: bool = False) -> dict[str, Any]:
    """One file as clients see it."""
    kind = stat.S_IFDIR if info.is_dir else stat.S_IFREG
    modified = timestamp(datetime.fromtimestamp(info.modified_at, UTC))
    mode_text, permissions = stat.filemode(kind | info.mode), f"{info.mode:04o}"
    body = wire_files.file_info(info.name, info.is_dir, info.size, modified, mode_text, permissions)
    body |= {"owner": str(info.uid), "group": str(info.gid)}
    return {**body, "path": info.path} if with_path else body


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
