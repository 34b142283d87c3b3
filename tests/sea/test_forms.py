"""The whole normal form: other words for the same become the same tree, other programs do not."""

import ast

import pytest

from sea.forms import whole_form
from sea.normalise import parse
from sea.regions import canon, survey


def shape(code: str) -> tuple[str, list[str]]:
    keep = frozenset({"ans"})
    tree = whole_form(parse(code), keep)
    key, holes, _ = canon(tree.body, survey(tree, keep).fixed)
    return key, [ast.unparse(hole) for hole in holes]


SAME = [
    ("def solver():\n    a = 3\n    return a + 4\nans = solver()", "ans = 3 + 4"),
    ("import math\nimport numpy as np\na = 3\nans = a * 4", "ans = 3 * 4"),
    ("left = 0\nleft = 9\nleft = left - 2\nans = left", "ans = 9 - 2"),
    ("total = 0\ntotal += 7\nans = total * 3", "ans = (0 + 7) * 3"),
    ("p = 3\nq = p\nans = q * p", "x = 3\nans = x * x"),
    ("p = 3\nunused = p * 4 - 1\nans = p * 2", "ans = 3 * 2"),
    ("if 3 < n:\n    ans = 'a'\nelse:\n    ans = 'b'", "ans = 'a' if n > 3 else 'b'"),
    ("def cost():\n    cost = 3 * 4\n    return cost\ncost = cost()\nprint(cost)", "print(3 * 4)"),
    ("def f(a, b):\n    c = a * b\n    return c + a\nprint(f(2, 5))", "a = 2\nprint(a * 5 + a)"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_the_same_in_other_words(one, other):
    assert shape(one) == shape(other)


OTHER = [
    ("def f():\n    return 3 + 4\nans = f() + f()", "ans = 3 + 4 + (3 + 4)"),
    ("def f():\n    print(1)\n    return 3\nans = [2, f()][0]", "print(1)\nans = [2, 3][0]"),
    ("a = []\nb = a\nb += [1]\nans = a", "a = []\nans = a"),
    ("x = [1]\ny = x\nx += y\nans = y", "x = [1]\ny = x\nx = x + y\nans = y"),
    ("unused = 1 / n\nans = 2", "ans = 2"),
    ("import antigravity\nans = 2 * n", "ans = 2 * n"),
    ("ans = f() < g()", "ans = g() > f()"),
    ("for i in y:\n    x = i\n    x = x * 2\nans = x", "for i in y:\n    x = i * 2\nans = i"),
]


@pytest.mark.parametrize(("one", "other"), OTHER)
def test_what_could_differ_stays_apart(one, other):
    assert shape(one) != shape(other)


def test_it_is_in_its_own_form():
    for one, _ in SAME:
        tree = whole_form(parse(one), frozenset({"ans"}))
        assert ast.dump(whole_form(parse(ast.unparse(tree)), frozenset({"ans"}))) == ast.dump(
            parse(ast.unparse(tree))
        )
