"""Wire to engine and back: the only file that knows both vocabularies. Pure."""

import base64
import binascii
import dataclasses
import math
import stat
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET

from tidepool.engine import (
    CodeRun,
    Command,
    ExecResult,
    FileInfo,
    Limits,
    Sandbox,
    SandboxSpec,
    State,
    TestReport,
    TestRun,
    Verdict,
    Volume,
)
from tidepool.engine.errors import InvalidSpec
from tidepool.engine.isolation import INNER_WALLS
from tidepool.engine.spec import HOME, Secrets
from tidepool.server import networks
from tidepool.server.answers import timestamp
from tidepool.server.envelope import Unwrapped
from tidepool.server.keeper import MAX_AUTO_ARCHIVE_MIN, NEVER, Terms
from tidepool.toolbox.charts import parse_charts
from tidepool.wire import files as wire_files
from tidepool.wire import process as wire
from tidepool.wire import sandbox as wire_sandbox
from tidepool.wire.charts import Artifacts
from tidepool.wire.sandbox import CreateSandbox

if TYPE_CHECKING:
    from tidepool.server.snapshots import ImageRef

ORGANIZATION = "00000000-0000-4000-8000-000000000001"
"""One organization for all: clients want a stable id."""
TARGET = "local"
SNAPSHOT = "default"
GIB = 1 << 30
LOCAL_AUTO_DELETE_MIN = 24 * 60
_MAX_GIB = 1 << 20
_MAX_MINUTES = 10 * 365 * 24 * 60
_NOT_THERE = (
    "gpu",
    "kvm",
    "linked_sandbox",
    "outbound_proxy_url",
)
"""Fields of a create request whose meaning this server does not have: given a value, they are refused."""


def sandbox_spec(
    request: CreateSandbox,
    tenant: str,
    default_network: str,
    base: "ImageRef",
    volumes: tuple[Volume, ...] = (),
    secrets: Secrets | None = None,
) -> SandboxSpec:
    """What a create request asks for.

    Args:
        request: As it came.
        tenant: Who asks.
        default_network: For a request that names none.
        base: What it is made from.
        volumes: Those it names, as the engine knows them.
        secrets: Those it names, with their values.

    Raises:
        InvalidSpec: A field is wrong, or asks for what is not there; the message names it.
    """
    for name in _NOT_THERE:
        if getattr(request, name):
            raise InvalidSpec(f"{_wire_name(name)} is not supported by this server; leave it out")
    named = request.snapshot not in (None, "", SNAPSHOT) and not request.build_info
    if named and (request.cpu or request.memory or request.disk):
        raise InvalidSpec("Cannot specify Sandbox resources when using a snapshot")
    return SandboxSpec(
        tenant=tenant,
        name=request.name or None,
        dependencies=request.tidepool.dependencies,
        env={**base.env, **(request.env or {})},
        labels=request.labels or {},
        user=request.user or base.user or "daytona",  # type: ignore[arg-type]  # checked by SandboxSpec
        limits=_limits(request, base),
        **networks.asked_for(request, default_network),
        secrets=secrets or {},
        image=base.image,
        work_dir=base.work_dir or HOME,
        volumes=volumes,
        isolation=request.tidepool.isolation or "namespaces",  # type: ignore[arg-type]  # checked by SandboxSpec
    )


def _wire_name(field: str) -> str:
    first, *rest = field.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _limits(request: CreateSandbox, base: "ImageRef") -> Limits:
    ours, normal = request.tidepool, Limits()
    return Limits(
        cpu=ours.cpu or request.cpu or base.cpu or normal.cpu,
        memory_bytes=ours.memory_bytes or _bytes(request.memory or base.memory) or normal.memory_bytes,
        disk_bytes=ours.disk_bytes or _bytes(request.disk or base.disk) or normal.disk_bytes,
        pids=ours.pids or normal.pids,
    )


def _bytes(gib: float | None) -> int:
    if gib is not None and not 0 <= gib <= _MAX_GIB:
        raise InvalidSpec(f"memory and disk are given in GiB, 0 to {_MAX_GIB}; {gib:g} is not")
    return int((gib or 0) * GIB)


def terms(request: CreateSandbox, is_local: bool) -> Terms:
    """When a new sandbox's time will be over.

    Args:
        request: Minutes.
        is_local: Whether the server is one that starts by itself: what nobody wants there any more is deleted.

    Raises:
        InvalidSpec: A number of minutes is out of range.
    """
    asked = {
        "autostop": request.auto_stop_interval,
        "autoarchive": request.auto_archive_interval,
        "autodelete": request.auto_delete_interval,
        "ttl": request.ttl_minutes,
    }
    found = Terms(auto_delete=LOCAL_AUTO_DELETE_MIN if is_local else NEVER)
    for name, minutes in asked.items():
        if minutes is not None:
            found = with_interval(found, name, minutes)
    return found


