"""Arguments for tools, made from recorded ones: two generators that share no method, both seeded.

`vary` changes recorded arguments step by step; `draw` knows only the shape of the recorded ones (types, ranges,
lengths, letters) and draws anew. What one has chosen is confirmed with the other. With `like`, both keep what held
for every recorded call: signs, order, lengths, and how arguments relate to each other.
"""

import ast
import datetime
import itertools
import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

Arguments = tuple[Any, ...]
_TRIES = 200
"""Attempts in a row that give nothing new before a generator gives up."""
_EACH = 8
"""Attempts a call on average; a shape that refuses more is not worth the time."""
_WITH_CONSTANT = 0.3
_LETTERS = "abcxyzABC 019-_.,"
_NUMBERS = frozenset({int, float, Decimal, Fraction})


@dataclass(frozen=True)
class Shape:
    """What all recorded values of one place have in common."""

    kinds: tuple[type, ...]
    low: Any = None
    """Smallest number, or smallest length."""
    high: Any = None
    rising: bool = False
    """Every recorded sequence was sorted, and one was long enough to tell."""
    distinct: bool = False
    letters: str = ""
    samples: tuple[Any, ...] = ()
    items: "Shape | None" = None
    """Of members, or of keys."""
    values: "Shape | None" = None
    places: "tuple[Shape, ...]" = ()
    """Of a tuple of fixed length, place by place; of records, key by key."""
    form: str = ""
    """What all recorded texts look like, digits as 0 and letters as a; empty when they differ or are words only."""
    keys: tuple[str, ...] = ()
    """Of records: every recorded dictionary, of several, has exactly these."""
    square: bool = False
    """Every recorded list has as many lists in it as each of them has members."""


def shape_of(values: Sequence[Any]) -> Shape:
    """The shape of recorded values.

    Raises:
        ValueError: There is none.
    """
    if not values:
        raise ValueError("no values, so no shape")
    kinds = tuple(dict.fromkeys(type(value) for value in values))
    samples = tuple(values[:20])
    if all(kind in _NUMBERS for kind in kinds) and all(map(math.isfinite, values)):
        return Shape(kinds, min(values), max(values), samples=samples)
    if len(kinds) > 1 or not isinstance(values[0], str | list | tuple | set | frozenset | dict):
        return Shape(kinds, samples=samples)
    lengths = [len(value) for value in values]
    low, high = min(lengths), max(lengths)
    if kinds[0] is str:
        letters = "".join(sorted(set("".join(values))))
        forms = {form_of(value) for value in values}
        form = forms.pop() if len(forms) == 1 and len(set(values)) > 1 else ""
        return Shape(kinds, low, high, letters=letters, samples=samples, form=_telling(form))
    members = [item for value in values for item in value]
    items = shape_of(members) if members else None
    if isinstance(values[0], dict):
        inside = [item for value in values for item in value.values()]
        sets = {tuple(sorted(value)) if all(isinstance(k, str) for k in value) else () for value in values}
        keys = sets.pop() if len(sets) == 1 and len(values) > 1 else ()
        return Shape(
            kinds,
            low,
            high,
            items=items,
            values=shape_of(inside) if inside else None,
            samples=samples,
            keys=keys,
            places=tuple(shape_of([value[key] for value in values]) for key in keys),
        )
    if kinds[0] is tuple and low == high and low:
        places = tuple(shape_of([value[index] for value in values]) for index in range(low))
        return Shape(kinds, low, high, items=items, places=places, samples=samples)
    ordered = [value for value in values if isinstance(value, list | tuple) and len(value) > 2]
    return Shape(
        kinds,
        low,
        high,
        rising=bool(ordered) and all(_rising(value) for value in ordered),
        distinct=bool(ordered) and all(_distinct(value) for value in ordered),
        items=items,
        samples=samples,
        square=low > 1 and all(_square(value) for value in values),
    )


def form_of(text: str) -> str:
    """A text with its digits as 0 and its letters as a."""
    return "".join("0" if c.isdigit() else "a" if c.isalpha() else c for c in text)


def _telling(form: str) -> str:
    """The form if it says something: a single character, or marks between the letters and digits."""
    return form if len(form) == 1 or len(set(form) - {" "}) > 1 else ""


def _square(value: Sequence[Any]) -> bool:
    return all(isinstance(row, list | tuple) and len(row) == len(value) for row in value)


def _rising(values: Sequence[Any]) -> bool:
    try:
        return all(a <= b for a, b in itertools.pairwise(values))
    except TypeError:
        return False


def _distinct(values: Sequence[Any]) -> bool:
    try:
        return len(set(values)) == len(values)
    except TypeError:
        return False


