"""What the fuzzers share: how many examples, texts near good ones, and the memory that a call may take.

`TIDEPOOL_FUZZ_EXAMPLES` says how many examples each fuzzer runs; without it there are few, as each commit runs them.
"""

import os
import tracemalloc
from collections.abc import Callable
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

T = TypeVar("T")
_ASKED = int(os.environ.get("TIDEPOOL_FUZZ_EXAMPLES", "0"))


def examples(few: int = 60) -> Any:
    """Settings of one fuzzer."""
    return settings(
        max_examples=_ASKED or few,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def near(*good: bytes, around: int = 4) -> st.SearchStrategy[bytes]:
    """Good inputs with pieces cut out, put in, repeated or changed; and bytes at random."""
    pieces = st.binary(max_size=12) | st.sampled_from(
        [
            b"\0",
            b"\r\n",
            b"\n",
            b" ",
            b'"',
            b"\\",
            b"/",
            b"..",
            b"%",
            b"{",
            b"[",
            b"\xff",
            b"\xed\xa0\x80",
            b"9" * 5000,
        ]
    )
    edits = st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 8), pieces), max_size=around)

    def edited(base: bytes, changes: list[tuple[int, int, bytes]]) -> bytes:
        for at, length, piece in changes:
            place = at % (len(base) + 1)
            base = base[:place] + piece + base[place + length :]
        return base

    return st.binary(max_size=200) | st.builds(edited, st.sampled_from(good), edits)


def near_text(*good: str) -> st.SearchStrategy[str]:
    """The same as text; lone surrogates stand for bytes that are no UTF-8."""
    return near(*(text.encode() for text in good)).map(lambda data: data.decode("utf-8", "surrogateescape"))


def nothing_but(errors: type[Exception] | tuple[type[Exception], ...], call: Callable[[], T]) -> T | None:
    """What a call gives; None where it refuses with one of the errors it may raise. Others are failures."""
    try:
        return call()
    except errors:
        return None


def peak(call: Callable[[], object]) -> int:
    """Bytes that a call had allocated at most."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