_INTERVALS = {
    "autostop": ("auto_stop", 0),
    "autoarchive": ("auto_archive", 0),
    "autodelete": ("auto_delete", NEVER),
    "ttl": ("ttl", 0),
}
"""Word of the URL to the field it sets and the least it takes."""


def with_interval(found: Terms, name: str, minutes: int) -> Terms:
    """The same terms but for one.

    Raises:
        InvalidSpec: The number of minutes is out of range.
    """
    field, least = _INTERVALS[name]
    if not least <= minutes <= _MAX_MINUTES:
        raise InvalidSpec(f"the {name} interval is {minutes}; allowed are {least} to {_MAX_MINUTES} minutes")
    return msgspec.structs.replace(found, **{field: minutes})


def resized(limits: Limits, request: wire_sandbox.Resize, is_running: bool) -> Limits:
    """Limits with what a resize request changes.

    Raises:
        InvalidSpec: A value is out of range, or a running sandbox would get less.
    """
    new = Limits(
        cpu=request.cpu or limits.cpu,
        memory_bytes=_bytes(request.memory) or limits.memory_bytes,
        disk_bytes=_bytes(request.disk) or limits.disk_bytes,
        pids=limits.pids,
    )
    if is_running and (new.cpu < limits.cpu or new.memory_bytes < limits.memory_bytes):
        raise InvalidSpec("cpu and memory of a running sandbox can only grow; stop it first")
    if new.disk_bytes < limits.disk_bytes and request.disk:
        raise InvalidSpec("the disk of a sandbox can only grow")
    return new


def forked(spec: SandboxSpec, name: str | None) -> SandboxSpec:
    """The spec of a fork: the same but for its name."""
    return dataclasses.replace(spec, name=name or None)


def labels(asked: dict[str, str]) -> dict[str, str]:
    """Labels to be set.

    Raises:
        InvalidSpec: One is too long or has a NUL.
    """
    return dict(SandboxSpec(labels=asked).labels)


def sandbox_body(
    sandbox: Sandbox, its: Terms, toolbox_url: str, enforced: tuple[str, ...], not_enforced: tuple[str, ...]
) -> wire_sandbox.Sandbox:
    """A sandbox as clients see it; whole GiB where the protocol wants integers, the truth under `tidepool`."""
    spec, limits, listed = sandbox.spec, sandbox.spec.limits, networks.lists(sandbox.spec)
    walls = INNER_WALLS[spec.isolation]
    return wire_sandbox.Sandbox(
        id=sandbox.id,
        organization_id=ORGANIZATION,
        name=sandbox.name,
        user=spec.user,
        env=dict(spec.env),
        labels=sandbox.labels,
        public=sandbox.public,
        network_block_all=spec.network == "none",
        network_allow_list=UNSET if listed[0] is None else listed[0],
        domain_allow_list=UNSET if listed[1] is None else listed[1],
        kvm=False,
        target=TARGET,
        cpu=math.ceil(limits.cpu),
        gpu=0,
        memory=math.ceil(limits.memory_bytes / GIB),
        disk=math.ceil(limits.disk_bytes / GIB),
        state=sandbox.state.value,
        desired_state=_DESIRED.get(sandbox.state, "started"),
        error_reason=sandbox.error_reason or UNSET,
        toolbox_proxy_url=toolbox_url,
        snapshot=sandbox.source or SNAPSHOT,
        created_at=timestamp(sandbox.created_at),
        updated_at=timestamp(sandbox.updated_at),
        last_activity_at=timestamp(sandbox.last_activity_at),
        auto_stop_interval=its.auto_stop,
        auto_archive_interval=its.auto_archive or MAX_AUTO_ARCHIVE_MIN,
        auto_delete_interval=its.auto_delete,
        auto_destroy_at=_end(sandbox.created_at, its.ttl) if its.ttl else UNSET,
        volumes=[
            wire_sandbox.MountedVolume(volume.name, volume.mount_path, volume.subpath or None)
            for volume in spec.volumes
        ],
        tidepool=wire_sandbox.TidepoolFacts(
            isolation=spec.isolation,
            enforced=tuple(wall for wall in enforced if wall not in walls.without) + walls.more,
            not_enforced=not_enforced + walls.not_enforced,
            network=spec.network,
            memory_bytes=limits.memory_bytes,
            disk_bytes=limits.disk_bytes,
            pids=limits.pids,
            cpu=limits.cpu,
            dependencies=spec.dependencies,
            not_kept=sandbox.not_kept,
        ),
    )


