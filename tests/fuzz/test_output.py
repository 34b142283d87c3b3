"""Invariant: what programs of a sandbox write (git, a language server, a test run) is decoded into bounded values or
refused with the one error its caller turns into an answer; nothing of it is unpickled or run.
"""

import time

from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.fuzzing import examples, near, near_text, nothing_but, peak
from tidepool.engine.exec import Stream
from tidepool.engine.report import parse_report
from tidepool.engine.result import ExecResult, Verdict
from tidepool.toolbox import git, lsp

STATUS = (
    b"# branch.oid abc\0# branch.head main\0# branch.upstream o/main\0# branch.ab +1 -2\0"
    b"1 .M N... 100644 100644 100644 a b file name\0"
    b"2 R. N... 100644 100644 100644 a b R100 new\0old\0u UU N... 1 2 3 4 a b c both\0? untracked\0! ignored\0"
)


@examples(200)
@given(near(STATUS))
def test_status_of_git(said: bytes) -> None:
    found = nothing_but((ValueError, IndexError, KeyError), lambda: git.parse_status(said))
    assert found is None or len(found.file_status) <= said.count(b"\0") + 1


@examples(100)
@given(near_text("fatal: could not read from https://user:secret-word@host.test/x", "error: pathspec 'x'"))
def test_a_failure_of_git_has_no_secret(said: str) -> None:
    failure = git.failure(said)
    assert len(str(failure)) <= 2100


@examples(200)
@given(
    near(b"Content-Length: 17\r\nContent-Type: x\r\n\r\n" + b'{"jsonrpc":"2.0"}', around=3),
    st.integers(1, 60),
)
def test_frames_of_a_language_server(data: bytes, cut: int) -> None:
    frames = lsp.Frames()

    def take() -> list[bytes]:
        return [body for at in range(0, len(data), cut) for body in frames.take(data[at : at + cut])]

    found = nothing_but(ValueError, take)
    assert found is None or sum(map(len, found)) < len(data) + 1
    assert len(frames._data) <= len(data)


def test_a_language_server_cannot_fill_the_memory() -> None:
    endless = lsp.Frames()

    def feed() -> None:
        for _ in range(2000):
            endless.take(b"x" * 65536)

    assert peak(lambda: nothing_but(ValueError, feed)) < 1 << 22


RESULT = ExecResult(0, Verdict.EXITED, b"", b"", b"", 0, 0.1, 0, "exec")
REPORT = (
    b'{"collected":["t.py::a"]}\n{"id":"t.py::a","outcome":"passed","when":"call","duration":0.1}\n{"finished":0}\n',
    b'{"tests":[{"name":"a","outcome":"failed"}],"exit":1}\n',
    b'[1]\nnull\n{"duration":1e999}\n{"id":' + b"[" * 3000,
)


@examples(150)
@given(near(*REPORT))
def test_a_report_of_tests_is_a_report(data: bytes) -> None:
    started = time.process_time()
    parse_report(data, RESULT)
    assert time.process_time() - started < 1


@examples(150)
@given(st.lists(st.binary(max_size=300), max_size=30), st.integers(2, 400))
def test_a_stream_keeps_its_bound(pieces: list[bytes], limit: int) -> None:
    stream, whole = Stream(limit), b"".join(pieces)
    for piece in pieces:
        stream.add(piece)
        assert len(stream.head) + len(stream.tail) <= limit + limit // 2 + len(piece)
    value = stream.value()
    assert len(value) <= limit + 60
    assert stream.dropped or value == whole
    assert not stream.dropped or len(whole) == stream.dropped + len(stream.head) + len(stream.tail)
