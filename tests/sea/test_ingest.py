"""Reading traces: what cannot be used is named with file and line and skipped; what is missing is a sentence."""

import gzip
import json
from pathlib import Path

import pytest

from sea.ingest import BadInput, read_traces

GOOD = {"id": "a", "task": "one", "code": "print(1)", "output": "1\n"}


def written(path: Path, *lines: object) -> Path:
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    return path


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{not json", "not JSON"),
        ("[1, 2]", "not an object but list"),
        ({"colour": "red"}, "no known trace shape; its keys are colour"),
        ({"code": "print((", "task": "t"}, "does not parse"),
        ({"code": "print(1)\x00", "task": "t"}, "does not parse"),
        ({"code": "x", "replay": None, "recorded": 1, "task": "t"}, "malformed"),
        ({"problem": "p", "execution_flow": [], "solution": "words only"}, "holds no Python code"),
    ],
)
def test_a_bad_record_is_named_and_skipped(tmp_path, line, why):
    found = read_traces([written(tmp_path / "t.jsonl", GOOD, line, GOOD | {"id": "b"})])
    assert [trace.id for trace in found.traces] == ["a", "b"]
    assert len(found.skipped) == 1
    assert found.skipped[0].startswith("t.jsonl:2: ")
    assert why in found.skipped[0]


def test_a_record_gives_its_task_code_output_and_place(tmp_path):
    trace = read_traces([written(tmp_path / "t.jsonl", GOOD)]).traces[0]
    assert (trace.task_id, trace.source) == ("one", "t.jsonl:1")
    assert (trace.steps[0].code, trace.steps[0].output) == ("print(1)", "1")


def test_without_a_task_the_problem_s_text_is_the_task(tmp_path):
    lines = [{"code": "print(1)", "problem": text} for text in ("How  many?", "How many?", "Which?")]
    assert read_traces([written(tmp_path / "t.jsonl", *lines)]).tasks == 2


@pytest.mark.parametrize("wrap", [lambda r: r, lambda r: [r, r], lambda r: {"traces": [r, r]}])
def test_one_document_in_each_of_its_forms(tmp_path, wrap):
    record = {
        "trace_id": "x",
        "problem": "p",
        "solution": "```python\nprint(2)\n```",
        "execution_flow": [{"type": "output", "content": "2\n"}],
    }
    path = tmp_path / "t.json"
    path.write_text(json.dumps(wrap(record), indent=1))
    found = read_traces([path])
    assert not found.skipped
    assert {trace.steps[0].output for trace in found.traces} == {"2"}


def test_gzip_and_directories_and_a_limit(tmp_path):
    with gzip.open(tmp_path / "b.jsonl.gz", "wt") as file:
        file.write(json.dumps(GOOD | {"id": "packed"}) + "\n")
    written(tmp_path / "a.jsonl", GOOD)
    written(tmp_path / "notes.txt", "not read")
    assert [trace.id for trace in read_traces([tmp_path]).traces] == ["a", "packed"]
    assert len(read_traces([tmp_path], limit=1).traces) == 1


def test_what_cannot_be_read_at_all_is_one_sentence(tmp_path):
    broken = tmp_path / "broken.jsonl.gz"
    broken.write_bytes(gzip.compress(b'{"code": "1"}\n' * 99)[:-9])
    binary = tmp_path / "binary.jsonl"
    binary.write_bytes(b"\xff\xfe\x00")
    (tmp_path / "void").mkdir()
    table = {
        tmp_path / "missing": "no such file",
        tmp_path / "void": "holds no .json",
        broken: "cannot be read",
        binary: "cannot be read",
        written(tmp_path / "empty.jsonl", ""): "no trace could be read",
    }
    for path, why in table.items():
        with pytest.raises(BadInput, match=why) as caught:
            read_traces([path])
        assert str(path) in str(caught.value)


def test_a_file_of_which_nothing_can_be_read_is_an_error_with_its_line(tmp_path: Path) -> None:
    path = written(tmp_path / "bad.jsonl", '{"code":\n "x = 1"\n')
    with pytest.raises(BadInput, match=r"bad\.jsonl: not JSON: .*line 3"):
        read_traces([path])
