"""Duplicates by behaviour: found whatever the names, order of parameters or way of writing; look-alikes are not."""

import pytest

from sea.equivalence import Tool, duplicates, groups
from sea.gates.evidence import Recorded
from sea.gates.lab import Lab

pytestmark = [pytest.mark.thorough, pytest.mark.timeout(120)]

PAIRS = ((9, 4), (12, 5), (30, 7), (8, 8))


@pytest.fixture(scope="module")
def lab(box):
    return Lab(box)


def tool(code: str, *arguments) -> Tool:
    scope: dict = {}
    exec(code, scope)  # our own text
    name = next(name for name, value in scope.items() if callable(value) and name != "__builtins__")
    return Tool(code, name, tuple(Recorded(given, scope[name](*given)) for given in arguments))


BASE = tool("def rest(total, used):\n    return total - used\n", *PAIRS)


@pytest.mark.parametrize(
    "code",
    [
        "def left(a, b):\n    return a - b\n",
        "def left(a, b):\n    c = -b\n    return a + c\n",
        "def left(a, b):\n    for step in [b]:\n        a -= step\n    return a\n",
    ],
)
def test_the_same_under_another_name_is_found(lab, code):
    (found,) = duplicates([BASE, tool(code, *PAIRS)], lab)
    assert (found.kept, found.dropped, found.order) == (0, 1, (0, 1))
    assert found.calls > 500


def test_another_order_of_parameters_is_found(lab):
    (found,) = duplicates([BASE, tool("def less(b, a):\n    return a - b\n", (4, 9), (5, 12), (1, 3))], lab)
    assert (found.kept, found.dropped, found.order) == (0, 1, (1, 0))


@pytest.mark.parametrize(
    "code",
    [
        "def rest(total, used):\n    return total + used\n",
        "def rest(total, used):\n    return float(total - used)\n",
        "def rest(total, used):\n    return total - used if total < 97 else 0\n",
        "def rest(total, used):\n    return abs(total - used)\n",
        "def rest(total, used):\n    return max(total - used, 0)\n",
    ],
)
def test_look_alikes_are_kept_apart(lab, code):
    assert duplicates([BASE, tool(code, *PAIRS)], lab) == []


def test_of_three_one_is_kept_and_lists_are_compared(lab):
    seen = (([3, 1, 2],), ([5, 4],), ([7],), ([2, 9, 2],))
    three = [
        tool("def a(values):\n    return sorted(values)[-1]\n", *seen),
        tool(
            "def b(x):\n    best = x[0]\n    for y in x:\n        best = y if y > best else best\n    return best\n",
            *seen,
        ),
        tool("def c(values):\n    return max(values)\n", *seen),
        tool("def d(values):\n    return min(values)\n", *seen),
    ]
    assert {(one.kept, one.dropped) for one in duplicates(three, lab)} == {(0, 1), (0, 2)}


def test_a_third_is_found_through_one_that_went(lab):
    """The second is the first in another order of parameters, the third is the second as it stands."""
    turned = ((4, 9), (5, 12), (1, 3))
    three = [
        BASE,
        tool("def less(b, a):\n    return a - b\n", *turned),
        tool("def fewer(x, y):\n    return y - x\n", *turned),
    ]
    assert {(one.kept, one.dropped) for one in duplicates(three, lab)} == {(0, 1), (0, 2)}


def test_sums_in_another_order_are_the_same_sums(lab):
    seen = ((0.1, 0.2, 0.3), (2.5, 1.7, 9.9), (7.1, 3.3, 0.4))
    pair = [
        tool("def a(x, y, z):\n    return x + y - z\n", *seen),
        tool("def b(x, y, z):\n    return x - z + y\n", *seen),
    ]
    assert len(duplicates(pair, lab)) == 1


def test_tools_of_other_arguments_are_never_compared():
    text = tool("def t(text):\n    return text\n", ("a",))
    assert groups([BASE, text, tool("def n(number):\n    return number\n", (1,))]) == []


NUMBERS = tuple((number,) for number in (1, 2, 3, 4, 9, 10, 15))
EVEN = tool("def even(n):\n    return n % 2 == 0\n", *NUMBERS)


def test_predicates_have_two_answers_and_are_compared_all_the_same(lab):
    (found,) = duplicates([EVEN, tool("def halves(k):\n    return not k % 2\n", *NUMBERS)], lab)
    assert (found.kept, found.dropped) == (0, 1)
    for other in ("return n % 4 == 0", "return n % 2 == 0 or n == 33", "return n > 0 and n % 2 == 0"):
        assert duplicates([EVEN, tool(f"def other(n):\n    {other}\n", *NUMBERS)], lab) == []


def test_answers_that_are_nearly_always_one_say_nothing(lab):
    rare = "def {}(n):\n    return n == 123457\n"
    assert duplicates([tool(rare.format(name), *NUMBERS) for name in ("a", "b")], lab) == []
