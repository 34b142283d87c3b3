"""The shipped example traces: enough of them, really recorded, and still true when they are run again."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from sea.ingest import read_traces
from tests.journeys.conftest import run_script
from tests.sdk.conftest import LocalPlace
from tests.style.source import ROOT

pytestmark = pytest.mark.thorough

TRACES = ROOT / "examples/traces"
BROKEN = ROOT / "examples/broken"


def test_there_are_enough_tasks_of_enough_kinds() -> None:
    intake = read_traces([TRACES])
    assert intake.skipped == []
    kinds = {trace.task_id: trace.source.partition(".")[0] for trace in intake.traces}
    per_kind = Counter(kinds.values())
    assert per_kind.pop("retries") == 1  # five traces, one task
    assert len(per_kind) >= 8
    assert min(per_kind.values()) >= 9
    assert per_kind.total() >= 72


def test_the_page_counts_right() -> None:
    page = (ROOT / "docs/example-traces.md").read_text()
    for file in sorted(TRACES.glob("*.jsonl")):
        intake = read_traces([file])
        row = next(line for line in page.splitlines() if line.startswith(f"| {file.stem} |"))
        assert row.endswith(f"| {intake.tasks} | {len(intake.traces)} |")


def test_no_two_programs_are_alike() -> None:
    codes = [step.code for trace in read_traces([TRACES]).traces for step in trace.steps]
    assert len(set(codes)) == len(codes)


@pytest.mark.timeout(120)
def test_every_recorded_output_reproduces(home: LocalPlace) -> None:
    ran = run_script(home, "examples/record.py", "--check")
    count = len(read_traces([TRACES]).traces)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, f"{count} of {count} programs reproduced\n", "")


def test_a_record_that_is_not_true_is_found(home: LocalPlace, tmp_path: Path) -> None:
    copy = tmp_path / "examples"
    for part in ("record.py", "tasks/retries", "traces/retries.jsonl"):
        (copy / part).parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if part == "tasks/retries" else shutil.copy)(ROOT / "examples" / part, copy / part)
    file = copy / "traces/retries.jsonl"
    false, stale, *_, last = map(json.loads, file.read_text().splitlines())
    false["execution_flow"][1]["content"] = "856\n"
    stale["execution_flow"][0]["content"] += "print(1)\n"
    gone = {**last, "id": "retries/attempt_99"}
    file.write_text("\n".join(map(json.dumps, (false, stale, gone, last))) + "\n")
    ran = subprocess.run(
        [sys.executable, str(copy / "record.py"), "--check"],
        env=home.environment,
        capture_output=True,
        text=True,
        timeout=55,
    )
    assert ran.returncode == 1
    for sentence in (
        "retries/attempt_1 printed '855\\n', recorded is '856\\n'",
        "retries/attempt_2 was changed after it was recorded",
        "retries/attempt_3 is not recorded",
        "retries/attempt_99 is recorded, but its program is gone",
    ):
        assert sentence in ran.stderr
    assert "retries/attempt_5" not in ran.stderr


def test_bad_records_are_named_with_their_line(home: LocalPlace) -> None:
    ran = run_script(
        home, "scripts/run_atc_evolution.py", BROKEN / "not_json.jsonl", BROKEN / "skipped.jsonl"
    )
    said = ran.stdout + ran.stderr
    for place in ("not_json.jsonl:2", "skipped.jsonl:2", "skipped.jsonl:3", "skipped.jsonl:4"):
        assert place in said
    assert "Traceback" not in said


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_demo_makes_a_library_and_leaves_nothing_else(home: LocalPlace) -> None:
    before = set(home.base.iterdir())
    ran = subprocess.run(
        [str(ROOT / "scripts/demo")],
        env={**home.environment, "TMPDIR": str(home.base)},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert ran.returncode == 0, ran.stderr
    assert "traces    122 of 118 tasks" in ran.stdout
    assert "as recorded" in ran.stdout
    assert (ROOT / "build/demo-library/index.json").is_file()
    assert set(home.base.iterdir()) == before
