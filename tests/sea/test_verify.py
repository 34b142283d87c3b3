"""Mined tools before the gates: programs first, then the tool; each verdict is kept, the first failure ends it."""

import pytest

from sea.verify import GATES, Candidate, original_code, verify
from tests.sea.specs import specification

pytestmark = pytest.mark.timeout(120)

TRAIN = [("a", True, ""), ("b", True, "")]
HELD_OUT = [("c", True, "")]


def judged(box, spec, train=TRAIN, held_out=HELD_OUT) -> Candidate:
    candidate = Candidate(spec, list(train), list(held_out))
    verify(candidate, box, ())
    return candidate


@pytest.mark.thorough
def test_the_control_is_admitted(box):
    candidate = judged(box, specification())
    assert candidate.admitted, candidate.reason
    assert [verdict.gate for verdict in candidate.verdicts] == list(GATES)


def test_the_same_tool_has_the_same_evidence(box):
    one, two = judged(box, specification()), judged(box, specification())
    assert [v.as_dict() for v in one.verdicts] == [v.as_dict() for v in two.verdicts]
    assert one.tests == two.tests


@pytest.mark.parametrize(
    ("body", "gate"),
    [
        ("return price * 3", "replay: 3 of 3 calls differ: double(3) gave 9, recorded is 6"),
        ("return price * 2.0", "replay: 3 of 3 calls differ: double(3) gave 6.0, recorded is 6"),
        (
            "return {3: 6}[price]",
            "replay: 2 of 3 calls differ: double(5) gave raised KeyError, recorded is 10",
        ),
        ("return 2 * price + hash('a') % 2 * hash('b') % 3", ""),
        ("return open('/etc/passwd').read()", "static policy: it uses open"),
        ("return ().__class__", "static policy: it reaches for __class__"),
    ],
)
def test_a_tool_that_lies_is_turned_away(box, body, gate):
    candidate = judged(box, specification(body, ((3, 6), (5, 10), (7, 14))))
    assert not candidate.admitted
    assert candidate.reason.startswith(gate)


@pytest.mark.parametrize(
    ("train", "held_out", "gate"),
    [
        (
            [*TRAIN, ("d", False, "gave 1")],
            HELD_OUT,
            "replay of programs: 1 of 3 programs differ; task d: gave 1",
        ),
        (TRAIN[:1], HELD_OUT, "replay of programs: programs of only 1 tasks"),
        ([("a", True, "")] * 9, HELD_OUT, "replay of programs: programs of only 1 tasks"),
        (TRAIN, [], "held-out replay of programs: programs of only 0 tasks"),
        (TRAIN, [("c", False, "gave 1")], "held-out replay of programs: 1 of 1 programs differ"),
    ],
)
def test_replay_needs_every_program_and_enough_tasks(box, train, held_out, gate):
    candidate = judged(box, specification(), train, held_out)
    assert not candidate.admitted
    assert candidate.reason.startswith(gate)
    assert not candidate.verdicts[-1].passed


def test_the_original_is_the_body_alone():
    assert original_code(specification()).code == "def double(price: object) -> object:\n    return price * 2"
