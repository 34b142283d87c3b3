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


ADDING = (
    "v = [1, 5, 7]\nw = [4, 2, 9]\nans = 0\nfor i in range(len(v)):\n    if v[i] >= 3:\n        ans += w[i]"
)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        (ADDING, "v = [1, 5, 7]\nw = [4, 2, 9]\nans = sum(w[i] for i in range(len(v)) if v[i] >= 3)"),
        ("ans = 0\nfor i in range(9):\n    ans += i * i - 1", "ans = sum(i * i - 1 for i in range(9))"),
        (
            "t = {1: [2], 2: [4]}\nans = 0\nfor a in t:\n  for b in t[a]:\n    if a * b > 3:\n      ans += 1",
            "t = {1: [2], 2: [4]}\nans = sum(1 for a in t for b in t[a] if a * b > 3)",
        ),
    ],
)
def test_a_loop_that_adds_integers_is_a_sum(text, same):
    assert form(text) == form(same)
    one, other = {}, {}
    exec(text, one)
    exec(form(text), other)
    assert one["ans"] == other["ans"] > 0


@pytest.mark.parametrize(
    "text",
    [
        ADDING.replace("9]", "9.5]"),
        ADDING.replace("ans = 0", "w[0] = 0.5\nans = 0"),
        ADDING.replace("ans = 0", "w.append(0.5)\nans = 0"),
        ADDING.replace("ans = 0", "w = [0.5, 1, 2]\nans = 0"),
        ADDING.replace("w[i]", "w[i] / 2"),
        ADDING.replace("w[i]", "w[i] ** -1"),
        ADDING.replace("w[i]", "w[ans]"),
        ADDING.replace("v = ", "for range in [f]:\n    print(range)\nv = "),
        ADDING.replace("ans = 0", "change(w)\nans = 0"),
        ADDING.replace("ans = 0", "from m import w\nans = 0"),
        ADDING + "\nans = ans + i",
        "ans = 0\nfor a in [1, 2]:\n    for a in [3]:\n        ans += 1",
    ],
    ids=[
        "fraction",
        "set",
        "grown",
        "again",
        "divided",
        "power",
        "of-the-sum",
        "range",
        "given",
        "imported",
        "read-later",
        "same-name",
    ],
)
def test_what_may_be_no_integer_or_is_seen_stays_a_loop(text):
    assert "\nfor " in form(text)


@pytest.mark.parametrize(
    "text",
    [
        counting("x > 3", after="print(x)"),
        counting("x > ans"),
        counting("x > 3", before="from sympy import *\nv = [1]"),
        counting("x > 3", before="v = [1]\nfor sum in v:\n    print(sum)"),
        counting("x > 3").replace("ans = 0", "ans = 2"),
        counting("x > 3", before="v = [1, 5.5, 7]").replace("ans += 1", "ans += x"),
        counting("x > 3", after="else:\n    ans = 4"),
    ],
    ids=["read-later", "reads-the-count", "star", "own-sum", "from-two", "adds-fractions", "else"],
)
def test_a_loop_that_something_else_sees_stays_a_loop(text):
    assert "\nfor x in" in form(text)


def test_a_count_does_the_same():
    for text in (counting("x >= 3 and x < 6"), counting("7 > x", after="ans = ans * 2")):
        one, other = {}, {}
        exec(text, one)
        exec(form(text), other)
        assert one["ans"] == other["ans"] > 0


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a = 3\nb = 5\nans = min(a, b, 4)", "ans = min([3, 5, 4])"),
        ("ans = max('a', 'b')", "ans = max(['a', 'b'])"),
        ("ans = max([1] + [2, 3] + [4])", "ans = max([1, 2, 3, 4])"),
        ("unread = [1] + [2]\nans = 3", "ans = 3"),
        (counting("x == 5"), "ans = [1, 5, 7].count(5)"),
    ],
)
def test_what_is_asked_of_members_is_asked_of_a_list(text, wanted):
    assert form(text) == wanted
    assert form(form(text)) == wanted
    one, other = {}, {}
    exec(text, one)
    exec(wanted, other)
    assert one["ans"] == other["ans"]


@pytest.mark.parametrize(
    "text",
    [
        "ans = min(f(), 4)",
        "ans = min([1, 2], key=len)",
        "ans = min(3, 5, key=g)",
        "ans = min(*given)",
        "ans = min(4, default=None)",
        "from numpy import *\nans = min(3, 5)",
        "from numpy import min\nans = min(3, 5)",
        "ans = a + [2]",
        "ans = [a] + [2]",
        "ans = (1, 2) + (3,)",
        counting("x == y"),
        counting("x == 5", before="v = f()"),
        counting("5 == x", before="v = [1, 5, w]"),
    ],
)
def test_what_could_be_something_else_stays(text):
    if "for" in text:
        assert "sum((1 for x in" in form(text)
    else:
        assert form(text) == text
