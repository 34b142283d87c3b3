"""Python values as JSON and back, by exact type: what enters and leaves a sandbox. Standard library only.

`None`, booleans, strings, integers, finite floats and lists stand for themselves; every other value is an object with
one key, the name of its type. Decoding is strict and bounded and runs no code of the other side: an unknown name or a
wrong shape is a `ValueError`. Two values are the same when type, structure and value are, floats within a tolerance.
"""

import datetime
import json
import math
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

MAX_DEPTH = 40
MAX_ITEMS = 20_000
"""Values in one encoded value, all levels together."""
MAX_TEXT = 200_000
"""Characters of one string or number, or bytes."""
FLOAT_TOLERANCE = 1e-9
"""Relative difference up to which two floats count as the same (and absolute, around zero, a thousandth of it)."""
_SMALL = 1 << 53
_FOREIGN = ("numpy", "sympy")


class NotPlain(ValueError):
    """A value has no encoding; the message names its type."""


@dataclass(frozen=True)
class Foreign:
    """A value of numpy or sympy: known by its type and its text only."""

    type: str
    text: str


class _Budget:
    """How much of one value may still be read or written."""

    def __init__(self) -> None:
        self.items = MAX_ITEMS

    def take(self, depth: int) -> None:
        self.items -= 1
        if self.items < 0 or depth > MAX_DEPTH:
            raise NotPlain("a value that is too large or too deep")


def encode(value: Any) -> Any:
    """What `json.dumps` can write.

    Raises:
        NotPlain: The value, or one inside it, is of a type that has no encoding, or is too large.
    """
    return _encode(value, 0, _Budget())


def _encode(value: Any, depth: int, budget: _Budget) -> Any:
    budget.take(depth)
    kind = type(value)
    if value is None or kind is bool:
        return value
    if kind is str:
        return _bounded(value)
    if kind is int:
        return value if -_SMALL < value < _SMALL else {"int": _bounded(hex(value))}
    if kind is float:
        return value if math.isfinite(value) else {"float": repr(value)}
    if kind is list:
        return [_encode(item, depth + 1, budget) for item in value]
    name = _NAMES.get(kind)
    if name is not None:
        return {name: _SHAPES[name][1](value, lambda item: _encode(item, depth + 1, budget))}
    if kind.__module__.partition(".")[0] in _FOREIGN:
        return {"foreign": [f"{kind.__module__}.{kind.__qualname__}"[:200], _bounded(repr(value))]}
    raise NotPlain(f"a value of type {kind.__qualname__}")


def _bounded(text: str) -> str:
    if len(text) > MAX_TEXT:
        raise NotPlain("a text or number that is too long")
    return text


Item = Callable[[Any], Any]


def _items(values: Any, item: Item) -> list[Any]:
    return [item(value) for value in values]


def _sorted(values: Any, item: Item) -> list[Any]:
    """Members in the order of their encoding: sets have none of their own."""
    return sorted(_items(values, item), key=json.dumps)


def _pairs(values: Any, item: Item) -> list[Any]:
    return [[item(key), item(value)] for key, value in values.items()]


def decode(data: Any) -> Any:
    """The value that `encode` was given; sets and dictionaries are new ones.

    Raises:
        ValueError: The data is no encoding of a value, or of one that is too large.
    """
    try:
        return _decode(data, 0, _Budget())
    except (TypeError, ArithmeticError, RecursionError) as error:
        raise ValueError(f"not an encoded value: {error}") from error


def _decode(data: Any, depth: int, budget: _Budget) -> Any:
    budget.take(depth)
    if data is None or type(data) in (bool, int):
        return data
    if type(data) is str:
        return _bounded(data)
    if type(data) is float and math.isfinite(data):
        return data
    if type(data) is list:
        return [_decode(item, depth + 1, budget) for item in data]
    if type(data) is dict and len(data) == 1:
        ((name, inner),) = data.items()
        if name == "foreign":
            kind, text = (_text(part) for part in _list(inner))
            return Foreign(kind, text)
        if name in _SHAPES:
            return _SHAPES[name][2](inner, lambda item: _decode(item, depth + 1, budget))
    raise ValueError(f"not an encoded value: {str(data)[:80]}")


def _text(data: Any) -> str:
    if type(data) is not str:
        raise ValueError("not an encoded value: text was expected")
    return _bounded(data)


def _list(data: Any) -> list[Any]:
    if type(data) is not list:
        raise ValueError("not an encoded value: a list was expected")
    return data


def _of_items(make: Callable[[Any], Any]) -> Callable[[Any, Item], Any]:
    return lambda data, item: make([item(value) for value in _list(data)])


def _of_pairs(make: Callable[[Any], Any]) -> Callable[[Any, Item], Any]:
    return lambda data, item: make([(item(key), item(value)) for key, value in map(_list, _list(data))])


def _of_text(make: Callable[[str], Any]) -> Callable[[Any, Item], Any]:
    return lambda data, _: make(_text(data))


