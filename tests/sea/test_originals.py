"""The original is the trace's own text as a function of the tool's parameters, or there is none."""

import ast

import pytest

from sea import patterns, select
from sea.generate import draft_code
from sea.originals import raw_original
from sea.specify import Draft, draft
from sea.trace import Step, Trace

SHAPES = {
    "arithmetic": "p = {n}\nq = {n} + 2\nans = (p * q - 5) * (p + 7) // (q + 2)",
    "loop": "ans = 0\nfor v in [{n}, 4, {n} * 2]:\n    if v % 2:\n        ans = ans + v * 3 - 1",
    "function": "def area(a, b):\n    c = a * b\n    return c * c + a - b\nans = area({n}, 3) + area(2, {n})",
    "spread": "scores = [{n}, 4, 9]\nscores = sorted(scores)\nans = scores[len(scores) // 2]",
    "solver": "def solver():\n    old = {n}\n    new = {n} + 1\n    return old * new - new + old\nans = solver()",
}


def drafts(shape: str) -> list[Draft]:
    traces = [
        Trace(
            f"id-{n}",
            f"task-{n}",
            f"t:{n}",
            (Step(shape.replace("{n}", str(n)), answer="0", result_name="ans"),),
        )
        for n in range(8)
    ]
    sources = patterns.load(traces)
    return [draft(pattern, set()) for pattern in select.choose(patterns.mine(sources), sources)]


def called(code: str, name: str, arguments: list[object]) -> object:
    scope: dict = {}
    exec(code, scope)  # our own text
    return scope[name](*arguments)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_original_is_another_text_that_does_the_same(shape):
    found = [(one, raw_original(one)) for one in drafts(SHAPES[shape])]
    known = [(one, original) for one, original in found if original is not None]
    assert known
    for one, original in known:
        assert ast.dump(ast.parse(original.code)) != ast.dump(ast.parse(draft_code(one)))
        for start in (3, 8, 21):
            given = [start + 2 * number for number in range(len(one.parameters))]
            wanted = called(draft_code(one), one.name, list(given))
            assert called(original.code, original.name, list(given)) == wanted


def test_it_has_the_names_of_the_trace():
    texts = [original.code for one in drafts(SHAPES["solver"]) if (original := raw_original(one))]
    assert any("old" in text and "given_" in text for text in texts)


def test_of_a_body_that_is_not_the_trace_s_there_is_none():
    """The control is the draft as it is."""
    (one, *_) = drafts(SHAPES["arithmetic"])
    other = Draft(
        one.pattern, one.name, one.parameters, tuple(ast.parse("return 1 - 2 * 3").body), one.imports
    )
    assert raw_original(one) is not None
    assert raw_original(other) is None