_DESIRED = {
    State.STOPPING: "stopped",
    State.STOPPED: "stopped",
    State.ARCHIVED: "archived",
    State.DESTROYING: "destroyed",
    State.DESTROYED: "destroyed",
}


def _end(start: datetime, minutes: int) -> str:
    return timestamp(start + timedelta(minutes=minutes))


def execute(request: wire.Execute, inside: Unwrapped) -> Command | CodeRun:
    """What an execute request asks for, once its envelope is off."""
    env = {**(request.envs or {}), **inside.env}
    timeout_s = request.timeout or None
    if inside.code is None:
        return Command(shell=inside.command, cwd=request.cwd, env=env, timeout_s=timeout_s)
    return CodeRun(
        inside.code,
        inside.language,  # type: ignore[arg-type]  # checked by CodeRun
        inside.argv,
        cwd=request.cwd,
        env=env,
        timeout_s=timeout_s,
    )


def code_run(request: wire.CodeRun) -> CodeRun:
    """A program text."""
    return CodeRun(
        code=request.code,
        language=request.language,  # type: ignore[arg-type]  # checked by CodeRun
        argv=tuple(request.argv or ()),
        env=request.envs or {},
        timeout_s=request.timeout or None,
    )


def test_run(request: wire.Tests) -> TestRun:
    """A pytest run."""
    return TestRun(
        paths=tuple(request.paths or ()),
        cwd=request.cwd,
        env=request.envs or {},
        timeout_s=request.timeout or None,
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
    except (binascii.Error, ValueError):
        raise InvalidSpec("stdin is not base64") from None
    more: dict[str, Any] = {
        "cwd": request.cwd,
        "env": request.envs or {},
        "timeout_s": request.timeout or None,
        "stdin": stdin,
    }
    if request.code is not None:
        return CodeRun(request.code, request.language, **more)  # type: ignore[arg-type]  # checked by CodeRun
    return Command(shell=request.command, argv=tuple(request.argv or ()), **more)


def run_body(result: ExecResult, hint: str = "") -> wire.ExecuteAnswer:
    """How a run ended; the hint is a line of its own after what the run wrote."""
    text = _text(result.output)
    return wire.ExecuteAnswer(
        result=f"{text}{'' if not hint or not text or text.endswith(chr(10)) else chr(10)}{hint}",
        stdout=_text(result.stdout),
        stderr=_text(result.stderr),
        artifacts=Artifacts(parse_charts(result.charts)) if result.charts else UNSET,
        **_figures(result),
    )


def ended(result: ExecResult) -> wire.Ended:
    """How a run ended whose output was streamed."""
    return wire.Ended(**_figures(result))


def _figures(result: ExecResult) -> dict[str, Any]:
    return {
        "exit_code": result.exit_code,
        "verdict": result.verdict.value,
        "duration_ms": round(result.duration_s * 1000, 3),
        "peak_memory_bytes": result.peak_memory_bytes,
        "truncated_bytes": result.truncated_bytes,
        "basis": result.basis,
    }


def tests_body(report: TestReport) -> wire.TestsAnswer:
    """How a pytest run ended."""
    return wire.TestsAnswer(
        success=report.success,
        reason=report.reason,
        verdict_basis=report.verdict_basis,
        complete=report.complete,
        collection_errors=list(report.collection_errors),
        tests=[
            wire.TestCase(
                node_id=case.node_id,
                outcome=case.outcome,
                duration_ms=round(case.duration_s * 1000, 3),
                message=case.message,
            )
            for case in report.cases
        ],
        output=_text(report.result.output),
        stdout=_text(report.result.stdout),
        stderr=_text(report.result.stderr),
        **_figures(report.result),
    )


def timed_out(result: ExecResult) -> bool:
    """Whether the deadline ended it."""
    return result.verdict is Verdict.TIMED_OUT


def file_body(info: FileInfo, with_path: bool = False) -> wire_files.FileInfo:
    """One file as clients see it."""
    modified = timestamp(_moment(info.modified_at))
    kind = stat.S_IFDIR if info.is_dir else stat.S_IFLNK if info.is_symlink else stat.S_IFREG
    return wire_files.FileInfo(
        name=info.name,
        is_dir=info.is_dir,
        size=info.size,
        mod_time=modified,
        modified_at=modified,
        mode=stat.filemode(kind | info.mode),
        permissions=f"{info.mode:04o}",
        owner=str(info.uid),
        group=str(info.gid),
        path=info.path if with_path else UNSET,
    )


def _moment(seconds: float) -> datetime:
    """A file's time. Whoever owns a file sets it as he likes: what no calendar has becomes the nearest it has."""
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError):
        return datetime.max.replace(tzinfo=UTC) if seconds > 0 else datetime.min.replace(tzinfo=UTC)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
