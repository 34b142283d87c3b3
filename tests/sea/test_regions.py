"""Regions: equal keys mean the same computation; what acts or is bound outside is no region."""

import pytest

from sea.normalise import parse, straighten
from sea.regions import Region, regions, survey


def found(code: str) -> list[Region]:
    keep = frozenset({"ans"})
    return list(regions(survey(straighten(parse(code), keep), keep)))


def whole(code: str) -> str:
    return max(found(code), key=lambda region: (region.size, region.kind)).key


def test_names_layout_and_values_do_not_matter():
    assert whole("a = 1\nb = 2\nans = (a+b) * a") == whole("x=7 # why\ny = 8\nans = (x + y) * x")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ans = (p + q) * p", "ans = (p + q) * q"),
        ("ans = (p + q) * p", "ans = (p - q) * p"),
        ("ans = max(p, q) * 2", "ans = min(p, q) * 2"),
        ("ans = f'{p:.1f} {q}'", "ans = f'{p:.2f} {q}'"),
        ("ans = p * True + 2", "ans = p * False + 2"),
    ],
)
def test_another_computation_has_another_key(one, other):
    assert whole(one) != whole(other)


@pytest.mark.parametrize(
    "code",
    [
        "print(p + q * 3 - p)",
        "ans = open(p).read() + q",
        "ans = (lambda v: v + p * 3)(q)",
        "ans = (y := p + 1) + y * y",
        "def f(v):\n    return v\nans = f(p) + f(q) * 2",
    ],
)
def test_what_acts_or_needs_the_program_is_never_inside(code):
    for region in found(code):
        text = " ".join(type(node).__name__ for node in region.nodes)
        assert region.kind in ("expression", "function"), text
        assert not {"print", "open", "f"} & set(region.names) or region.kind == "function"


def test_a_window_that_assigns_on_some_paths_only_is_none():
    code = "if p:\n    y = p * 3 + q\nelse:\n    z = 1\nans = y + p * q"
    assert all(
        region.nodes[0].__class__.__name__ != "If" or "y" not in region.outputs for region in found(code)
    )


def test_inputs_are_what_is_read_before_it_is_assigned():
    region = next(r for r in found("t = p * 2\nt = t + q\nans = t * t + p") if r.kind == "window")
    assert region.inputs == ("p", "q")
    assert region.outputs == ("ans",)