def fits(value: Any, shape: Shape) -> bool:
    """Whether a value has what all recorded ones had: type, sign, size within twice the range, order."""
    if type(value) not in shape.kinds:
        return False
    if shape.low is not None and type(value) in _NUMBERS:
        floor = next((bound for bound in (1, 0) if shape.low >= bound), -abs(shape.low) * 2 - 10)
        return bool(floor <= value <= abs(shape.high) * 2 + 10)
    if shape.low is None:
        return True
    if not min(shape.low, 1) <= len(value) <= shape.high * 2 + 2:
        return False
    if isinstance(value, str):
        return _letters_fit(value, shape) and (not shape.form or form_of(value) == shape.form)
    if shape.keys:
        return set(value) == set(shape.keys) and all(
            fits(value[key], place) for key, place in zip(shape.keys, shape.places, strict=True)
        )
    if shape.square and not _square(value):
        return False
    if shape.places:
        return len(value) == len(shape.places) and all(map(fits, value, shape.places))
    if (shape.rising and not _rising(value)) or (shape.distinct and not _distinct(value)):
        return False
    inside = value.values() if isinstance(value, dict) else ()
    return (shape.items is None or all(fits(item, shape.items) for item in value)) and (
        shape.values is None or all(fits(item, shape.values) for item in inside)
    )


_CLASSES: tuple[Callable[[str], bool], ...] = (
    str.isdigit,
    str.isalpha,
    str.islower,
    str.isupper,
    str.isspace,
)


def _letters_fit(value: str, shape: Shape) -> bool:
    """Letters are recorded ones, or of a class (digit, lower case, ...) that was recorded."""
    known = set(shape.letters)
    classes = [test for test in _CLASSES if any(map(test, known))]
    return all(letter in known or any(test(letter) for test in classes) for letter in value)


Repair = Callable[[list[Any]], None]


def relations(seen: Sequence[Arguments]) -> list[Repair]:
    """Ways to restore what held between the arguments of every recorded call."""
    found: list[Repair] = []
    width = len(seen[0]) if seen else 0
    for first in range(width):
        for second in range(width):
            if first != second:
                found += _between(seen, first, second)
    return found


def _between(seen: Sequence[Arguments], first: int, second: int) -> list[Repair]:
    pairs = [(call[first], call[second]) for call in seen]
    sized = all(isinstance(b, list | tuple | str) for _, b in pairs)
    if all(type(a) is int for a, _ in pairs):
        if sized and all(a == len(b) for a, b in pairs):
            return [lambda call: call.__setitem__(first, len(call[second]))]
        if sized and len(pairs) > 1 and all(0 <= a <= len(b) for a, b in pairs):
            return [lambda call: call.__setitem__(first, min(max(call[first], 0), len(call[second])))]
        if all(type(b) is int for _, b in pairs) and len(pairs) > 1 and all(a < b for a, b in pairs):
            return [lambda call: _exchange(call, first, second)]
    elif sized and first < second and all(type(a) is type(b) and len(a) == len(b) for a, b in pairs):
        return [lambda call: _trim(call, first, second)]
    return []


def _exchange(call: list[Any], first: int, second: int) -> None:
    if call[first] > call[second]:
        call[first], call[second] = call[second], call[first]


def _trim(call: list[Any], first: int, second: int) -> None:
    length = min(len(call[first]), len(call[second]))
    call[first], call[second] = call[first][:length], call[second][:length]
    for place, (one, other) in enumerate(zip(call[first], call[second], strict=True)):
        if isinstance(one, list) and isinstance(other, list) and isinstance(call[first], list):
            shorter = min(len(one), len(other))
            call[first] = [*call[first][:place], one[:shorter], *call[first][place + 1 :]]
            call[second] = [*call[second][:place], other[:shorter], *call[second][place + 1 :]]


def vary(
    seen: Sequence[Arguments], seed: int, like: bool = False, constants: Sequence[Any] = ()
) -> Iterator[Arguments]:
    """Generator one: recorded calls with one to three small changes each. No tuple twice; ends when nothing new comes.

    Args:
        seen: Recorded arguments, at least one call.
        seed: The same seed gives the same calls.
        like: Keep what held for every recorded call.
        constants: Numbers and texts of the code; they and their neighbours are put in where something of their type is.
    """
    rng = random.Random(seed)  # noqa: S311 -- inputs of tests, no secrets

    def make() -> list[Any]:
        call = list(rng.choice(seen))
        for _ in range(rng.choice((1, 1, 2, 3))):
            place = rng.randrange(len(call))
            call[place] = _vary(call[place], rng, [other[place] for other in seen])
        if constants and rng.random() < _WITH_CONSTANT:
            place = rng.randrange(len(call))
            call[place] = _planted(call[place], rng.choice(constants), rng)
        return call

    return _made(make, seen, like)


