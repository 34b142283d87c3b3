"""Traces to a library in one run: validated tools, the same bytes for the same seed, nothing without a sandbox."""

import ast
import importlib
import itertools
import json
import os
import socket
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from daytona_sdk import Daytona, DaytonaConfig
from sea.box import Box, NoSandbox
from sea.evolve import Funnel, canonical, drop_duplicates, evolve, split
from sea.ingest import BadInput
from sea.library import Library
from sea.trace import Step, Trace
from sea.verify import GATES, Candidate, Verdict
from tests.sea.conftest import EXAMPLES, records
from tests.sea.specs import specification

pytestmark = pytest.mark.timeout(300)


def contents(directory: Path) -> dict[str, bytes]:
    return {str(p.relative_to(directory)): p.read_bytes() for p in directory.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def dead_box() -> Box:
    """A box whose server is not there."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    return Box(Daytona(DaytonaConfig(api_key="none", api_url=f"http://127.0.0.1:{port}/api")))


def test_traces_become_tools_that_passed_every_gate(evolved):
    funnel, library = evolved
    assert not funnel.intake.skipped
    assert library.names() == sorted(candidate.spec.name for candidate, _ in funnel.admitted)
    assert library.names()
    for name in library.names():
        evidence = library.evidence(name)
        assert [gate["gate"] for gate in evidence["gates"]] == list(GATES)
        assert all(gate["passed"] for gate in evidence["gates"])
        assert evidence["support"] == len(evidence["tasks"]) >= 3
        assert evidence["held_out_tasks"]
        assert not set(evidence["held_out_tasks"]) & set(evidence["tasks"])


def test_traces_are_taken_in_one_order_whatever_line_they_were_read_from():
    def read(codes: list[str]) -> list[Trace]:
        return [
            Trace(f"line-{line}", f"t{code[-1]}", f"some.jsonl:{line}", (Step(code),))
            for line, code in enumerate(codes)
        ]

    codes = ["ans = 1 + 2", "ans = 2 + 2", "ans = 5 - 2", "ans = 1 + 3"]
    orders = {tuple(t.steps for t in canonical(read(list(p)))) for p in itertools.permutations(codes)}
    assert len(orders) == 1


@pytest.mark.thorough
def test_the_same_seed_gives_the_same_bytes(evolved, box, traces, tmp_path):
    again = Library(tmp_path / "tools")
    evolve([traces], again, box=box)
    assert contents(again.directory) == contents(evolved[1].directory)


@pytest.mark.slow
def test_the_shipped_examples_become_tools(box, tmp_path):
    funnel = evolve([EXAMPLES], Library(tmp_path / "tools"), box=box)
    assert not funnel.intake.skipped
    assert funnel.admitted


def test_tools_are_imported_as_they_lie(evolved):
    library = evolved[1]
    parent = str(library.directory.parent)
    sys.path.insert(0, parent)
    try:
        package = importlib.import_module(library.directory.name)
    finally:
        sys.path.remove(parent)
    for name in library.names():
        tool = getattr(package, name)
        spec = json.loads((library.directory / name / "spec.json").read_text())
        assert list(tool.__annotations__) == [*(p["name"] for p in spec["input_parameters"]), "return"]
        assert "Args:" in tool.__doc__


def test_no_sandbox_no_library(dead_box, traces, tmp_path):
    with pytest.raises(NoSandbox, match="nothing was run"):
        evolve([traces], Library(tmp_path / "tools"), box=dead_box)
    assert not (tmp_path / "tools").exists()


def test_no_sandbox_leaves_an_old_library_alone(evolved, dead_box, traces):
    before = contents(evolved[1].directory)
    with pytest.raises(NoSandbox):
        evolve([traces], evolved[1], box=dead_box)
    assert contents(evolved[1].directory) == before


def test_thirty_traces_of_one_task_become_nothing(box, tmp_path):
    lines = [
        json.dumps(
            {"task": "one", "id": str(n), "code": f"p = {n}\nprint(p * p + 7 * p - 2)", "output": str(n)}
        )
        for n in range(30)
    ]
    (tmp_path / "t.jsonl").write_text("\n".join(lines))
    funnel = evolve([tmp_path / "t.jsonl"], Library(tmp_path / "tools"), box=box)
    assert (len(funnel.intake.traces), funnel.patterns, funnel.admitted) == (30, [], [])


@pytest.mark.thorough
def test_computations_that_differ_by_a_constant_are_one_tool_that_keeps_what_both_recorded(box, tmp_path):
    lines = []
    for n in range(24):
        rate, price, count = (19, 7)[n % 2], 100 + 37 * n, n + 3
        code = (
            f"price = {price}\ncount = {count}\nprint((price * count * {rate} // 100 + count) * (price - 4))"
        )
        value = (price * count * rate // 100 + count) * (price - 4)
        lines.append(json.dumps({"task": f"tax {n}", "code": code, "output": str(value)}))
    (tmp_path / "t.jsonl").write_text("\n".join(lines))
    funnel = evolve([tmp_path / "t.jsonl"], Library(tmp_path / "tools"), box=box)
    ((candidate, _),) = funnel.admitted
    rates = {value for example in candidate.spec.examples for value in example.arguments if value in (19, 7)}
    assert rates == {19, 7}
    assert "19" not in ast.unparse(ast.Module(list(candidate.spec.body), []))


@pytest.mark.thorough
@pytest.mark.parametrize(("wrong", "admitted"), [(0, True), (1, False)])
def test_one_program_that_gives_something_else_turns_a_tool_away(box, tmp_path, wrong, admitted):
    """The control differs from the attack in one recorded value."""
    lines = []
    for n, record in enumerate(records()[:24]):
        given = int(record["output"]) + (wrong if n % 8 == 0 else 0)
        lines.append(json.dumps(record | {"output": str(given)}))
    (tmp_path / "t.jsonl").write_text("\n".join(lines))
    funnel = evolve([tmp_path / "t.jsonl"], Library(tmp_path / "tools"), box=box)
    assert bool(funnel.admitted) is admitted
    if not admitted:
        assert any("recorded is" in candidate.reason for candidate, _ in funnel.candidates)


def test_a_missing_file_changes_nothing(box, tmp_path):
    with pytest.raises(BadInput, match="no such file"):
        evolve([tmp_path / "nowhere.jsonl"], Library(tmp_path / "tools"), box=box)
    assert os.listdir(tmp_path) == []


def test_a_task_is_on_one_side_only():
    traces = [Trace(str(n), f"task-{n % 40}", "f:1", ()) for n in range(200)]
    train, held_out = split(traces, 7)
    assert not {t.task_id for t in train} & {t.task_id for t in held_out}
    assert len(train) + len(held_out) == 200
    assert split(traces, 7) == (train, held_out)
    assert split(traces, 8) != (train, held_out)


@pytest.mark.parametrize(
    ("body", "stays"), [("return price + price + 1", False), ("return price * 3 + 1", True)]
)
def test_of_two_tools_that_do_the_same_the_one_that_saves_less_goes(box, evolved, body, stays):
    pattern = evolved[0].patterns[0]
    funnel = Funnel(evolved[0].intake)
    for name, text, saving in (("less", body, 10), ("more", "return price * 2 + 1", 20)):
        spec = replace(specification(text, ((3, 7), (5, 11))), name=name)
        verdicts = [Verdict(gate, True, "") for gate in GATES]
        funnel.candidates.append((Candidate(spec, [], [], verdicts), replace(pattern, saving=saving)))
    said: list[str] = []
    drop_duplicates(funnel, box, said.append)
    less, more = (candidate for candidate, _ in funnel.candidates)
    assert more.admitted
    assert less.admitted is stays
    if not stays:
        assert "duplicates: it does what more does, on" in less.reason
        assert said == [f"  less: turned away: {less.reason}"]


def test_the_original_of_a_mined_tool_is_the_trace_s_own_text(evolved):
    originals = [candidate.original for candidate, _ in evolved[0].candidates]
    assert any(original is not None and "price" in original.code for original in originals)
