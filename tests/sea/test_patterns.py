"""Support is counted over distinct tasks; constants stay; what does not pay is not chosen."""

from itertools import pairwise

import pytest

from sea import patterns, select
from sea.trace import Step, Trace


def sources(codes: list[str], tasks: list[str] | None = None) -> list[patterns.Source]:
    tasks = tasks or [f"task-{number}" for number in range(len(codes))]
    return patterns.load(
        Trace(f"id-{number}", task, f"t.jsonl:{number}", (Step(code, result_name="ans", answer="0"),))
        for number, (code, task) in enumerate(zip(codes, tasks, strict=True))
    )


def program(number: int) -> str:
    return f"price = {number}\ncount = {number + 3}\nans = (price * count - 5) / (count + price)"


def test_thirty_traces_of_one_task_are_no_pattern():
    assert patterns.mine(sources([program(n) for n in range(30)], ["same"] * 30), 3) == []


@pytest.mark.parametrize(("tasks", "found"), [(2, False), (3, True)])
def test_support_is_distinct_tasks(tasks, found):
    many = sources([program(n) for n in range(30)], [f"task-{n % tasks}" for n in range(30)])
    mined = patterns.mine(many, 3)
    assert bool(mined) is found
    assert {pattern.support for pattern in mined} <= {3}


def test_what_never_differs_stays_a_constant():
    largest = max(patterns.mine(sources([program(n) for n in range(5)])), key=lambda p: p.example.size)
    constant = [h.value for index, h in enumerate(largest.example.holes) if index not in largest.varying]
    assert constant == [5]


def test_another_constant_does_not_fit():
    mined = patterns.mine(sources([program(n) for n in range(5)]))
    largest = max(mined, key=lambda pattern: pattern.example.size)
    other = sources([program(9).replace("- 5", "- 6"), program(9)])
    placed = [[r for r in patterns.regions(s.program) if r.key == largest.id] for s in other]
    assert [patterns.fits(largest, found[0].holes) for found in placed] == [False, True]


def test_chosen_places_never_overlap_and_pay():
    many = sources([program(n) for n in range(12)])
    chosen = select.choose(patterns.mine(many), many)
    assert chosen
    spans: dict[int, list[tuple[int, int]]] = {}
    for pattern in chosen:
        assert pattern.saving > 0
        for place in pattern.chosen_for:
            spans.setdefault(id(place.source), []).append(place.region.span)
    for taken in spans.values():
        ordered = sorted(taken)
        assert all(a[1] < b[0] for a, b in pairwise(ordered))


def test_three_short_places_do_not_pay():
    few = sources([f"ans = {n} + {n}" for n in range(3)])
    assert select.choose(patterns.mine(few), few) == []


def test_a_line_break_in_a_format_is_no_crash():
    patterns.mine(sources(["x = 'a\\nb'\nans = f'{x} {len(ans)}'"] * 3), 3)


def test_the_published_shape():
    shape = patterns.mine(sources([program(n) for n in range(4)]))[0].as_dict()
    assert shape["frequency"] == 4
    assert {"pattern_id", "pattern_name", "pattern_type", "example_instances", "reasoning"} <= shape.keys()