def _planted(value: Any, constant: Any, rng: random.Random) -> Any:
    """A constant or its neighbour in place of a value, or of one member, of its type."""
    if isinstance(value, list) and value:
        place = rng.randrange(len(value))
        return [*value[:place], _planted(value[place], constant, rng), *value[place + 1 :]]
    if type(value) is not type(constant):
        return value
    return constant + rng.choice((0, 0, 1, -1)) if type(constant) in (int, float) else constant


def constants_of(code: str) -> list[Any]:
    """Numbers and short texts in a program, without docstrings; ends of ranges that its branches may depend on."""
    found = {
        (type(node.value), node.value): node.value
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Constant)
        and type(node.value) in (int, float, str)
        and len(str(node.value)) <= 40
    }
    return list(found.values())


def draw(seen: Sequence[Arguments], seed: int, like: bool = False) -> Iterator[Arguments]:
    """Generator two: calls drawn from the shape of the recorded ones alone. Parameters as `vary`."""
    rng = random.Random(seed ^ 0x5EA)  # noqa: S311 -- inputs of tests, no secrets
    shapes = [shape_of([call[place] for call in seen]) for place in range(len(seen[0]) if seen else 0)]
    return _made(lambda: [_draw(shape, rng) for shape in shapes], seen, like)


def _made(make: Callable[[], list[Any]], seen: Sequence[Arguments], like: bool) -> Iterator[Arguments]:
    if not seen or not seen[0]:
        return
    shapes = [shape_of([call[place] for call in seen]) for place in range(len(seen[0]))] if like else []
    repairs = relations(seen) if like else []
    known: set[str] = set()
    misses = attempts = 0
    while misses < _TRIES and attempts < _TRIES + _EACH * len(known):
        attempts += 1
        call = make()
        call = [_settle(*pair) for pair in zip(call, shapes, strict=True)] if like else call
        for repair in repairs:
            repair(call)
        text = repr(call)
        misses += 1
        if text not in known and len(text) < 20_000 and (not like or all(map(fits, call, shapes))):
            known.add(text)
            misses = 0
            yield tuple(call)


def _settle(value: Any, shape: Shape) -> Any:
    """The value in order, and without doubles, where every recorded one was."""
    if not isinstance(value, list | tuple) or not (shape.rising or shape.distinct):
        return value
    items = list(dict.fromkeys(value)) if shape.distinct and _hashable(list(value)) == list(value) else value
    made: Any = type(value)(sorted(items) if shape.rising and _sortable(list(items)) else items)
    return made


def _vary(value: Any, rng: random.Random, others: Sequence[Any]) -> Any:
    """A value one small change away, or another recorded one of the same place."""
    if rng.random() < 0.15 and others:
        return rng.choice(others)
    change = _CHANGES.get(type(value))
    return value if change is None else change(value, rng)


def _vary_bool(value: bool, _: random.Random) -> bool:
    return not value


