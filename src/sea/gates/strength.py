"""How much the tests notice: mutants of one family find new tests, mutants of the other score all of them.

A mutant that survives the tests counts as equivalent only if it also gives the same on ten thousand calls of the
generator that chose no test. Each mutant runs in a process of its own, a family in one sandbox.
"""

import itertools
import random
from dataclasses import dataclass, replace
from typing import Any

from sea import codec, inputs
from sea.gates.case import Case, Verdict
from sea.gates.evidence import Recorded
from sea.gates.lab import Lab, Outcome, Program, Report, Terms, encoded
from sea.gates.mutants import MOST, scoring, strengthening

POOL = 300
"""Generated calls that new tests are chosen from."""
MOST_TESTS = 24
PROOF = 10_000
"""Calls of the second generator that show a survivor to differ."""
LEAST_SCORE = 0.8
_CALL_S = 0.05
"""Processor time of a generated call; those on which the tool itself needs more are not used."""
_FAMILY_S = 1.5
"""Processor time all mutants of a family may need together, by what the tool itself needs; less is tried else."""
_PROOF_S = 3.0
"""Processor time the tool may need for `PROOF` calls; one that needs more has no survivor called equivalent."""
_FIRST = 500
"""Calls of the proof that are made first, to drop the survivors that differ at once."""
_REFERENCE = Terms(call_s=_CALL_S, failures=20, program_s=2.0, digest=True)


@dataclass(frozen=True)
class Strength:
    """What the tests notice."""

    mutants: int
    killed: int
    equivalent: int
    survivors: tuple[str, ...]
    """Of mutants that are not equivalent: what was edited."""
    tests: tuple[Recorded, ...]
    """Calls added to the recorded ones, with what the tool gives."""

    @property
    def raw(self) -> float:
        """Killed, of all."""
        return self.killed / self.mutants if self.mutants else 1.0

    @property
    def adjusted(self) -> float:
        """Killed, of those that are not equivalent."""
        real = self.mutants - self.equivalent
        return self.killed / real if real else 1.0


@dataclass(frozen=True)
class _Pace:
    """How fast the tool is."""

    each_s: float
    """On generated calls, on average."""
    terms: Terms
    """For its mutants: ten times what all its recorded calls take, a tenth of a second at least."""

    def share(self, calls: int) -> int:
        """How many mutants may make so many calls."""
        return max(10, min(MOST, int(_FAMILY_S / max(self.each_s * calls, 1e-6))))


