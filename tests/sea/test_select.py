"""Chosen tools pay, the order of the programs does not matter, and a pattern in a library is read again as it was."""

import ast
import json
import random
from collections import Counter

import pytest

from sea import patterns, select
from sea.generate import draft_code
from sea.inline import GivenBack, Tool, given_back
from sea.normalise import cost
from sea.reach import Reach
from sea.rewrite import Index, rewrite
from sea.specify import draft
from sea.stored import restored, stored
from sea.trace import Step, Trace


def traces() -> list[Trace]:
    codes = []
    for n in range(16):
        codes.append(f"a = {n}\nb = {n + 2}\nc = 5\nans = (a + b) * c")
        codes.append(f"scores = [{n}, 4, {n * 2}]\nscores = sorted(scores)\nans = scores[len(scores) // 2]")
        codes.append(f"v = [{n}, 3]\nans = 0\nfor i in v:\n    if i >= {n % 5}:\n        ans += 1")
    return [
        Trace(f"id-{n}", f"task-{n}", f"t:{n}", (Step(code, answer="0", result_name="ans"),))
        for n, code in enumerate(codes)
    ]


@pytest.fixture(scope="module")
def sources() -> list[patterns.Source]:
    return patterns.load(traces())


@pytest.fixture(scope="module")
def chosen(sources) -> list[patterns.Pattern]:
    return select.choose(patterns.mine(sources), sources)


def test_any_order_gives_the_same_tools(chosen):
    shuffled = traces()
    random.Random(3).shuffle(shuffled)
    other = patterns.load(shuffled)
    assert {p.id for p in select.choose(patterns.mine(other), other)} == {p.id for p in chosen}


def test_with_the_tools_everything_is_shorter(sources, chosen):
    taken: set[str] = set()
    drafts = [draft(pattern, taken) for pattern in chosen]
    index = Index({drafted.pattern.id: (drafted.name, drafted.pattern) for drafted in drafts})
    tools = {drafted.name: Tool(draft_code(drafted)) for drafted in drafts}
    after = sum(cost(draft_code(drafted)) for drafted in drafts)
    for source in sources:
        made = rewrite(source, index)
        assert made is not None
        code = source.trace.steps[0].code
        assert isinstance(given_back(code, made.text, tools, frozenset({"ans"})), GivenBack)
        after += cost(made.text)
    assert after < sum(source.size for source in sources)


def test_a_list_that_is_only_looked_at_is_spread(chosen):
    codes = [draft_code(draft(pattern, set())) for pattern in chosen]
    assert any("*values" in code for code in codes)


def test_a_stored_pattern_is_the_pattern(sources):
    for pattern in patterns.mine(sources):
        again = restored(json.loads(json.dumps(stored(pattern))))
        assert (again.id, again.varying, again.defaults) == (pattern.id, pattern.varying, pattern.defaults)


def test_a_changed_text_is_no_pattern(chosen):
    data = stored(chosen[0])
    with pytest.raises(ValueError, match="make the library anew"):
        restored(data | {"text": "ans = 1 + n"})


def _programs(shape: str) -> list[patterns.Source]:
    return patterns.load(
        Trace(f"id-{n}", f"task-{n}", f"t:{n}", (Step(shape.format(n=n), answer="0", result_name="ans"),))
        for n in range(12)
    )


@pytest.mark.parametrize(
    ("shape", "counts"),
    [
        ("first_of_all = {n}\nsecond_of_all = {n}2\nans = first_of_all * second_of_all", True),
        ("def solver():\n    a = {n}\n    b = {n}7\n    return a * b\nans = solver()", True),
        ("ans = max({n}, {n}2)", False),
        ("a = {n}\nb = {n}2\nc = a * b\nans = [c, c, 'name{n}', a]", False),
    ],
)
def test_one_operation_counts_as_a_whole_program_of_statements_only(shape, counts):
    sources = _programs(shape)
    turned_away: Counter[str] = Counter()
    chosen = select.choose(patterns.mine(sources), sources, turned_away=turned_away)
    assert bool(chosen) is counts
    assert counts or turned_away["it only names one operation"]


