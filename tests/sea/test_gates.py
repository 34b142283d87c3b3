"""The gates on small tools: the honest pass with figures, each kind of bad one fails where it should, attacks fail."""

import dataclasses
import datetime
from decimal import Decimal

import pytest

from sea.gates import hostile
from sea.gates.case import Case
from sea.gates.evidence import BadEvidence, Evidence, Original, Recorded, asserts, read_evidence
from sea.gates.judge import STEPS, judge
from sea.gates.lab import Lab, Program, Terms, encoded
from sea.gates.static import static_policy

pytestmark = [pytest.mark.thorough, pytest.mark.timeout(120)]


def calls(function, *arguments):
    return tuple(Recorded(given, function(*given)) for given in arguments)


def area(width, height):
    return width * height + 1


AREA = "def area(width: int, height: int) -> int:\n    return width * height + 1\n"
GIVEN = Evidence(calls(area, (2, 3), (4, 5), (7, 1)), calls(area, (6, 6)), Original(AREA, "area"))


@pytest.fixture(scope="session")
def lab(box):
    return Lab(box)


def test_the_honest_pass_every_gate_with_figures(lab):
    found = judge(AREA, "area", GIVEN, lab)
    assert found.accepted, found.reason
    assert [verdict.gate for verdict in found.verdicts] == [name for name, _ in STEPS]
    figures = {verdict.gate: verdict.figures for verdict in found.verdicts}
    assert figures["replay"] == {"calls": 3.0, "wrong": 0.0}
    assert figures["held-out replay"]["calls"] == 1.0
    assert figures["differential run"]["calls"] >= 40
    assert figures["error behaviour"]["calls"] >= 20
    assert figures["mutation score"]["adjusted"] == 1.0
    assert found.costs["cpu_ms_a_call"] < 100


@pytest.mark.parametrize(
    ("body", "gate"),
    [
        ("return width * height", "replay: 3 of 3 calls differ: area(2, 3) gave 6, recorded is 7"),
        ("return width * height + 1.0", "replay: 3 of 3 calls differ: area(2, 3) gave 7.0, recorded is 7"),
        ("return {(2, 3): 7, (4, 5): 21, (7, 1): 8}[width, height]", "held-out replay: 1 of 1 calls differ"),
        ("return width * height + 1 if width < 20 else 0", "differential run: "),
        ("return int(width) * int(height) + 1", "error behaviour: "),
        ("return width * height + 1 + hash('a') % 2 * 0 + (hash('b') % 97 == 5)", ""),
        ("import os\n    return 1", "static policy: it imports 'os'"),
        ("return width *", "static policy: it is not Python"),
        ("while height: pass", "replay: 3 of 3 calls differ: area(2, 3) gave took too long"),
    ],
)
def test_the_bad_fail_where_they_should(lab, body, gate):
    found = judge(f"def area(width, height):\n    {body}\n", "area", GIVEN, lab)
    if gate:
        assert not found.accepted
        assert found.reason.startswith(gate)
        assert all(verdict.passed for verdict in found.verdicts[:-1])


def test_the_hash_seed_is_noticed(lab):
    code = "def pick(words):\n    return [word for word in {*words}]\n"
    words = tuple(Recorded((list(text),), None) for text in ("ab", "abcdefgh"))
    case = Case(Program(code, "pick"), Evidence(words), lab)
    verdict = dict(STEPS)["determinism"](case)
    assert not verdict.passed
    assert "calls differ" in verdict.detail


def test_what_is_left_in_the_arguments_counts(lab):
    original = "def top(values):\n    values = sorted(values)\n    return values[-1]\n"
    changing = "def top(values):\n    values.sort()\n    return values[-1]\n"
    recorded = calls(max, ([3, 9, 4],), ([5, 1],))
    evidence = Evidence(recorded, original=Original(original, "top"))
    assert judge(original, "top", evidence, lab, STEPS[:5]).accepted
    found = judge(changing, "top", evidence, lab, STEPS[:5])
    assert found.reason.startswith("differential run")


def test_weak_tests_are_named(lab):
    """A branch that no generated input reaches: its mutants go unnoticed, and differ on a call nobody makes."""
    code = (
        "def odd(text):\n    if text[:3] == 'qqq':\n        if len(text) * 7 + 3 > 9:\n"
        "            return len(text) * 3 - 8\n    return 0\n"
    )
    found = judge(code, "odd", Evidence(calls(lambda _: 0, ("aa",), ("bb",), ("ab",))), lab)
    (verdict,) = [verdict for verdict in found.verdicts if verdict.gate == "mutation score"]
    assert verdict.figures["killed"] < verdict.figures["mutants"]


def test_tests_are_added_where_the_recorded_calls_are_weak(lab):
    code = "def clip(number):\n    if number > 10:\n        return 10\n    return number\n"
    found = judge(code, "clip", Evidence(calls(lambda n: n, (3,), (4,))), lab)
    assert found.accepted, found.reason
    assert found.tests
    assert any(test.result == 10 for test in found.tests)
    assert all(test.result == min(test.arguments[0], 10) for test in found.tests)


