"""The bench says what is missing, prints what it has, and its small parts count what they say."""

import gzip
import itertools
import json

import pytest
from click.testing import CliRunner

from sea import patterns
from sea.bench import compression, population, scale
from sea.bench.rows import Row, Setting, table
from sea.cli import main
from sea.ingest import BadInput
from sea.trace import Step, Trace


def test_data_that_is_not_there_is_one_sentence(tmp_path):
    ended = CliRunner().invoke(main, ["bench", "--data", str(tmp_path / "none")])
    assert ended.exit_code == 1
    assert "there is no such folder, so nothing was measured" in ended.output
    with pytest.raises(BadInput, match=r"no gate\.gz"):
        Setting(tmp_path).file("gate.gz")


def test_an_unknown_metric_is_named(tmp_path):
    ended = CliRunner().invoke(main, ["bench", "--data", str(tmp_path), "--only", "M7"])
    assert ended.exit_code == 2
    assert "M7 is none of" in ended.output


def test_the_table_says_what_is_met():
    rows = [Row("M1", "a", "1", "2", "3", True), Row("M2", "b", "1", "2", "3", False)]
    lines = table([*rows, Row("M3", "c", "-", "2", "3", None)]).splitlines()
    assert [line.split()[-1] for line in lines] == ["met", "yes", "NO", "-"]


def test_macros_that_follow_the_data_are_a_row(tmp_path):
    place = tmp_path / "tau_airline"
    place.mkdir()
    with gzip.open(place / "gpt-4o-airline.jsonl.gz", "wt") as out:
        for task in range(40):
            names = ("find", "book")
            calls = [
                {"role": "assistant", "tool_calls": [{"id": n, "function": {"name": n, "arguments": "{}"}}]}
                for n in names
            ]
            out.write(json.dumps({"task_id": task, "messages": calls}) + "\n")
    ended = CliRunner().invoke(main, ["bench", "--data", str(tmp_path), "--only", "M11"])
    assert ended.exit_code == 0
    assert "tau_airline" in ended.output
    assert "2.00, 100% bound" in ended.output


def test_changed_traces_differ_and_are_the_same_for_a_seed():
    traces = [Trace("a", "a", "a", (Step("n = 3\nans = n * 4", answer="12", result_name="ans"),))]
    one, two, other = (
        [trace.steps[0].code for trace in itertools.islice(scale.changed_traces(traces, seed), 20)]
        for seed in (1, 1, 2)
    )
    assert one == two != other
    assert len(set(one)) > 15
    assert all(code.endswith(tuple("0123456789")) and "ans = n_" in code for code in one)


def test_the_trivial_miner_counts_whole_programs():
    codes = [f"a = {n}\nb = {n * 7}\nans = a * b + a" for n in range(9)]
    sources = patterns.load(
        Trace(f"{n}", f"{n}", f"{n}", (Step(code, answer="0", result_name="ans"),))
        for n, code in enumerate(codes)
    )
    found = compression.floor(sources[:5], sources[5:])
    assert (found.tools, found.rewritten) == (1, 4)
    assert found.after < found.before


def test_arguments_come_in_the_order_of_the_parameters():
    code = "def f(second, first, *rest):\n    return second - first - len(rest)\n"
    assert population._arguments(code, {"first": "1", "rest": "[7, 8]", "second": "9"}) == (9, 1, 7, 8)