def test_a_skeleton_stands_nowhere_else():
    sources = _programs("first_of_all = {n}\nsecond_of_all = {n}2\nans = first_of_all * second_of_all")
    (pattern,) = select.choose(patterns.mine(sources), sources)
    drafted = draft(pattern, set())
    index = Index({pattern.id: (drafted.name, drafted.pattern)})
    assert all(rewrite(source, index) for source in sources)
    longer = "first_of_all = {n}\nsecond_of_all = {n}2\nans = first_of_all * second_of_all - {n}"
    assert not any(rewrite(source, index) for source in _programs(longer))


def test_a_tool_is_weighed_as_it_is_counted(chosen):
    for pattern in chosen:
        drafted = draft(pattern, set())
        types = {name: "int" for name in drafted.parameters}
        typed = ast.parse(draft_code(drafted))
        function = next(node for node in typed.body if isinstance(node, ast.FunctionDef))
        function.returns = ast.Name("int", ast.Load())
        arguments = function.args
        for argument in [*arguments.args, *([arguments.vararg] if arguments.vararg else [])]:
            argument.annotation = ast.Name(types[argument.arg], ast.Load())
        assert select.price(pattern) == cost(ast.unparse(typed))
        earned = sum(max(1, place.shape.size - 3) for place in pattern.chosen_for)
        assert pattern.saving == earned - select.price(pattern)


def habits() -> list[patterns.Source]:
    codes = []
    for n in range(40):
        words = ("'yes'", "'no'") if n % 2 else ("'more'", "'less'")
        codes.append(f"a = {n} + 2\nb = {n} * 3\nans = {words[0]} if a > b - {n + 1} else {words[1]}")
    return patterns.load(
        Trace(f"id-{n}", f"task-{n}", f"t:{n}", (Step(code, answer="0", result_name="ans"),))
        for n, code in enumerate(codes)
    )


def test_two_habits_are_two_sets_of_defaults_of_one_shape():
    found = [pattern for pattern in patterns.mine(habits()) if pattern.symbols[:2] == ("if", "Gt")]
    pairs = {}
    for pattern in found:
        pairs.setdefault(patterns.shape_of(pattern.id), []).append(pattern)
    both = [pair for pair in pairs.values() if len(pair) == 2]
    assert both
    for one, other in both:
        assert {text for _, text in one.defaults} | {text for _, text in other.defaults} == {
            "'yes'", "'no'", "'more'", "'less'",
        }  # fmt: skip
        again = restored(json.loads(json.dumps(stored(other))))
        assert (again.id, again.defaults) == (other.id, other.defaults)


def test_a_call_that_is_given_nothing_is_none():
    """It would give back what its defaults remember: an answer, not a computation."""
    codes = [f"a = {n}\nans = 'warm' if a * 2 + 7 > {30 + n % 3} else 'cold'" for n in range(12)]
    codes += ["ans = 'warm' if 5 * 2 + 7 > 30 else 'cold'"] * 12
    sources = patterns.load(
        Trace(f"id-{n}", f"task-{n}", f"t:{n}", (Step(code, answer="0", result_name="ans"),))
        for n, code in enumerate(codes)
    )
    found = select.choose(patterns.mine(sources), sources, least_tasks=2)
    index = Index({pattern.id: (f"tool_{number}", pattern) for number, pattern in enumerate(found)})
    written = [made.text for source in sources if (made := rewrite(source, index))]
    assert written
    assert not any("tool_" in text and "()" in text for text in written)


def test_what_a_normal_form_saves_alone_is_no_tools_saving():
    codes = [
        f"v = [{n}, {n + 3}, 8]\nv = sorted(v)\ni = len(v) // 2\nans = (v[i] + v[i]) / 2" for n in range(8)
    ]
    codes += [f"n = {n}\nans = 'on time'" for n in range(8)]
    read = patterns.load(
        Trace(f"{n}", f"{n}", f"{n}", (Step(code, answer="0", result_name="ans"),))
        for n, code in enumerate(codes)
    )
    found = patterns.mine(read)
    scored = Reach(Index({pattern.id: (pattern.id, pattern) for pattern in found})).gather(read)
    for one in scored:
        assert one.with_tools(set()) == one.size
        assert (one.with_tools({pattern.id for pattern in found}) < one.size) == bool(
            one.uses({pattern.id for pattern in found})
        )
    assert any(one.uses({pattern.id for pattern in found}) for one in scored)