def _pool(
    program: Program, seen: list[tuple[Any, ...]], base: list[Any], lab: Lab, seed: int
) -> tuple[list[Any], _Pace]:
    """Generated calls that the tool answers fast, and how fast it is."""
    constants = inputs.constants_of(program.code)
    like = itertools.islice(inputs.vary(seen, seed, True, constants), POOL // 2)
    wild = itertools.islice(inputs.vary(seen, seed + 7, False, constants), POOL // 2)
    pool = encoded([*like, *wild])
    (recorded,) = lab.run([program], base)
    (reference,) = lab.run([program], pool, _REFERENCE)
    answered = _answered(pool, reference)
    terms = Terms(
        call_s=min(2.0, max(2 * _CALL_S, 10 * recorded.cpu_s)), failures=0, program_s=5.0, digest=True
    )
    return answered, _Pace(reference.cpu_s / max(1, len(answered)), terms)


def measure(program: Program, seen: list[tuple[Any, ...]], lab: Lab, seed: int = 0) -> Strength:
    """Strengthen the recorded calls and score the result.

    Raises:
        NoSandbox: There was none, or it was lost.
    """
    base = encoded(seen)
    pool, pace = _pool(program, seen, base, lab, seed)
    chosen = _strengthen(program, base, pool, lab, pace, seed) if pool else []
    calls = base + [data for data, _ in chosen]
    mutants = scoring(program.code, program.name, pace.share(len(calls)), seed)
    family = [Program(text, program.name) for _, text in mutants]
    reports = lab.run([program, *family], calls, pace.terms)
    alive = [number for number, report in enumerate(reports[1:]) if not differs(report, reports[0])]
    proven = different(program, [family[number] for number in alive], seen, lab, seed + 1)
    survivors = tuple(mutants[number][0] for number, other in zip(alive, proven, strict=True) if other)
    tests = tuple(_recorded(data, outcome) for data, outcome in chosen)
    return Strength(len(family), len(family) - len(alive), len(alive) - len(survivors), survivors, tests)


def _strengthen(
    program: Program, base: list[Any], pool: list[Any], lab: Lab, pace: _Pace, seed: int
) -> list[tuple[Any, Outcome]]:
    """Calls (and what the program gives) that tell it from mutants which the recorded calls do not notice."""
    mutants = strengthening(program.code, program.name, pace.share(len(pool) + len(base)), seed)
    family = [Program(text, program.name) for _, text in mutants]
    reports = lab.run([program, *family], base + pool, pace.terms)
    kills = [_kills(report, reports[0], len(base)) for report in reports[1:]]
    picks = _cover([kill for kill in kills if kill], len(pool))
    if not picks:
        return []
    calls = [pool[number] for number in picks]
    (plain,) = lab.run([program], calls)
    return [pair for pair in zip(calls, plain.outcomes, strict=True) if pair[1].kind in ("value", "raised")]


def _answered(calls: list[Any], report: Report) -> list[Any]:
    """Calls that the tool answered in time, with a value or an exception."""
    return [data for data, out in zip(calls, report.outcomes, strict=True) if out.kind == "value"]


def _kills(report: Report, reference: Report, base: int) -> set[int]:
    """Places in the pool where a mutant differs; empty when the recorded calls notice it already."""
    if report.error:
        return set()
    pairs = list(zip(report.outcomes, reference.outcomes, strict=True))
    if any(_unlike(*pair) for pair in pairs[:base]):
        return set()
    return {number for number, pair in enumerate(pairs[base:]) if _unlike(*pair)}


def _unlike(one: Outcome, other: Outcome) -> bool:
    return (one.kind, one.value) != (other.kind, other.value)


def _cover(kills: list[set[int]], size: int) -> list[int]:
    """Few calls that notice every mutant that one of the pool notices, each twice where that is possible."""
    wanted = [2 for _ in kills]
    picks: list[int] = []
    while len(picks) < MOST_TESTS:
        gains = [0] * size
        for kill, left in zip(kills, wanted, strict=True):
            for number in kill if left > 0 else ():
                gains[number] += 1
        best = max((n for n in range(size) if n not in picks), key=gains.__getitem__, default=None)
        if best is None or not gains[best]:
            break
        picks.append(best)
        wanted = [left - (best in kill) for kill, left in zip(kills, wanted, strict=True)]
    return picks


def differs(report: Report, reference: Report) -> bool:
    """Whether a mutant was noticed: it cannot be imported, or an outcome is another."""
    pairs = zip(report.outcomes, reference.outcomes, strict=True)
    return bool(report.error) or any(_unlike(*pair) for pair in pairs)


def different(
    program: Program, others: list[Program], seen: list[tuple[Any, ...]], lab: Lab, seed: int
) -> list[bool]:
    """For each other program, whether it differs from the first on `PROOF` calls of the second generator.

    A program too slow for so many calls shows nothing: all others then count as different.
    """
    if not others:
        return []
    generated = list(itertools.islice(inputs.draw(seen, seed, like=True), PROOF // 2))
    generated += itertools.islice(inputs.draw(seen, seed), PROOF - len(generated))
    random.Random(seed).shuffle(generated)  # noqa: S311 -- an order, no secret
    calls = encoded(generated)
    (reference,) = lab.run([program], calls, replace(_REFERENCE, program_s=2 * _PROOF_S))
    if reference.cpu_s > _PROOF_S or any(out.kind == "missing" for out in reference.outcomes):
        return [True] * len(others)
    calls = _answered(calls, reference)
    terms = Terms(call_s=2 * _CALL_S, failures=0, program_s=4 * _PROOF_S, digest=True)
    found: dict[int, bool] = dict.fromkeys(range(len(others)), False)
    for part in (calls[:_FIRST], calls[_FIRST:]):
        left = [number for number, other in found.items() if not other]
        reports = lab.run([program, *(others[number] for number in left)], part, terms)
        found |= {n: differs(report, reports[0]) for n, report in zip(left, reports[1:], strict=True)}
    return list(found.values())


def _recorded(data: Any, outcome: Outcome) -> Recorded:
    arguments = tuple(codec.decode(data))
    return Recorded(arguments, outcome.value, outcome.error, "generated")


def strength_gate(case: Case) -> Verdict:
    """The recorded calls and those added notice enough of the mutants."""
    found = measure(case.program, case.evidence.calls, case.lab, case.seed)
    case.tests = list(found.tests)
    figures = {
        "mutants": float(found.mutants),
        "killed": float(found.killed),
        "equivalent": float(found.equivalent),
        "raw": round(found.raw, 4),
        "adjusted": round(found.adjusted, 4),
        "tests_added": float(len(found.tests)),
    }
    good = found.adjusted >= LEAST_SCORE
    said = (
        f"tests notice {found.killed} of {found.mutants - found.equivalent} one-edit mutants"
        f" that are not equivalent; {len(found.tests)} tests were added"
    )
    return Verdict(
        "mutation score", good, said if good else f"{said}; unnoticed: {found.survivors[0]}", figures
    )
