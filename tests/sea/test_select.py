"""Chosen tools pay, the order of the programs does not matter, and a pattern in a library is read again as it was."""

import json
import random
from collections import Counter

import pytest

from sea import patterns, select
from sea.generate import draft_code
from sea.inline import GivenBack, Tool, given_back
from sea.normalise import cost
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
