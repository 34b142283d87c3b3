"""The gates: a tool that lies, reaches out, or answers differently twice is turned away; the control is admitted."""

import pytest

from sea.verify import Candidate, static_policy, verify
from tests.sea.specs import specification

TRAIN = [("a", True, ""), ("b", True, "")]
HELD_OUT = [("c", True, "")]


def judged(box, spec, train=TRAIN, held_out=HELD_OUT) -> Candidate:
    candidate = Candidate(spec, list(train), list(held_out))
    verify(candidate, box, ())
    return candidate


def test_the_control_is_admitted(box):
    candidate = judged(box, specification())
    assert candidate.admitted, candidate.reason
    assert len(candidate.verdicts) == 6


@pytest.mark.parametrize(
    ("body", "gate"),
    [
        ("return price * 3", "determinism: hash seed 1: double(3,) gave 9, recorded is 6"),
        ("return price * 2.0", "determinism: hash seed 1: double(3,) gave 6.0, recorded is 6"),
        ("return {3: 6}[price]", 'determinism: hash seed 1: double(5,) gave "raised KeyError"'),
        ("return 2 * price + hash('a') % 2 * hash('b') % 3", "determinism: hash seed "),
        ("return open('/etc/passwd').read()", "static policy: it uses open()"),
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
        ([*TRAIN, ("d", False, "gave 1, recorded is 2")], HELD_OUT, "replay: 1 of 3 programs differ; task d"),
        (TRAIN[:1], HELD_OUT, "replay: only 1 "),
        ([("a", True, "")] * 9, HELD_OUT, "replay: only 1 "),
        (TRAIN, [], "held-out replay: only 0 "),
        (TRAIN, [("c", False, "gave 1")], "held-out replay: 1 of 1 programs differ"),
    ],
)
def test_replay_needs_every_program_and_enough_tasks(box, train, held_out, gate):
    candidate = judged(box, specification(), train, held_out)
    assert not candidate.admitted
    assert candidate.reason.startswith(gate)


@pytest.mark.parametrize(
    "code",
    [
        "import os", "import os.path as math", "from subprocess import run", "from . import x", "import socket",
        "import importlib", "eval('1')", "x = exec", "__import__('os')", "getattr(x, 'y')", "globals()", "open('f')",
        "x.__subclasses__()", "print(1)", "def f():\n    import sys",
    ],
)  # fmt: skip
def test_static_policy_turns_away(code):
    assert static_policy(code)


@pytest.mark.parametrize(
    "code", ["import math", "from collections import Counter", "import numpy as np", "x.y()"]
)
def test_static_policy_lets_through(code):
    assert static_policy(code) == ""
