"""Counting has one form, and only where nothing else could see the difference."""

import ast

import pytest

from sea.forms import whole_form

KEEP = frozenset({"ans"})


def form(text: str) -> str:
    return ast.unparse(ast.fix_missing_locations(whole_form(ast.parse(text), KEEP)))


def counting(test: str, before: str = "v = [1, 5, 7]", after: str = "") -> str:
    return f"{before}\nans = 0\nfor x in v:\n    if {test}:\n        ans += 1\n{after}"


@pytest.mark.parametrize("test", ["x >= 3 and x < 9", "x < 9 and x >= 3", "3 <= x and 9 > x", "3 <= x < 9"])
def test_two_bounds_of_one_value_are_a_range(test):
    assert form(counting(test)) == form(counting("3 <= x < 9"))


@pytest.mark.parametrize(
    "test",
    ["x >= 3 and y < 9", "x >= 3 and x > 9", "x >= 3 or x < 9", "x >= f(3) and x < 9", "x < 5 and 5 < y"],
)
def test_other_conditions_stay_what_they_are(test):
    assert form(counting(test)) != form(counting("3 <= x < 9"))
    assert " and " in form(counting(test)) or " or " in form(counting(test))


def test_a_loop_that_counts_is_a_sum():
    assert form(counting("x > 3")) == form("ans = sum(1 for x in [1, 5, 7] if x > 3)")


@pytest.mark.parametrize(
    "text",
    [
        counting("x > 3", after="print(x)"),
        counting("x > ans"),
        counting("x > 3", before="from sympy import *\nv = [1]"),
        counting("x > 3", before="v = [1]\nfor sum in v:\n    print(sum)"),
        counting("x > 3").replace("ans = 0", "ans = 2"),
        counting("x > 3").replace("ans += 1", "ans += x"),
        counting("x > 3", after="else:\n    ans = 4"),
    ],
    ids=["read-later", "reads-the-count", "star", "own-sum", "from-two", "adds-values", "else"],
)
def test_a_loop_that_something_else_sees_stays_a_loop(text):
    assert "\nfor x in" in form(text)


def test_a_count_does_the_same():
    for text in (counting("x >= 3 and x < 6"), counting("7 > x", after="ans = ans * 2")):
        one, other = {}, {}
        exec(text, one)
        exec(form(text), other)
        assert one["ans"] == other["ans"] > 0
