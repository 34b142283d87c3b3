"""One-edit mutants: two families that share no text, valid programs, nothing but one edit."""

import ast

import pytest

from sea.gates.mutants import scoring, strengthening

CODE = '''
import math

LIMIT = 3


def f(values: list[int], low: int = 0) -> int:
    """Text 1 > 0."""
    total = 0
    for value in values[1:]:
        if value % 2 == 0 and value > low:
            total += math.floor(value * 1.5)
    return -total if not values else total
'''


@pytest.mark.parametrize("family", [scoring, strengthening])
def test_mutants_are_programs_with_one_edit(family):
    found = family(CODE, "f")
    assert len(found) > 15
    plain = ast.unparse(ast.parse(CODE)).splitlines()
    for what, text in found:
        compile(text, "<mutant>", "exec")
        changed = [line for line in text.splitlines() if line not in plain]
        assert len(changed) <= 1, what
        assert '"""Text 1 > 0."""' in text
        assert "list[int]" in text


def test_the_families_share_nothing():
    assert not {text for _, text in scoring(CODE, "f", 999)} & {
        text for _, text in strengthening(CODE, "f", 999)
    }


def test_a_sample_is_the_same_for_the_same_seed():
    assert len(scoring(CODE, "f", 5, seed=1)) <= 5
    assert scoring(CODE, "f", 5, seed=1) == scoring(CODE, "f", 5, seed=1)
    assert scoring(CODE, "f", 5, seed=1) != scoring(CODE, "f", 5, seed=2)


def test_the_edits_by_name():
    said = [what for what, _ in scoring("def f(x):\n    return x + 1\n", "f")]
    assert said == [
        "line 2: it returns None",
        "line 2: Add becomes Sub",
        "line 2: Add becomes Mult",
        "line 2: the number grows by one",
        "line 2: the number shrinks by one",
    ]
