"""Reading the report of a pytest run that came out of a sandbox.

The lines are written by `guest/tests.py`, or by anyone else in there: whatever they are, reading them never raises, and
anything not exactly as agreed makes the report incomplete, so that it can never be a success.
"""

from typing import Literal

import msgspec

from tidepool.engine.result import ExecResult, TestCase, TestReport

MAX_CASES = 10_000
"""More make the report incomplete."""
MAX_MESSAGE = 4096
"""Bytes of UTF-8 of one message; more make the report incomplete."""
MAX_NODE_ID = 4096
MAX_COLLECTION_ERRORS = 1_000
_MAX_LINE = 64 * 1024  # JSON may need six bytes for one

_Outcome = Literal["passed", "failed", "error", "skipped", "xfailed", "xpassed"]


class _Case(msgspec.Struct, forbid_unknown_fields=True, tag="case", tag_field="kind", rename="camel"):
    node_id: str
    outcome: _Outcome
    duration: float
    message: str


class _CollectionError(
    msgspec.Struct, forbid_unknown_fields=True, tag="collectionError", tag_field="kind", rename="camel"
):
    node_id: str
    message: str


class _End(msgspec.Struct, forbid_unknown_fields=True, tag="end", tag_field="kind", rename="camel"):
    exit_status: int
    collected: int


_decoder = msgspec.json.Decoder(_Case | _CollectionError | _End)


class _Unacceptable(Exception):
    """A line that the runner does not write."""


class _Reading:
    """What has been read so far."""

    def __init__(self) -> None:
        self.cases: dict[str, TestCase] = {}
        self.collection_errors: list[str] = []
        self.end: _End | None = None

    def line(self, line: bytes) -> None:
        """Take one line.

        Raises:
            _Unacceptable: The runner would not have written it, or not here.
        """
        if self.end is not None or len(line) > _MAX_LINE:
            raise _Unacceptable
        try:
            record = _decoder.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise _Unacceptable from None
        if isinstance(record, _End):
            self.end = record
        elif isinstance(record, _Case):
            self._case(record)
        else:
            self._collection_error(record)

    def _case(self, record: _Case) -> None:
        # `not`: NaN is not less than anything.
        if not 0 <= record.duration < 1e9 or record.node_id in self.cases or len(self.cases) == MAX_CASES:
            raise _Unacceptable
        _check(record.node_id, record.message)
        self.cases[record.node_id] = TestCase(record.node_id, record.outcome, record.duration, record.message)

    def _collection_error(self, record: _CollectionError) -> None:
        if len(self.collection_errors) == MAX_COLLECTION_ERRORS:
            raise _Unacceptable
        _check(record.node_id, record.message)
        self.collection_errors.append(
            f"{record.node_id}: {record.message}" if record.node_id else record.message
        )


def _check(node_id: str, message: str) -> None:
    if len(node_id.encode()) > MAX_NODE_ID or len(message.encode()) > MAX_MESSAGE:
        raise _Unacceptable


def parse_report(data: bytes, result: ExecResult) -> TestReport:
    """What the runner reported, up to the first line it would not have written. Never raises.

    The report is complete if every line is as agreed, the last is the closing one, its exit status is the process's and
    the tests that it counts were reported; a run that was told to stop early (`-x`) is not complete.
    """
    reading = _Reading()
    lines = data.split(b"\n")
    sound = lines.pop() == b""
    try:
        for line in lines:
            reading.line(line)
    except _Unacceptable:
        sound = False
    end = reading.end
    complete = sound and end is not None and end.exit_status == result.exit_code
    return TestReport(
        result=result,
        cases=tuple(reading.cases.values()),
        complete=complete and end is not None and end.collected == len(reading.cases),
        collection_errors=tuple(reading.collection_errors),
    )
