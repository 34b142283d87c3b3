"""Wire to engine and back: what is refused, what is rounded, what is told. Pure."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from tidepool.engine import (
    CodeRun,
    Command,
    ExecResult,
    FileInfo,
    Limits,
    Sandbox,
    SandboxSpec,
    State,
    TestCase,
    TestReport,
    Verdict,
)
from tidepool.engine.errors import InvalidSpec
from tidepool.server import translate
from tidepool.server.envelope import Unwrapped
from tidepool.server.keeper import Terms
from tidepool.server.snapshots import ImageRef
from tidepool.wire import process as wire
from tidepool.wire.sandbox import CreateSandbox

GIB = 1 << 30


def asked(**fields: Any) -> CreateSandbox:
    """A create request as it comes in."""
    return msgspec.convert(fields, CreateSandbox)


def spec(**fields: Any) -> SandboxSpec:
    return translate.sandbox_spec(asked(**fields), "tenant", "packages", ImageRef())


def result(**fields: Any) -> ExecResult:
    given: dict[str, Any] = {
        "exit_code": 0, "verdict": Verdict.EXITED, "stdout": b"", "stderr": b"", "output": b"",
        "truncated_bytes": 0, "duration_s": 0.0015, "peak_memory_bytes": 7,
    }  # fmt: skip
    return ExecResult(**given | fields)


def test_an_empty_request_means_the_defaults() -> None:
    assert spec() == SandboxSpec(tenant="tenant", network="packages")


def test_what_the_newest_client_sends_by_default_is_accepted() -> None:
    found = spec(env={}, labels={"code-toolbox-language": "python"}, volumes=[], target="anywhere")
    assert found.labels == {"code-toolbox-language": "python"}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"memory": 2, "cpu": 3}, Limits(cpu=3, memory_bytes=2 * GIB)),
        ({"memory": 0.5}, Limits(memory_bytes=GIB // 2)),
        ({"memory": 8, "disk": 2}, Limits(memory_bytes=8 * GIB, disk_bytes=2 * GIB)),
        ({"tidepool": {"memoryBytes": 1 << 28, "pids": 9, "cpu": 0.5}}, Limits(0.5, 1 << 28, pids=9)),
        ({"memory": 4, "tidepool": {"memoryBytes": 1 << 28}}, Limits(memory_bytes=1 << 28)),
        ({"memory": 0, "cpu": 0, "disk": 0}, Limits()),
    ],
)
def test_limits(fields: dict[str, Any], expected: Limits) -> None:
    assert spec(**fields).limits == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "packages"),
        ({"networkBlockAll": True}, "none"),
        ({"networkBlockAll": False}, "packages"),
        ({"tidepool": {"network": "none"}}, "none"),
        ({"networkBlockAll": True, "tidepool": {"network": "none"}}, "none"),
    ],
)
def test_network(fields: dict[str, Any], expected: str) -> None:
    assert spec(**fields).network == expected


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"gpu": 1}, "gpu"),
        ({"kvm": True}, "kvm"),
        ({"linkedSandbox": "x"}, "linkedSandbox"),
        ({"networkAllowList": "8.8.8.8"}, "networkAllowList"),
        ({"domainAllowList": "http://example.com"}, "domainAllowList"),
        ({"outboundProxyUrl": "http://p"}, "outboundProxyUrl"),
        ({"networkBlockAll": True, "tidepool": {"network": "packages"}}, "contradict"),
        ({"user": "postgres"}, "user"),
        ({"name": "../x"}, "name"),
        ({"memory": -1}, "memory"),
        ({"memory": 1e308}, "memory"),
        ({"memory": 0.001}, "memory"),
        ({"cpu": 1e300}, "cpu"),
        ({"tidepool": {"pids": 10**30}}, "pids"),
        ({"env": {"A=B": "x"}}, "env"),
        ({"env": {"A": "x\0"}}, "env"),
        ({"labels": {"a": "x" * 5000}}, "label"),
        ({"tidepool": {"dependencies": ["git+https://x"]}}, "dependency"),
    ],
)
def test_what_is_not_there_or_wrong_is_refused_by_name(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidSpec, match=named):
        spec(**fields)


@pytest.mark.parametrize(
    ("fields", "is_local", "expected"),
    [
        ({}, True, Terms(15, 10_080, 1440)),
        ({}, False, Terms(15, 10_080, -1)),
        ({"autoStopInterval": 3}, False, Terms(auto_stop=3)),
        ({"autoStopInterval": 0}, False, Terms(auto_stop=0)),
        ({"autoArchiveInterval": 0}, False, Terms(auto_archive=0)),
        ({"autoDeleteInterval": 0, "autoStopInterval": 2}, False, Terms(auto_stop=2, auto_delete=0)),
        ({"autoDeleteInterval": 60}, True, Terms(auto_delete=60)),
        ({"autoDeleteInterval": -1}, True, Terms(auto_delete=-1)),
        ({"ttlMinutes": 5}, False, Terms(ttl=5)),
    ],
)
def test_terms(fields: dict[str, Any], is_local: bool, expected: Terms) -> None:
    assert translate.terms(asked(**fields), is_local) == expected


@pytest.mark.parametrize("fields", [{"ttlMinutes": -1}, {"autoStopInterval": -5}, {"ttlMinutes": 10**30}])
def test_minutes_out_of_range_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidSpec, match="minutes"):
        translate.terms(asked(**fields), is_local=True)


@pytest.mark.parametrize(
    ("terms", "state", "seconds", "busy", "expected"),
    [
        (Terms(), State.STARTED, (899, 0, 1e9), False, None),
        (Terms(), State.STARTED, (901, 0, 1e9), False, "stop"),
        (Terms(), State.STARTED, (901, 0, 1e9), True, None),  # a run under way is activity
        (Terms(auto_stop=0), State.STARTED, (1e9, 0, 1e9), False, None),
        (Terms(auto_delete=0), State.STARTED, (901, 0, 901), False, "delete"),
        (Terms(auto_delete=0), State.STARTED, (1, 0, 901), False, None),
        (Terms(auto_delete=1), State.STARTED, (901, 1e9, 901), False, "stop"),
        (Terms(), State.STOPPED, (1e9, 604_799, 1e9), False, None),
        (Terms(), State.STOPPED, (1e9, 604_801, 1e9), False, "archive"),
        (Terms(), State.ARCHIVED, (1e9, 1e9, 1e9), False, None),
        (Terms(auto_archive=0), State.STOPPED, (1e9, 604_801, 1e9), False, None),
        (Terms(auto_delete=1), State.STOPPED, (0, 61, 61), False, "delete"),
        (Terms(auto_delete=1), State.ARCHIVED, (0, 61, 61), False, "delete"),
        (Terms(auto_delete=1), State.ERROR, (0, 61, 61), False, None),
        (Terms(ttl=2), State.STARTED, (0, 0, 119), True, None),
        (Terms(ttl=2), State.STARTED, (0, 0, 121), True, "delete"),  # age counts whatever it does
    ],
)
def test_what_is_due(
    terms: Terms, state: State, seconds: tuple[float, float, float], busy: bool, expected: str | None
) -> None:
    assert terms.due(state, *seconds, busy) == expected


def described(terms: Terms = Terms(), **fields: Any) -> dict[str, Any]:  # noqa: B008 (frozen)
    sandbox = Sandbox(SandboxSpec(**fields))
    body = translate.sandbox_body(sandbox, terms, "http://h/toolbox", ("a wall",), ("another",))
    found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(body))
    return found


def test_a_sandbox_is_described_in_whole_numbers_and_truly_beside_them() -> None:
    body = described(limits=Limits(cpu=0.5, memory_bytes=300 << 20, disk_bytes=10 << 20), network="none")
    assert (body["cpu"], body["memory"], body["disk"]) == (1, 1, 1)
    assert all(type(body[name]) is int for name in ("cpu", "gpu", "memory", "disk"))
    assert body["networkBlockAll"] is True
    ours = body["tidepool"]
    assert (ours["cpu"], ours["memoryBytes"], ours["diskBytes"]) == (0.5, 300 << 20, 10 << 20)
    assert (ours["enforced"], ours["notEnforced"], ours["network"]) == (["a wall"], ["another"], "none")


def test_times_are_told_as_they_are_in_effect() -> None:
    body = described()
    assert (body["autoStopInterval"], body["autoDeleteInterval"]) == (15, -1)
    assert "autoDestroyAt" not in body
    assert "errorReason" not in body
    body = described(Terms(auto_stop=7, auto_delete=0, ttl=60))
    assert (body["autoStopInterval"], body["autoDeleteInterval"]) == (7, 0)
    hour = datetime.fromisoformat(body["autoDestroyAt"]) - datetime.fromisoformat(body["createdAt"])
    assert hour.total_seconds() == 3600
    assert body["createdAt"].endswith("Z")


def test_a_command_and_its_envelope_become_one_run() -> None:
    request = wire.Execute("ignored", cwd="d", timeout=0, envs={"A": "1", "B": "2"})
    plain = translate.execute(request, Unwrapped(command="ls", env={"B": "3"}))
    assert plain == Command(shell="ls", cwd="d", env={"A": "1", "B": "3"})
    code = translate.execute(request, Unwrapped(code="1", language="python", argv=("x",)))
    assert code == CodeRun("1", argv=("x",), cwd="d", env={"A": "1", "B": "2"})


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"command": "x", "code": "y"},
        {"command": "x", "argv": ["y"]},
        {"command": "x", "stdin": "no base64!"},
        {"command": "x", "stdin": "é"},
        {"code": "x", "language": "cobol"},
        {"argv": []},
    ],
)
def test_streams_that_make_no_sense_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidSpec):
        translate.stream_run(msgspec.convert(fields, wire.Stream))


def test_a_stream_takes_its_input_as_base64() -> None:
    assert translate.stream_run(wire.Stream(argv=["cat"], stdin="AP8=")) == Command(
        argv=("cat",), stdin=b"\0\xff"
    )


@pytest.mark.parametrize(
    ("output", "hint", "expected"),
    [
        (b"a\n", "", "a\n"),
        (b"a\n", "H\n", "a\nH\n"),
        (b"a", "H\n", "a\nH\n"),
        (b"", "H\n", "H\n"),
        (b"\xff", "", "\ufffd"),
    ],
)
def test_a_hint_is_a_line_of_its_own_and_only_in_the_result(output: bytes, hint: str, expected: str) -> None:
    body = translate.run_body(result(output=output, stderr=output), hint)
    assert body.result == expected
    assert body.stderr == output.decode(errors="replace")


def test_figures_are_told() -> None:
    body = translate.run_body(result(exit_code=137, verdict=Verdict.OUT_OF_MEMORY, truncated_bytes=3))
    assert (body.exit_code, body.verdict, body.truncated_bytes) == (137, "out_of_memory", 3)
    assert (body.duration_ms, body.peak_memory_bytes) == (1.5, 7)


def test_a_report_says_why() -> None:
    case = TestCase("t.py::test_a", "failed", 0.25, "assert 1 == 2")
    body = translate.tests_body(TestReport(result(exit_code=1), (case,), complete=True))
    assert (body.success, body.reason) == (False, "1 test(s) failed")
    assert (body.tests[0].node_id, body.tests[0].duration_ms) == ("t.py::test_a", 250)
    assert body.verdict_basis == "in_process"


def entry(**fields: Any) -> FileInfo:
    given: dict[str, Any] = {
        "path": "d/f", "name": "f", "is_dir": False, "is_symlink": False, "size": 3, "mode": 0o644,
        "modified_at": 0.0, "uid": 1000, "gid": 1000,
    }  # fmt: skip
    return FileInfo(**given | fields)


@pytest.mark.parametrize(
    ("fields", "mode", "permissions"),
    [
        ({}, "-rw-r--r--", "0644"),
        ({"is_dir": True, "mode": 0o755}, "drwxr-xr-x", "0755"),
        ({"is_symlink": True, "mode": 0o777}, "lrwxrwxrwx", "0777"),
        ({"mode": 0o4755}, "-rwsr-xr-x", "4755"),
    ],
)
def test_modes_are_told_in_both_ways(fields: dict[str, Any], mode: str, permissions: str) -> None:
    body = translate.file_body(entry(**fields))
    assert (body.mode, body.permissions) == (mode, permissions)


def test_a_path_is_told_only_where_it_was_asked_for() -> None:
    assert b'"path"' not in msgspec.json.encode(translate.file_body(entry()))
    assert b'"path":"d/f"' in msgspec.json.encode(translate.file_body(entry(), with_path=True))


@pytest.mark.parametrize(
    "seconds", [1e300, -1e300, float("inf"), float("nan"), -62135596801.0, 253402300800.0]
)
def test_a_files_time_may_be_anything_its_owner_likes(seconds: float) -> None:
    said = translate.file_body(entry(modified_at=seconds)).modified_at
    assert said.endswith("Z")
    assert datetime.fromisoformat(said).tzinfo == UTC
