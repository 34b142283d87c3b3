"""Reading reports out of a sandbox: what is agreed is read, what is not makes it no success, nothing raises."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidepool.engine import report
from tidepool.engine.report import parse_report
from tidepool.engine.result import ExecResult, TestReport, Verdict


def _result(exit_code: int = 0) -> ExecResult:
    return ExecResult(exit_code, Verdict.EXITED, b"", b"", b"", 0, 1.0, 0)


def _case(node_id: str = "test_a.py::test_a", outcome: str = "passed", **more: Any) -> dict[str, Any]:
    return {"kind": "case", "nodeId": node_id, "outcome": outcome, "duration": 0.5, "message": "", **more}


def _end(status: int = 0, collected: int = 1) -> dict[str, Any]:
    return {"kind": "end", "exitStatus": status, "collected": collected}


def _lines(*records: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def _parse(*records: dict[str, Any], exit_code: int = 0) -> TestReport:
    return parse_report(_lines(*records), _result(exit_code))


def test_a_success() -> None:
    read = _parse(_case(), _end())
    assert read.success
    assert (read.cases[0].node_id, read.cases[0].duration_s) == ("test_a.py::test_a", 0.5)


def test_a_failure() -> None:
    read = _parse(_case(outcome="failed", message="x.py:1: no"), _end(1), exit_code=1)
    assert read.complete
    assert read.reason == "1 test(s) failed"
    assert read.cases[0].message == "x.py:1: no"


def test_collection_errors() -> None:
    error = {"kind": "collectionError", "nodeId": "test_b.py", "message": "ImportError"}
    read = _parse(error, {**error, "nodeId": ""}, _end(2, 0), exit_code=2)
    assert read.collection_errors == ("test_b.py: ImportError", "ImportError")
    assert read.complete


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        _lines(_case()),
        _lines(_case(), _end())[:-1],
        _lines(_case(), _end(), _end()),
        _lines(_end(), _case()),
        _lines(_case(), _case(), _end(collected=2)),
        _lines(_case(), _end(collected=2)),
        _lines(_case(), _end(collected=0)),
        _lines(_case(), _end(status=1)),
        _lines(_case(outcome="fine"), _end()),
        _lines(_case(duration="0.5"), _end()),
        _lines(_case(duration=-1), _end()),
        _lines(_case(duration=1e300), _end()),
        _lines(_case(message=None), _end()),
        _lines(_case(message="x" * (report.MAX_MESSAGE + 1)), _end()),
        _lines(_case(message="ü" * (report.MAX_MESSAGE // 2 + 1)), _end()),
        _lines(_case(node_id="x" * (report.MAX_NODE_ID + 1)), _end()),
        _lines(_case(extra=1), _end()),
        _lines({"kind": "other"}, _case(), _end()),
        _lines(_case()) + b"[" * 60_000 + b"\n" + _lines(_end()),
        _lines(_case()) + b"\xff\n" + _lines(_end()),
        _lines(_case()) + b'"' + b"x" * 70_000 + b'"\n' + _lines(_end()),
        b'{"kind":"case","nodeId":"a","outcome":"passed","duration":NaN,"message":""}\n' + _lines(_end()),
        b'{"kind":"case","nodeId":"\\ud800","outcome":"passed","duration":1,"message":""}\n' + _lines(_end()),
        _lines(_case()).replace(b"\n", b"\r\n\n") + _lines(_end()),
    ],
)
def test_not_as_agreed(data: bytes) -> None:
    read = parse_report(data, _result())
    assert not read.complete
    assert not read.success


def test_what_came_before_the_garbage_is_kept() -> None:
    read = parse_report(
        _lines(_case("a"), _case("b", "failed")) + b"garbage\n" + _lines(_case("c")), _result()
    )
    assert [case.node_id for case in read.cases] == ["a", "b"]
    assert not read.complete


def test_too_many_cases() -> None:
    many = [_case(str(number)) for number in range(report.MAX_CASES)]
    assert _parse(*many, _end(collected=len(many))).success
    assert not _parse(*many, _case("one more"), _end(collected=len(many) + 1)).complete


def test_too_many_collection_errors() -> None:
    many = [{"kind": "collectionError", "nodeId": "", "message": "m"}] * (report.MAX_COLLECTION_ERRORS + 1)
    read = _parse(*many, _end(2, 0), exit_code=2)
    assert (len(read.collection_errors), read.complete) == (report.MAX_COLLECTION_ERRORS, False)


@pytest.mark.parametrize(
    "result",
    [
        ExecResult(137, Verdict.SIGNALED, b"", b"", b"", 0, 1.0, 0),
        ExecResult(124, Verdict.TIMED_OUT, b"", b"", b"", 0, 1.0, 0),
        ExecResult(0, Verdict.LOST, b"", b"", b"", 0, 1.0, 0),
    ],
)
def test_the_process_has_the_last_word(result: ExecResult) -> None:
    assert not parse_report(_lines(_case(), _end()), result).success


@given(st.binary())
def test_garbage(data: bytes) -> None:
    assert not parse_report(data, _result()).success


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
_records = st.dictionaries(
    st.sampled_from(["kind", "nodeId", "outcome", "duration", "message", "exitStatus", "collected", "x"]),
    _values | st.sampled_from(["case", "end", "collectionError", "passed", 0, 1]),
)


@pytest.mark.thorough
@given(st.lists(_records | st.sampled_from([_case(), _end()]), max_size=4), st.binary(max_size=4))
def test_near_misses(records: list[dict[str, Any]], tail: bytes) -> None:
    """Only exactly one passed case and the closing record are a success, whatever else is tried."""
    read = parse_report(_lines(*records) + tail, _result())
    assert read.success == (records == [_case(), _end()] and tail == b"")
