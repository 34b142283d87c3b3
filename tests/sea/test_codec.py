"""Values as JSON and back by exact type; what is no value is refused; sameness is of type, structure and value."""

import datetime
import json
from collections import Counter, OrderedDict, defaultdict, deque
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sea.codec import MAX_DEPTH, NotPlain, decode, dumps, encode, loads, same

VALUES = [
    None, True, 0, -(2**70), 1.5, -0.0, float("nan"), float("-inf"), "a\n\ud800", [], (1,), {1, "a"}, frozenset({2}),
    b"\x00", bytearray(b"x"), 1 + 2j, complex("inf"), Decimal("1.50"), Fraction(-1, 3), range(1, 9, 2), Counter("aab"),
    deque([1]), OrderedDict([(2, 1), (1, 2)]), defaultdict(int, {1: 2}), {(1, 2): [{"x": {3}}]},
    datetime.date(2024, 2, 29), datetime.datetime(2024, 1, 2, 3, 4, 5, 6, datetime.UTC), datetime.time(1, 2),
    datetime.timedelta(-1, 2, 3),
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)  # a set has no order
def test_values_come_back(value):
    again = loads(dumps(value))
    assert same(again, value)
    assert type(again) is type(value)


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.fractions()
    | st.dates(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(plain)
def test_any_value_comes_back(value):
    assert same(loads(dumps(value)), value)


class Sly(int):
    def __eq__(self, other):
        return True

    __hash__ = int.__hash__


@pytest.mark.parametrize(
    "value", [Sly(3), [Sly(3)], object(), int, len, (x for x in ()), {1: Sly(1)}, 1j.conjugate]
)
def test_other_types_have_no_encoding(value):
    with pytest.raises(NotPlain):
        encode(value)


def test_size_and_depth_are_bounded():
    deep: list = []
    for _ in range(MAX_DEPTH + 1):
        deep = [deep]
    for value in (deep, [0] * 30_000, "x" * 300_000, 1 << 3_000_000):
        with pytest.raises(NotPlain):
            encode(value)
    circle: list = []
    circle.append(circle)
    with pytest.raises(NotPlain):
        encode(circle)


@pytest.mark.parametrize(
    "data",
    [
        {"function": "os.system"}, {"int": 3}, {"int": "zz"}, {"tuple": "ab"}, {"dict": [[1]]}, {"dict": [[[], 1]]},
        {"set": [[1]]}, {"Fraction": ["0x1", "0x0"]}, {"complex": ["a", 1]}, {"complex": [1]}, {"Decimal": "x"},
        {"date": "yesterday"}, {"range": ["0x0", "0x1", "0x0"]}, {"a": 1, "b": 2}, {}, {"foreign": "x"},
        {"timedelta": ["9" * 20, "0", "0"]}, float("nan"),
    ],
)  # fmt: skip
def test_what_is_no_encoding_is_refused(data):
    with pytest.raises(ValueError, match=r".+"):
        decode(data)


def test_deep_text_is_refused():
    with pytest.raises(ValueError, match=r"deep|large"):
        loads("[" * 100_000 + "]" * 100_000)
    with pytest.raises(ValueError, match=r".+"):
        loads(json.dumps({"tuple": [{"tuple": []}] * 30_000}))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 1.0), (1, True), ([1], (1,)), ({1}, {1.0}), ({1: 2}, {True: 2}), ({1: 2}, {1: 2.0}),
        (Counter("a"), {"a": 1}),
        (1.0, 1.0 + 1e-6), ("a", b"a"), ([1, 2], [1]), (0.0, 1e-9),
    ],
)  # fmt: skip
def test_not_the_same(one, other):
    assert not same(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [(0.1 + 0.2, 0.3), ([1e300], [1e300 * (1 + 1e-12)]), ({1: 2, 3: 4}, {3: 4, 1: 2}), ({2, 1}, {1, 2})],
)
def test_the_same(one, other):
    assert same(one, other)
