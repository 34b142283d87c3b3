"""A branch that only chooses a value is found as that choice; where nothing stands for it, it costs what it cost."""

import ast

import pytest

from sea import cuts, patterns
from sea.normalise import cost
from sea.regions import regions
from sea.rewrite import rewrite
from sea.tile import Sites, Tiling
from sea.trace import Step, Trace

BRANCH = "if {test}:\n    ans = {one}\nelse:\n    ans = {other}"
CHAIN = "if a > 3:\n    ans = 'x'\nelif a > b * 2:\n    ans = 'y'\nelse:\n    ans = a + b"
INSIDE = "for i in range(a):\n    if i > b:\n        ans = 3\n    else:\n        ans = i * 2"
NESTED = "if a > 3:\n    if b > 2:\n        ans = 'x'\n    else:\n        ans = 'z'\nelse:\n    ans = a + b"


def sources(codes: list[str]) -> list[patterns.Source]:
    return patterns.load(
        Trace(f"id-{n}", f"task-{n}", f"t:{n}", (Step(code, answer="0", result_name="ans"),))
        for n, code in enumerate(codes)
    )


@pytest.mark.parametrize("branch", [BRANCH.format(test="a > b", one="1", other="a"), CHAIN, INSIDE, NESTED])
def test_where_no_tool_stands_it_costs_what_it_cost(branch):
    (source,) = sources([f"a = 4\nb = a * 2\n{branch}"])
    assert any(isinstance(node, ast.IfExp) for node in ast.walk(source.program.tree))
    assert Tiling(Sites(source.program, False), None).program() == source.size


def test_the_form_near_the_original_knows_one_way_round_and_what_the_branch_cost():
    branch = BRANCH.format(test="a < b", one="'x'", other="'y'")
    (source,) = sources([f"a = 4 + f()\nb = a * 2\n{branch}\nprint(a)"])
    (choice,) = (region for region in regions(source.program) if isinstance(region.nodes[0], ast.IfExp))
    assert ast.unparse(choice.nodes[0]) == "'x' if b > a else 'y'"
    assert choice.size == cost(branch) - cost("ans = 0\n") + 1


def choosing(number: int) -> str:
    left, right = "*-/+"[number % 4], "-+*"[number % 3]
    return f"a = {number} + 1\nb = 3 * a\n" + BRANCH.format(
        test=f"a {left} {number} < b {right} a", one=f"'low {number}'", other=f"'high {number}'"
    )


def test_one_tool_chooses_whatever_is_compared():
    mined = patterns.mine(sources([choosing(n) for n in range(2, 26)]))
    found = next(p for p in mined if p.symbols == ("if", "Gt", "#", "#", "#", "#"))
    branch = BRANCH.format(test="c > d - 2", one="'much'", other="'little'")
    made = rewrite(sources([f"c = 8 / 3\nd = c + 1\n{branch}"])[0], {found.id: ("choose", found)})
    assert made is not None
    assert "ans = choose(c, d - 2, 'much', 'little')" in made.text


def test_a_branch_that_no_tool_takes_stays_one():
    chain = CHAIN.replace("a + b", "c * 2 + 5 * c * 4 - 1")
    found = sources(
        [f"a = 4\nb = a * 2 + 5 * a * 3 - 1\nc = b * 2 + {n} * b * 3 - 1\n{chain}" for n in range(9)]
    )
    mined = [p for p in patterns.mine(found) if p.kind == "cut" and p.symbols[0] == "Sub"]
    tools = {pattern.id: (f"tool_{number}", pattern) for number, pattern in enumerate(mined)}
    made = rewrite(found[0], tools)
    assert made is not None
    assert "\nelif a > b * 2:\n    ans = 'y'\nelse:\n    ans = tool_" in made.text
    assert " if " not in made.text
    assert cost(made.text) < found[0].size


@pytest.mark.parametrize(
    ("text", "cut"),
    [("'a' if x > y else 'b'", True), ("f(x) if x > y else 0", False), ("x if x > y else y", False)],
)
def test_only_values_are_chosen_by_a_cut(text, cut):
    node = ast.parse(text, mode="eval").body
    assert (cuts.label(node, frozenset()) is not None) is cut
