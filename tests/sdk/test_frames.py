"""Frames of a streamed run, in every portion."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daytona_sdk._frames import MAX_PAYLOAD, FrameDecoder


def frame(kind: int, payload: bytes) -> bytes:
    return bytes([kind]) + len(payload).to_bytes(4, "big") + payload


@given(st.lists(st.tuples(st.sampled_from([0, 1, 2]), st.binary(max_size=40))), st.lists(st.integers(0, 400)))
def test_any_portions_give_the_same_frames(frames: list[tuple[int, bytes]], cuts: list[int]) -> None:
    data = b"".join(frame(kind, payload) for kind, payload in frames)
    decoder = FrameDecoder()
    found = []
    edges = sorted({0, *(cut for cut in cuts if cut < len(data)), len(data)})
    for begin, end in pairwise(edges):
        found += decoder.feed(data[begin:end])
    assert found == frames


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="kind 7"):
        FrameDecoder().feed(frame(7, b"x"))


def test_a_giant_announcement_is_refused_before_it_is_stored() -> None:
    with pytest.raises(ValueError, match="announces"):
        FrameDecoder().feed(b"\x01" + (MAX_PAYLOAD + 1).to_bytes(4, "big"))