def _default_dict(pairs: Any) -> Any:
    return defaultdict(None, pairs)


def _hex_int(text: str) -> int:
    return int(text, 16)


def _delta(data: Any, _: Item) -> datetime.timedelta:
    days, seconds, micros = (int(part) for part in _list(data))
    return datetime.timedelta(days, seconds, micros)


def _complex(data: Any, item: Item) -> complex:
    real, imaginary = (item(part) for part in _list(data))
    if type(real) is not float or type(imaginary) is not float:
        raise ValueError("not an encoded value: two floats were expected")
    return complex(real, imaginary)


def _fraction(data: Any, _: Item) -> Fraction:
    above, below = (_hex_int(_text(part)) for part in _list(data))
    return Fraction(above, below)


def _range(data: Any, _: Item) -> range:
    start, stop, step = (_hex_int(_text(part)) for part in _list(data))
    return range(start, stop, step)


def _plainly(value: Any, _: Item) -> str:
    return _bounded(str(value))


def _iso(value: Any, _: Item) -> str:
    return str(value.isoformat())


_SHAPES: dict[str, tuple[type, Callable[[Any, Item], Any], Callable[[Any, Item], Any]]] = {
    "int": (int, _plainly, _of_text(_hex_int)),
    "float": (float, _plainly, _of_text(float)),
    "tuple": (tuple, _items, _of_items(tuple)),
    "set": (set, _sorted, _of_items(set)),
    "frozenset": (frozenset, _sorted, _of_items(frozenset)),
    "deque": (deque, _items, _of_items(deque)),
    "dict": (dict, _pairs, _of_pairs(dict)),
    "Counter": (Counter, _pairs, _of_pairs(lambda pairs: Counter(dict(pairs)))),
    "OrderedDict": (OrderedDict, _pairs, _of_pairs(OrderedDict)),
    "defaultdict": (defaultdict, _pairs, _of_pairs(_default_dict)),
    "bytes": (bytes, lambda value, _: _bounded(value.hex()), _of_text(bytes.fromhex)),
    "bytearray": (bytearray, lambda value, _: _bounded(value.hex()), _of_text(bytearray.fromhex)),
    "complex": (
        complex,
        lambda value, item: [item(value.real), item(value.imag)],
        _complex,
    ),
    "Decimal": (Decimal, _plainly, _of_text(Decimal)),
    "Fraction": (Fraction, lambda value, _: [hex(value.numerator), hex(value.denominator)], _fraction),
    "range": (range, lambda value, _: [hex(value.start), hex(value.stop), hex(value.step)], _range),
    "date": (datetime.date, _iso, _of_text(datetime.date.fromisoformat)),
    "datetime": (datetime.datetime, _iso, _of_text(datetime.datetime.fromisoformat)),
    "time": (datetime.time, _iso, _of_text(datetime.time.fromisoformat)),
    "timedelta": (
        datetime.timedelta,
        lambda value, _: [value.days, value.seconds, value.microseconds],
        _delta,
    ),
}
"""Name: type, how its inside is written, how it is read."""
_NAMES = {shape[0]: name for name, shape in _SHAPES.items() if name not in ("int", "float")}


def dumps(value: Any) -> str:
    """A value as one line of JSON; equal values of equal types give equal lines (sets included, not dictionaries).

    Raises:
        NotPlain: As `encode`.
    """
    return json.dumps(encode(value), allow_nan=False)


def loads(text: str) -> Any:
    """A value from `dumps`.

    Raises:
        ValueError: The text is none.
    """
    try:
        return decode(json.loads(text))
    except RecursionError as error:
        raise ValueError("not an encoded value: too deep") from error


def same(one: Any, other: Any, tolerance: float = FLOAT_TOLERANCE) -> bool:
    """Whether two decoded values have equal types, structure and values; NaN is the same as NaN."""
    if type(one) is not type(other):
        return False
    if type(one) is float:
        return _close(one, other, tolerance)
    if type(one) is complex:
        return _close(one.real, other.real, tolerance) and _close(one.imag, other.imag, tolerance)
    if isinstance(one, list | tuple | deque):
        return len(one) == len(other) and all(same(a, b, tolerance) for a, b in zip(one, other, strict=True))
    if isinstance(one, dict):
        return _same_pairs(one, other, tolerance)
    if isinstance(one, set | frozenset):
        return one == other and sorted(map(dumps, one)) == sorted(map(dumps, other))
    return bool(one == other)


def _same_pairs(one: dict[Any, Any], other: dict[Any, Any], tolerance: float) -> bool:
    keys = {dumps(key): key for key in other}
    return len(one) == len(other) and all(
        (mine := dumps(key)) in keys and same(value, other[keys[mine]], tolerance)
        for key, value in one.items()
    )


def _close(one: float, other: float, tolerance: float) -> bool:
    if math.isnan(one) or math.isnan(other):
        return math.isnan(one) and math.isnan(other)
    return math.isclose(one, other, rel_tol=tolerance, abs_tol=tolerance / 1000)
