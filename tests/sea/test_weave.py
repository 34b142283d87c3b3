"""Weave live: its real client against a server here that speaks what is used of the trace server's protocol."""

import base64
import importlib
import importlib.util
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from sea import observe, weave_live
from sea.ingest import BadInput, read_traces
from sea.trace import Trace
from sea.watch import intakes, stamps
from tests.conftest import Server
from tests.sea.conftest import records

pytestmark = [pytest.mark.thorough, pytest.mark.timeout(180)]
needs_weave = pytest.mark.skipif(
    importlib.util.find_spec("weave") is None, reason="the weave package is not installed"
)
KEY = "k" + "0123456789abcdef" * 2
LOGIN = "Basic " + base64.b64encode(f"api:{KEY}".encode()).decode()
PROJECT = "weave://team/solvers"
Call = dict[str, Any]


@dataclass
class Weave:
    """What the server holds, what it was asked and sent, and how it is to misbehave."""

    url: str = ""
    calls: list[Call] = field(default_factory=list)
    asked: list[Call] = field(default_factory=list)
    sent: list[list[Call]] = field(default_factory=list)
    late: list[Call] = field(default_factory=list)
    """Calls that come once a page was given."""
    answer: tuple[int, bytes] | None = None
    deaf_to_offset: bool = False
    silent: threading.Event | None = None
    """Nothing is answered before it is set."""

    def page(self, asked: Call) -> list[Call]:
        """The calls that a query chooses, in its order."""
        chosen = asked.get("filter") or {}
        found = [call for call in self.calls if call["project_id"] == asked["project_id"]]
        if chosen.get("trace_roots_only"):
            found = [call for call in found if call["parent_id"] is None]
        if "trace_ids" in chosen:
            found = [call for call in found if call["trace_id"] in chosen["trace_ids"]]
        for order in reversed(asked["sort_by"]):
            down = order["direction"] == "desc"
            found.sort(key=lambda call, by=order["field"]: call.get(by) or "", reverse=down)
        start = 0 if self.deaf_to_offset else asked.get("offset", 0)
        return found[start : start + asked["limit"]]


