"""A program that calls a tool does what it did; one with the tool's name for something else is left alone."""

import pytest

from sea import patterns, select
from sea.box import Job
from sea.generate import draft_code
from sea.rewrite import rewrite
from sea.specify import draft
from sea.trace import Step, Trace


def load(codes: list[str]) -> list[patterns.Source]:
    return patterns.load(
        Trace(f"id-{n}", f"task-{n}", f"t.jsonl:{n}", (Step(code, "recorded"),))
        for n, code in enumerate(codes)
    )


SHAPES = {
    "arithmetic": "p = {n}\nq = {n} + 2\nprint((p * q - 5) * (p + 7) // (q + 2))",
    "loop": "total = 0\nfor v in [{n}, 4, {n} * 2]:\n    if v % 2:\n        total = total + v * 3 - 1\nprint(total)",
    "function": "def area(a, b):\n    c = a * b\n    return c * c + a - b\nprint(area({n}, 3), area(2, {n}))",
    "text": "name = 'n{n}'\nprint(name.strip().upper().center(len(name) + 6, '*'))",
    "mutation": "a = [{n}]\na.append(len(a) * 3 + a[0] * 2 - 1)\na.append(a[0])\nprint(a, len(a) * 3 + a[0] * 2 - 1)",
}


def test_rewritten_programs_give_what_they_gave(box):
    before: list[Job] = []
    after: list[Job] = []
    for name, shape in SHAPES.items():
        sources = load([shape.format(n=n) for n in range(8)])
        chosen = select.choose(patterns.mine(sources), sources)
        assert chosen, name
        taken: set[str] = set()
        for drafted in [draft(pattern, taken) for pattern in chosen]:
            for source in sources:
                found = rewrite(source, {drafted.pattern.id: (drafted.name, drafted.pattern)})
                if found is not None:
                    assert drafted.name in found.text
                    before.append(Job(source.trace.steps[0].code))
                    after.append(Job(found.text, tools=draft_code(drafted)))
    assert len(after) >= 8 * len(SHAPES)
    for one, other, job in zip(box.run_all(before), box.run_all(after), after, strict=True):
        assert one.ok
        assert (other.ok, other.output) == (True, one.output), job


@pytest.mark.parametrize(
    "line", ["{name} = [3]\nprint({name})", "def {name}(a):\n    return a", "from math import pi as {name}"]
)
def test_a_program_that_uses_the_tool_s_name_is_left_alone(line):
    codes = [SHAPES["arithmetic"].format(n=n) for n in range(8)]
    chosen = select.choose(patterns.mine(load(codes)), load(codes))
    drafted = draft(chosen[0], set())
    tools = {drafted.pattern.id: (drafted.name, drafted.pattern)}
    assert rewrite(load(codes)[0], tools) is not None
    used = line.format(name=drafted.name) + "\n" + codes[0] + f"\nprint({drafted.name})"
    assert rewrite(load([used])[0], tools) is None


def test_a_call_that_its_defaults_would_answer_is_given_everything():
    pairs = [(9, -7)] * 12 + [(3, -2), (4, -5), (8, -6)]
    read = load(
        [f"high = {a}\nlow = {b}\nprint('high' if abs(high) > abs(low) else 'low')" for a, b in pairs]
    )
    chosen = select.choose(patterns.mine(read), read)
    assert len(chosen) == 1
    assert len(chosen[0].defaults) == len(chosen[0].varying) == 2
    made = {text.text for source in read if (text := rewrite(source, {chosen[0].id: ("tool", chosen[0])}))}
    assert made == {"print(tool(9, -7))", "print(tool(3, -2))", "print(tool(4, -5))", "print(tool(8, -6))"}
