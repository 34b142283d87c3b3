"""The normal form does what the program does, and costs are tokens."""

import ast
import contextlib
import io

import pytest

from sea.normalise import cost, parse, straighten

PROGRAMS = {
    "two steps": "a = 3\nb = 4\nc = a * b\nprint(c + 1)",
    "loop": "n = 3\ntotal = 0\nfor i in range(n):\n    total = total + i\nprint(total)",
    "list made in a loop": "for i in range(3):\n    part = [0]\n    part.append(i)\n    print(part)",
    "list shared by a loop": "seen = [0]\nfor i in range(3):\n    print(seen.append(i))",
    "reassigned": "a = 2\nb = a * 3\na = 5\nprint(b)",
    "added to": "a = 2\nb = a * 3\na += 5\nprint(b)",
    "read before assigned": "try:\n    pass\nfinally:\n    pass\nprint(a)\na = 2",
    "length before append": "items = [1, 2]\nn = len(items)\nitems.append(3)\nprint(n)\nprint(items)",
    "sum of lists before append": "a = [1]\nb = [2]\nc = a + b\na.append(9)\nprint(c)\nprint(a, b)",
    "item assigned": "a = [1]\nb = [2]\nc = a + b\na[0] = 7\nprint(c)\nprint(a, b)",
    "alias": "a = [1]\nb = a\nb.append(2)\nprint(a)",
    "one generator, two readers": "g = (x for x in [1, 2])\ns = sum(g)\nt = sum(g)\nprint(t, s)",
    "popped in the same line": "a = [1, 2]\nn = len(a)\nprint(a.pop(), n)\nprint(a)",
    "mutated in a condition": "a = [1]\nn = len(a)\nif a:\n    a.append(2)\n    print(n)\nprint(a)",
    "helper mutates": "def h(a):\n    a.append(1)\na = [1]\nb = a + [2]\nh(a)\nprint(b)\nprint(a)",
    "between two yields": (
        "def g(a):\n    n = len(a)\n    yield 1\n    yield n\n"
        "a = [1]\nfor v in g(a):\n    a.append(2)\n    print(v)"
    ),
    "read by eval": "x = 5\nprint(eval('x'))",
    "imported after": "e = 5\nfrom math import e\nprint(e)",
    "imported with a star after": "e = 5\nfrom math import *\nprint(e)",
    "imported before": "from math import pi\nn = pi * 2\npi = 3\nprint(n)",
    "defined after": "f = 5\ndef f():\n    return 3\nprint(f())",
    "error's name": "e = 5\ntry:\n    1 / 0\nexcept ZeroDivisionError as e:\n    pass\nprint(e)",
    "builtin redefined": "def len(a):\n    a.append(1)\n    return 7\nq = [1]\nn = len(q)\nprint(q)\nprint(n)",
    "docstring read": "def f():\n    'doc'\n    return 1\nprint(f.__doc__)",
    "error before output": (
        "def f(zero):\n    a = 1 / zero\n    print('after')\n    return a\n"
        "try:\n    f(0)\nexcept ZeroDivisionError:\n    print('caught')"
    ),
    "error not skipped": (
        "def f(zero):\n    a = 1 / zero\n    return zero and a\n"
        "try:\n    print(f(0))\nexcept ZeroDivisionError:\n    print('caught')"
    ),
    "global": "x = 1\ndef f():\n    global x\n    x = 2\nf()\nprint(x)",
    "line break in a format": "x = 'a\\nb'\nprint(f'{x}')",
    "lambda": "n = 2\nf = lambda: n\nprint(f() + f())",
    "unread call": "a = print('kept')\nb = 2\nprint(1)",
}


def outcome(code: str) -> str:
    """What a program of the table above prints, and the error it ends with."""
    captured = io.StringIO()
    with contextlib.redirect_stdout(captured):
        try:
            exec(compile(code, "<table>", "exec"), {"__name__": "table"})
        except NameError as error:
            print(type(error).__name__)
    return captured.getvalue()


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_normal_form_means_the_same(name):
    code = PROGRAMS[name]
    assert outcome(ast.unparse(straighten(parse(code), frozenset()))) == outcome(code)


def normal(code: str, keep: str = "ans") -> str:
    return ast.unparse(straighten(parse(code), frozenset({keep})))


def test_values_stand_where_they_are_read():
    assert normal("a = 3\nb = 4\nc = a * b\nans = c + 1") == "ans = 3 * 4 + 1"


def test_comments_docstrings_and_unread_literals_are_gone():
    assert normal('"""What."""\n# why\na = 3\nans = 2') == "ans = 2"


def test_the_result_stays_and_its_tree_remembers_the_name():
    tree = straighten(parse("price = 3\nans = price * 2"), frozenset({"ans"}))
    assert ast.unparse(tree) == "ans = 3 * 2"
    assert [node.meaning for node in ast.walk(tree) if hasattr(node, "meaning")] == ["price"]


@pytest.mark.parametrize(
    ("text", "tokens"), [("a = 1\n", 4), ("a = 1  # why\n", 4), ("'12345678'\n", 4), ("\n\na\n", 2)]
)
def test_cost_counts_tokens(text, tokens):
    assert cost(text) == tokens