def test_values_of_other_types_are_judged(lab):
    code = (
        "import datetime\nfrom decimal import Decimal\n\ndef due(day, price):\n"
        "    return day + datetime.timedelta(days=7), (price * Decimal(2)).quantize(Decimal('0.01')), {day.year}\n"
    )
    day, price = datetime.date(2024, 2, 27), Decimal("1.25")
    recorded = (Recorded((day, price), (datetime.date(2024, 3, 5), Decimal("2.50"), {2024})),)
    assert judge(code, "due", Evidence(recorded), lab, STEPS[:-2]).accepted
    wrong = (Recorded((day, price), (datetime.date(2024, 3, 5), 2.5, {2024})),)
    assert judge(code, "due", Evidence(wrong), lab).reason.startswith("replay")


@pytest.mark.parametrize("attack", [*hostile.ATTACKS])
def test_attacks_fail_by_their_text(lab, attack):
    """With the static policy; those it lets through must fail further on."""
    code = hostile.ATTACKS[attack]
    if not static_policy(code):
        pytest.skip("not a matter of text")
    assert not judge(code, hostile.NAME, hostile.EVIDENCE, lab).accepted


QUICK = [
    "exit with success", "raise SystemExit", "memory bomb", "fork bomb", "writes a file outside", "network",
    "reads the evidence through frames", "equal to everything", "patches the worker", "prints a forged report",
    "kills its parent", "kills everything", "breaks the interpreter", "knows the examples by heart", "counts its calls",
]  # fmt: skip


@pytest.mark.parametrize(
    "attack", [pytest.param(a, marks=[] if a in QUICK else pytest.mark.slow) for a in hostile.ATTACKS]
)
def test_attacks_fail_without_the_static_policy(lab, attack):
    found = judge(hostile.ATTACKS[attack], hostile.NAME, hostile.EVIDENCE, lab, STEPS[1:])
    assert not found.accepted


def test_the_control_passes_with_the_evidence_of_the_attacks(lab):
    assert judge(hostile.CONTROL, hostile.NAME, hostile.EVIDENCE, lab).accepted


def test_one_program_does_not_touch_another(lab):
    programs = [
        Program(hostile.ATTACKS[name], hostile.NAME) for name in ("exit with success", "patches json")
    ]
    *_, report = lab.run(
        [*programs, Program(hostile.CONTROL, hostile.NAME)], encoded([(4,)]), Terms(call_s=0.5)
    )
    assert report.outcomes[0].value == 8


def test_asserts_are_read_without_being_run():
    text = "def check(c):\n    assert f([1], 'a') == (1, 2)\n    assert f(open('x')) == 1\n    assert g(1) == 1\n"
    assert asserts(text, ("f",)) == [Recorded(([1], "a"), (1, 2), where="line 2")]
    with pytest.raises(BadEvidence, match="line 1"):
        asserts("def", ("f",))


def test_evidence_from_files(tmp_path):
    path = tmp_path / "calls.jsonl"
    path.write_text(
        '{"arguments": [1], "result": {"tuple": [1]}}\n{"arguments": [0], "raises": "ValueError", "held_out": true}'
    )
    found = read_evidence(path, "f")
    assert found.examples[0] == Recorded((1,), (1,), where=f"{path}:1")
    assert found.held_out[0].raises == "ValueError"
    path.write_text('{"arguments": [1]}\n{"arguments": {"eval": "1"}}')
    with pytest.raises(BadEvidence, match=r"calls\.jsonl:2: not a recorded call"):
        read_evidence(path, "f")
    for text in ("", "[]", "{"):
        path.write_text(text)
        with pytest.raises(BadEvidence):
            read_evidence(path, "f")


def test_python_equality_is_for_asserts_only(lab):
    evidence = Evidence((Recorded((4,), 2),), equality="python")
    code = "def root(number):\n    return number ** 0.5\n"
    assert judge(code, "root", evidence, lab, STEPS[:3]).accepted
    assert not judge(code, "root", dataclasses.replace(evidence, equality="exact"), lab, STEPS[:3]).accepted


@pytest.mark.parametrize(
    "code",
    [
        "import sys\nx = sys.modules", "import sys as s\ns.modules", "from sys import modules", "import sys\ny = sys",
        "import random\nrandom._os", "import statistics\nstatistics.sys", "import collections\ncollections._sys",
        "from time import sleep", "import math\nmath.pi = 3", "1 + 1", "def f():\n    global eval\n    eval(1)",
        "import datetime\nx = datetime.date.today()", "f.__globals__", "x.f_back", "def __getattr__(x):\n    return x",
        "def g(eval):\n    return 1\ndef f():\n    return eval('1')", "x" * 30_000, "async def f():\n    return 1",
    ],
)  # fmt: skip
def test_static_policy_turns_away(code):
    assert static_policy(code)


@pytest.mark.parametrize(
    "code",
    [
        "import sys\nx = sys.maxsize", "def f(input):\n    return input[0]", "import datetime\nx = datetime.time(1)",
        '"""Doc."""\nfrom collections import Counter\nX = {1: 2}\n', "import numpy as np\ny = np.array([1]).sum()",
    ],
)  # fmt: skip
def test_static_policy_lets_through(code):
    assert static_policy(code) == ""