def _vary_int(value: int, rng: random.Random) -> int:
    near = (value + 1, value - 1, value + rng.randint(-10, 10), value * 2, value // 2, -value, 0, 1)
    return rng.choice((*near, rng.randrange(2 * min(abs(value), 1 << 60) + 2)))


def _vary_float(value: float, rng: random.Random) -> float:
    near = (value + 1, value - 1, value * 2, value / 3, -value, 0.0, float(round(value, 1)) + 0.5)
    return rng.choice((*near, value * rng.uniform(0.5, 2.0)))


def _vary_exact(value: Any, rng: random.Random) -> Any:
    return rng.choice((value + 1, value - 1, value * 2, -value, value * 0))


def _vary_str(value: str, rng: random.Random) -> str:
    at, to = sorted((rng.randint(0, len(value)), rng.randint(0, len(value))))
    letter = rng.choice(value or _LETTERS)
    return rng.choice(
        (
            value[:at] + value[to:],
            value[:at] + letter + value[at:],
            value[:at] + rng.choice(_LETTERS) + value[at + 1 :],
            value[at:to],
            value[::-1],
            value + value[at:to],
            value.swapcase(),
            value[:1],
        )
    )


def _vary_list(value: list[Any], rng: random.Random) -> list[Any]:
    if not value:
        return value
    at, to = sorted((rng.randint(0, len(value)), rng.randint(0, len(value))))
    chosen = rng.randrange(len(value))
    changed = list(value)
    changed[chosen] = _vary(value[chosen], rng, value)
    return rng.choice(
        (
            changed,
            changed,
            value[:chosen] + value[chosen + 1 :],
            [*value[:at], rng.choice(value), *value[at:]],
            [*value[:at], changed[chosen], *value[at:]],
            value[at:to],
            value[::-1],
            rng.sample(value, len(value)),
            value[:1],
        )
    )


def _vary_tuple(value: tuple[Any, ...], rng: random.Random) -> tuple[Any, ...]:
    if rng.random() < 0.8 and value:
        chosen = rng.randrange(len(value))
        return (*value[:chosen], _vary(value[chosen], rng, value), *value[chosen + 1 :])
    return tuple(_vary_list(list(value), rng))


def _vary_set(value: Any, rng: random.Random) -> Any:
    return type(value)(_hashable(_vary_list(sorted(value, key=repr), rng)))


def _hashable(items: list[Any]) -> list[Any]:
    return [item for item in items if not isinstance(item, list | dict | set)]


def _vary_dict(value: dict[Any, Any], rng: random.Random) -> dict[Any, Any]:
    pairs = list(value.items())
    if not pairs:
        return value
    chosen = rng.randrange(len(pairs))
    key, inner = pairs[chosen]
    values = list(value.values())
    return rng.choice(
        (
            {**value, key: _vary(inner, rng, values)},
            {**value, key: _vary(inner, rng, values)},
            dict(pairs[:chosen] + pairs[chosen + 1 :]),
            {**value, _vary(key, rng, list(value)): inner},
        )
    )


def _vary_date(value: Any, rng: random.Random) -> Any:
    days = rng.choice((1, -1, 7, 30, -30, 365, rng.randint(-1000, 1000)))
    try:
        return value + datetime.timedelta(days=days, seconds=rng.choice((0, 1, 3600)))
    except OverflowError:
        return value


_CHANGES: dict[type, Callable[[Any, random.Random], Any]] = {
    bool: _vary_bool,
    int: _vary_int,
    float: _vary_float,
    Decimal: _vary_exact,
    Fraction: _vary_exact,
    complex: lambda value, rng: value + rng.choice((1, -1, 1j, -1j)),
    str: _vary_str,
    list: _vary_list,
    tuple: _vary_tuple,
    set: _vary_set,
    frozenset: _vary_set,
    dict: _vary_dict,
    datetime.date: _vary_date,
    datetime.datetime: _vary_date,
    datetime.timedelta: _vary_date,
}


def _draw(shape: Shape, rng: random.Random) -> Any:
    """A value of the shape, made from nothing but it."""
    kind = rng.choice(shape.kinds)
    if shape.low is not None and kind in _NUMBERS:
        return kind(_draw_number(shape, rng)) if kind is not int else int(_draw_number(shape, rng))
    if kind is bool:
        return rng.random() < 0.5
    if shape.low is None or len(shape.kinds) > 1:
        return rng.choice([sample for sample in shape.samples if type(sample) is kind] or shape.samples)
    length = rng.randint(max(0, shape.low - 2), shape.high + 2)
    if kind is str:
        return _draw_text(shape, length, rng)
    if shape.keys:
        places = dict(zip(shape.keys, shape.places, strict=True))
        return {key: _draw(places[key], rng) for key in rng.choice(shape.samples)}
    if shape.places:
        return tuple(_draw(place, rng) for place in shape.places)
    return _draw_members(shape, kind, length, rng) if shape.items is not None else kind()


def _draw_members(shape: Shape, kind: Any, length: int, rng: random.Random) -> Any:
    assert shape.items is not None
    items = [_draw(shape.items, rng) for _ in range(length)]
    if shape.square:
        items = [[_draw(shape.items.items or shape.items, rng) for _ in range(length)] for _ in range(length)]
    if issubclass(kind, dict):
        return {key: _draw(shape.values, rng) if shape.values else None for key in items}
    return kind(sorted(items) if shape.rising and _sortable(items) else items)


def _draw_text(shape: Shape, length: int, rng: random.Random) -> str:
    if shape.form:
        return _in_form(shape.form, rng)
    letters = rng.choice((shape.letters or _LETTERS, shape.letters[:4] or "ab", shape.letters + _LETTERS))
    return "".join(rng.choice(letters) for _ in range(length))


def _in_form(form: str, rng: random.Random) -> str:
    digits, letters = "0123456789", "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    return "".join(rng.choice(digits if c == "0" else letters) if c in "0a" else c for c in form)


def _sortable(items: list[Any]) -> bool:
    try:
        sorted(items)
    except TypeError:
        return False
    return True


def _draw_number(shape: Shape, rng: random.Random) -> Any:
    """Within the range, close around it, small, or of any order of magnitude up to ten times the range."""
    low, high = shape.low, shape.high
    way = rng.random()
    whole = all(kind is int for kind in shape.kinds)
    if way < 0.5:
        return rng.randint(int(low), int(high)) if whole else rng.uniform(float(low), float(high))
    if way < 0.7:
        return rng.choice((low, high)) + rng.randint(-3, 3)
    if way < 0.85:
        return rng.randint(-3, 12) if whole else rng.uniform(-3, 12)
    size = 10 ** rng.uniform(0, len(str(int(abs(high)) + 1)))
    return (int(size) if whole else size) * (1 if low >= 0 or rng.random() < 0.5 else -1)