class _Handler(BaseHTTPRequestHandler):
    weave: Weave

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        weave, login = self.weave, self.headers["Authorization"]
        if weave.silent is not None:
            weave.silent.wait(60)
        if weave.answer is not None:
            status, text = weave.answer
            self._answer(status, text.replace(b"LOGIN", login.encode()))
        elif login != LOGIN:
            self._answer(401, json.dumps({"reason": f"no such key: {login}"}).encode())
        elif self.path == "/calls/stream_query":
            weave.asked.append(body)
            self._answer(200, "".join(json.dumps(call) + "\n" for call in weave.page(body)).encode())
            weave.calls, weave.late = weave.calls + weave.late, []
        elif self.path == "/v2/team/sink/calls/complete":
            weave.sent.append(body["batch"])
            self._answer(200, b"{}")
        else:
            self._answer(404, b"{}")

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("retry-after-ms", "1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing is printed."""


@pytest.fixture
def weave(monkeypatch: pytest.MonkeyPatch) -> Iterator[Weave]:
    held = Weave()
    http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"weave": held}))
    held.url = f"http://127.0.0.1:{http.server_port}"
    thread = threading.Thread(target=http.serve_forever, args=(0.05,))
    thread.start()
    settings = {"WF_TRACE_SERVER_URL": held.url, "WANDB_API_KEY": KEY, "NO_PROXY": "127.0.0.1"}
    for name, value in (settings | {"WANDB_ERROR_REPORTING": "false"}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("SEA_WEAVE", raising=False)
    try:
        yield held
    finally:
        if held.silent is not None:
            held.silent.set()
        http.shutdown()
        thread.join()
        http.server_close()


def run(number: int, *codes: tuple[str, str]) -> list[Call]:
    """The calls of one solver's run: the root, a model, and a program for each code and output."""
    trace, begun = f"run-{number:03}", f"2026-01-01T{number // 60:02}:{number % 60:02}"
    shared = {"project_id": "team/solvers", "trace_id": trace, "attributes": {}, "summary": {}}
    root = {"id": f"{trace}-root", "parent_id": None, "op_name": "weave:///team/solvers/op/solve:a1"}
    times = {"started_at": f"{begun}:00.000000Z", "ended_at": f"{begun}:59.000000Z"}
    calls = [shared | root | times | {"inputs": {"problem": f"Task {number}"}, "output": "done"}]
    inner = [("openai.chat.completions.create", {}, {"choices": []})]
    inner += [("python", {"code": code}, output) for code, output in codes]
    for place, (name, inputs, output) in enumerate(inner):
        own = {"id": f"{trace}-{place}", "parent_id": root["id"], "inputs": inputs, "output": output}
        times = {
            "started_at": f"{begun}:{place + 1:02}.500000Z",
            "ended_at": f"{begun}:{place + 2:02}.000000Z",
        }
        calls.append(shared | own | times | {"op_name": f"weave:///team/solvers/op/{name}:b2"})
    return calls


def runs(count: int) -> list[Call]:
    return [
        call for number in range(count) for call in run(number, (f"print({number} + 1)", str(number + 1)))
    ]


def exported(place: Path, calls: list[Call]) -> list[Trace]:
    """What the reader of files makes of the same calls."""
    file = place / "export.jsonl"
    file.write_text("".join(json.dumps(call) + "\n" for call in sorted(calls, key=lambda c: c["started_at"])))
    return unplaced(read_traces([file]).traces)


def unplaced(traces: list[Trace]) -> list[Trace]:
    return [replace(trace, source="") for trace in traces]


def sea(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("sea")), *map(str, arguments)]
    return subprocess.run(
        command,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@needs_weave
@pytest.mark.parametrize("spelling", [PROJECT, Path(PROJECT)], ids=["text", "path"])
def test_traces_are_those_of_an_export_of_the_same_calls(
    weave: Weave, tmp_path: Path, spelling: str | Path
) -> None:
    weave.calls = runs(5)
    found = read_traces([spelling])
    assert unplaced(found.traces) == exported(tmp_path, weave.calls)
    assert [step.output for trace in found.traces for step in trace.steps] == list("12345")
    assert found.traces[0].source == f"{PROJECT}#run-000-root"


@needs_weave
def test_many_calls_come_in_pages(weave: Weave, tmp_path: Path) -> None:
    weave.calls = runs(weave_live.PAGE // 2)  # three calls each: a page and a half
    assert unplaced(read_traces([PROJECT]).traces) == exported(tmp_path, weave.calls)
    assert [(asked["offset"], asked["limit"]) for asked in weave.asked] == [
        (0, weave_live.PAGE),
        (weave_live.PAGE, weave_live.PAGE),
    ]


@needs_weave
def test_a_call_that_moves_to_the_next_page_is_read_once(weave: Weave, tmp_path: Path) -> None:
    weave.late = run(0, ("print(1)", "1"))
    weave.calls = [call for call in runs(weave_live.PAGE // 2) if call["trace_id"] != "run-000"]
    expected = exported(tmp_path, weave.calls)
    assert unplaced(read_traces([PROJECT]).traces) == expected


@needs_weave
def test_a_limit_bounds_what_is_fetched_and_cuts_no_trace(weave: Weave, tmp_path: Path) -> None:
    weave.calls = runs(300)
    found = read_traces([PROJECT], limit=60)
    assert unplaced(found.traces) == exported(tmp_path, weave.calls)[:60]
    fetched = sum(len(weave.page(asked)) for asked in weave.asked)
    assert fetched == 60 + 60 * 3
    weave.asked.clear()
    file = tmp_path / "export.jsonl"
    assert len(read_traces([file, PROJECT], limit=300).traces) == 300
    assert weave.asked == []


@needs_weave
def test_calls_are_in_the_order_of_their_times_however_these_are_written(weave: Weave) -> None:
    weave.calls = run(0, ("first = 1", ""), ("second = 2", ""))
    weave.calls[2]["started_at"] = "2026-01-01T01:00:02+01:00"
    weave.calls[3]["started_at"] = "2026-01-01T00:00:02.25Z"
    (trace,) = read_traces([PROJECT]).traces
    assert [step.code for step in trace.steps] == ["first = 1", "second = 2"]


@needs_weave
def test_a_malformed_call_is_named_and_the_others_are_read(weave: Weave) -> None:
    bad = {"project_id": "team/solvers", "parent_id": None, "started_at": "2026-01-01T00:00:30Z"}
    weave.calls = [*runs(2), bad | {"id": "odd"}, bad | {"note": "without an id"}]
    found = read_traces([PROJECT])
    assert len(found.traces) == 2
    assert {sentence.split(": ")[0] for sentence in found.skipped} == {f"{PROJECT}#odd", f"{PROJECT}#None"}


REFUSALS = {
    "wrong key": (None, "does not accept the key in WANDB_API_KEY for this project (status 401)"),
    "no project": ((404, b"{}"), "has no such project, or is no Weave server (status 404)"),
    "broken": ((500, b'{"reason": "LOGIN"}'), "answered with status 500; try again later"),
    "html": ((200, b"<html>LOGIN</html>"), "answers with what are no calls (JSONDecodeError)"),
    "list": ((200, b'["LOGIN"]\n'), "answers with what are no calls (TypeError)"),
    "cut": ((200, b'{"id": "LOGIN", "op'), "answers with what are no calls (JSONDecodeError)"),
}


@needs_weave
@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_or_nonsense_is_one_sentence_without_the_key(
    weave: Weave, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    weave.answer, sentence = REFUSALS[name]
    key = "another" if name == "wrong key" else KEY
    monkeypatch.setenv("WANDB_API_KEY", key)
    with pytest.raises(BadInput) as caught:
        read_traces([PROJECT])
    assert str(caught.value) == f"{PROJECT}: cannot be read: {weave.url} {sentence}"
    assert caught.value.__cause__ is None
    if name in ("wrong key", "broken"):
        ended = sea("evolve", PROJECT, "--library", tmp_path / "tools")
        assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", f"Error: {caught.value}\n")
        assert not (tmp_path / "tools").exists()


@needs_weave
def test_a_server_that_gives_one_page_for_ever_is_no_endless_loop(weave: Weave) -> None:
    weave.calls, weave.deaf_to_offset = runs(weave_live.PAGE // 3 + 1), True
    with pytest.raises(BadInput, match="no calls"):
        read_traces([PROJECT])


@needs_weave
def test_a_server_that_is_not_there_is_one_sentence(weave: Weave, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WF_TRACE_SERVER_URL", "http://user:secret@127.0.0.1:1/")
    with pytest.raises(BadInput, match=r"http://127.0.0.1:1 cannot be reached: ConnectError: .*refused"):
        read_traces([PROJECT])
    monkeypatch.setenv("WF_TRACE_SERVER_URL", "no address")
    with pytest.raises(BadInput, match="no address cannot be reached: UnsupportedProtocol"):
        read_traces([PROJECT])


@pytest.mark.parametrize("given", ["weave://", "weave://team", "weave://team/solvers/more"])
def test_what_names_no_project_is_said(given: str) -> None:
    with pytest.raises(BadInput, match="names no project; write ENTITY/PROJECT"):
        read_traces([given])


def test_without_a_key_in_the_environment_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text(f"machine api.wandb.ai login user password {KEY}\n")
    for more in ((), ("--watch", "1")):
        ended = sea(
            "evolve", PROJECT, "--library", tmp_path / "tools", *more, WANDB_API_KEY="", HOME=str(tmp_path)
        )
        assert ended.returncode == 1
        said = ended.stderr.splitlines()[-1]
        assert said.startswith(f"Error: {PROJECT}: cannot be read: WANDB_API_KEY is not set; ")
    assert not (tmp_path / "tools" / "index.json").exists()


def test_without_the_package_is_one_sentence_for_the_source_and_for_the_sink(tmp_path: Path) -> None:
    blocked = "import sys; sys.modules['weave'] = None; from sea.cli import main; main()"
    environment = os.environ | {"WANDB_API_KEY": KEY, "SEA_WEAVE": "team/sink"}
    command = [sys.executable, "-c", blocked, "evolve", PROJECT, "--library", str(tmp_path / "tools")]
    ended = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path
    )
    assert ended.returncode == 1
    source, sink = sorted(ended.stderr.splitlines())
    assert source.startswith(
        f"Error: {PROJECT}: cannot be read: the weave package is missing (No module named 'weave"
    )
    assert sink.startswith(
        "weave://team/sink: spans are not sent: the weave package is missing (No module named 'weave"
    )
    assert source.endswith("; pip install 'tidepool[weave]'")


def test_importing_sea_leaves_weave_alone() -> None:
    asked = (
        "import sys, sea.cli, sea.mcp_server; print([m for m in sys.modules if m.split('.')[0] == 'weave'])"
    )
    assert subprocess.check_output([sys.executable, "-c", asked], text=True, timeout=60) == "[]\n"


@needs_weave
def test_the_package_reports_no_errors_elsewhere_unless_told_to(weave: Weave) -> None:
    asked = (
        "from sea.ingest import read_traces; import contextlib\n"
        f"with contextlib.suppress(Exception): read_traces(['{PROJECT}'])\n"
        "from weave.telemetry.trace_sentry import global_trace_sentry as sentry; print(sentry._disabled)"
    )
    environment = {name: value for name, value in os.environ.items() if name != "WANDB_ERROR_REPORTING"}
    command = [sys.executable, "-c", asked]
    assert subprocess.check_output(command, env=environment, text=True, timeout=60) == "True\n"


@needs_weave
def test_the_project_that_spans_go_to_is_no_source(weave: Weave, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEA_WEAVE", "team/solvers")
    with pytest.raises(BadInput, match="SEA_WEAVE sends the calls of sea itself to this project"):
        read_traces([PROJECT])


@needs_weave
def test_a_watched_project_is_read_again_when_a_call_is_new_or_has_ended(weave: Weave) -> None:
    weave.calls = runs(1)
    said: list[str] = []
    looks = intakes([PROJECT], 0.01, said.append)
    assert len(next(looks).traces) == 1
    root, *rest = run(1, ("print(2)", "2"))
    before = stamps([PROJECT])
    weave.calls += [root | {"ended_at": None, "output": None}, *rest]
    assert stamps([PROJECT]) != before
    assert len(next(looks).traces) == 2
    before = stamps([PROJECT])
    weave.calls = [*runs(1), root, *rest]
    assert stamps([PROJECT]) != before
    assert stamps([PROJECT]) == stamps([PROJECT])
    assert said == []


@needs_weave
def test_a_watched_project_that_cannot_be_read_is_said_once_and_the_watch_goes_on(weave: Weave) -> None:
    weave.calls, weave.answer = runs(1), (500, b"LOGIN")
    said: list[str] = []
    timer = threading.Timer(0.5, lambda: setattr(weave, "answer", None))
    timer.start()
    try:
        assert len(next(intakes([PROJECT], 0.01, said.append)).traces) == 1
    finally:
        timer.join()
    assert said == [f"{PROJECT}: cannot be read: {weave.url} answered with status 500; try again later"]


@needs_weave
def test_evolve_reads_live_and_sends_its_stages_with_their_parents(
    server: Server, weave: Weave, tmp_path: Path
) -> None:
    weave.calls = [
        call for number, one in enumerate(records()) for call in run(number, (one["code"], one["output"]))
    ]
    tools = tmp_path / "tools"
    tools.mkdir()  # the log has nothing of a run before its directory is there
    ended = sea("evolve", PROJECT, "--library", tools, SEA_WEAVE="team/sink", **server.environment)
    assert ended.returncode == 0, ended.stderr
    assert "traces    36 of 36 tasks" in ended.stdout
    log = (tools / "events.jsonl").read_text()
    for secret in (KEY, LOGIN.split()[1]):
        assert secret not in ended.stdout + ended.stderr + log
    spans = {span["id"]: span for span in map(json.loads, log.splitlines())}
    sent = {call["id"]: call for batch in weave.sent for call in batch}
    named = {span["span"]: weave_live._id(number) for number, span in spans.items()}
    assert sent.keys() == {weave_live._id(number) for number in spans}
    assert {call["op_name"] for call in sent.values()} >= {"evolve", "ingest", "mine", "gate", "admit"}
    form = TypeAdapter(
        importlib.import_module("weave.vendor.weave_server_sdk.types.v2_call_complete_params").Batch
    )
    for number, span in spans.items():
        form.validate_python(sent[weave_live._id(number)], extra="forbid")
        call = sent[weave_live._id(number)]
        assert call["parent_id"] == (None if span["span"] == "evolve" else named["evolve"])
        assert call["trace_id"] == named["evolve"]
        assert (call["op_name"], call["attributes"]) == (span["span"], span["attributes"])
        assert call["started_at"] <= call["ended_at"]


@needs_weave
def test_a_dead_sink_is_said_once_and_fails_nothing(server: Server, weave: Weave, tmp_path: Path) -> None:
    file = tmp_path / "few.jsonl"
    file.write_text("".join(json.dumps(one) + "\n" for one in records()[:3]))
    weave.url = "http://127.0.0.1:1"
    environment = server.environment | {"SEA_WEAVE": "team/sink", "WF_TRACE_SERVER_URL": weave.url}
    ended = sea("evolve", file, "--library", tmp_path / "tools", **environment)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.count("spans are not sent: http://127.0.0.1:1 cannot be reached") == 1
    spans = [
        json.loads(line)["span"] for line in (tmp_path / "tools" / "events.jsonl").read_text().splitlines()
    ]
    assert spans[-1] == "evolve"


@needs_weave
@pytest.mark.parametrize("name", ["wrong key", "broken", "silent"])
def test_a_sink_that_refuses_or_is_silent_holds_nothing_up(
    weave: Weave,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    observe._tell.cache_clear()
    monkeypatch.setattr(weave_live, "_FLUSH_S", 2.0)
    monkeypatch.setenv("SEA_WEAVE", "weave://team/sink")
    if name == "wrong key":
        monkeypatch.setenv("WANDB_API_KEY", "another")
    elif name == "broken":
        weave.answer = (500, b"LOGIN")
    else:
        weave.silent = threading.Event()
    begun = time.monotonic()
    for _ in range(2):
        with observe.logged(tmp_path / "events.jsonl"), observe.span("outer"), observe.span("inner"):
            pass
    assert time.monotonic() - begun < 6
    if weave.silent is not None:  # what it says at last is no second sentence
        weave.answer = (500, b"")
        weave.silent.set()
        for thread in threading.enumerate():
            if thread.name == "weave-sink":
                thread.join()
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1, said
    why = "some spans were not sent" if name == "silent" else f"spans are not sent: {weave.url} "
    assert said[0].startswith(f"weave://team/sink: {why}")
    assert KEY not in said[0]
    assert len((tmp_path / "events.jsonl").read_text().splitlines()) == 4


@needs_weave
def test_a_span_that_ends_with_an_error_is_a_call_that_does(
    weave: Weave, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEA_WEAVE", "team/sink")
    with observe.logged(tmp_path / "events.jsonl"), observe.span("outer", what=tmp_path):
        for _ in range(2):
            with pytest.raises(KeyError), observe.span("inner"):
                raise KeyError("gone")
    *inner, outer = [call for batch in weave.sent for call in batch]
    assert outer["attributes"] == {"what": str(tmp_path)}
    assert (outer["exception"], outer["parent_id"], outer["trace_id"]) == (None, None, outer["id"])
    assert [(c["exception"], c["parent_id"], c["op_name"]) for c in inner] == [
        ("KeyError: 'gone'", outer["id"], "inner")
    ] * 2
    assert inner[0]["id"] != inner[1]["id"]
