"""A rewrite is undone to the original or does not count; a tool that computes nothing is told."""

import ast

import pytest

from sea.inline import GivenBack, Tool, given_back, is_empty, is_one_operation
from sea.score import changed

ADD = "def add(p: float, q: float = 2) -> float:\n    return p + q\n"
TOP = "def top(*values: int) -> int:\n    return max(values) - min(values)\n"
SPLIT = "def split(a, b):\n    c = a * b\n    d = c - a\n    return (c, d)\n"
TOOLS = {tool.function.name: tool for tool in map(Tool, (ADD, TOP, SPLIT))}
KEEP = frozenset({"ans"})


@pytest.mark.parametrize(
    ("original", "rewritten"),
    [
        ("a = 3\nb = 4\nans = a + b", "ans = add(3, 4)"),
        ("a = 3\nans = a + 2", "ans = add(3)"),
        ("v = [3, 1, 2]\nans = max(v) - min(v)", "ans = top(3, 1, 2)"),
        ("def solver():\n    a = 3\n    return a + 4\nans = solver()", "ans = add(3, 4)"),
        ("p = n * m\nq = p - n\nans = p / q", "p, q = split(n, m)\nans = p / q"),
        ("a = 1\nb = 5\nans = a + b + 2", "ans = add(add(1, 5))"),
    ],
)
def test_undone_it_is_the_original(original, rewritten):
    assert isinstance(given_back(original, rewritten, TOOLS, KEEP), GivenBack)


@pytest.mark.parametrize(
    ("original", "rewritten"),
    [
        ("a = 3\nb = 4\nans = a + b", "ans = add(3, 5)"),
        ("a = 3\nb = 4\nans = a - b", "ans = add(3, 4)"),
        ("a = 3\nb = 4\nans = a * b", "ans = 12"),
        ("p = n * m\nq = p - n\nans = p / q", "q, p = split(n, m)\nans = p / q"),
    ],
)
def test_another_program_is_told(original, rewritten):
    assert isinstance(given_back(original, rewritten, TOOLS, KEEP), str)


def test_numbers_change_together_and_those_of_the_tool_stay():
    original, rewritten = "a = 3\nans = a + 2 + a", "a = 3\nans = add(a) + a"
    back = given_back(original, rewritten, TOOLS, KEEP)
    assert isinstance(back, GivenBack)
    one, other = changed(original, rewritten, back, "seed")
    number = ast.parse(one).body[0].value.value
    assert number != 3
    assert ast.parse(other).body[0].value.value == number
    assert "+ 2" in one


@pytest.mark.parametrize(
    ("code", "empty"),
    [
        (TOP, False),
        (SPLIT, False),
        (ADD, False),
        ("def f():\n    return 3 + 4\n", True),
        ("def f(a):\n    return 42 * 2\n", True),
        ("def f(a, b):\n    c = a\n    d = b\n    return (c, d)\n", True),
    ],
)
def test_tools_that_compute_nothing(code, empty):
    assert bool(is_empty(code)) is empty


@pytest.mark.parametrize(
    ("code", "single"),
    [
        (ADD, True),
        ("def f(a):\n    return a * -2\n", True),
        ("def f(*values):\n    return max(values)\n", True),
        ("def f(a):\n    b = a\n    return round(b, 2)\n", True),
        ("def f(a, key):\n    return a[key]\n", True),
        ("def f(text, mark):\n    return text.split(mark)\n", True),
        ("def f(sure, a, b):\n    return a if sure else b\n", True),
        ("def f(a, b):\n    return 'more' if a > b else 'less'\n", False),
        ("def f(text):\n    return text.replace(',', '')\n", False),
        ("def f(a, b, c):\n    return a + b + c\n", False),
        ("def f(a, b, c):\n    return a < b < c\n", False),
        ("def f(a, b):\n    return f'{a} of {b}'\n", False),
        ("def f(a):\n    return [x for x in a]\n", False),
        ("def f(table):\n    return max(table, key=table.get)\n", False),
    ],
)
def test_tools_that_are_one_operation(code, single):
    assert is_one_operation(code) is single
