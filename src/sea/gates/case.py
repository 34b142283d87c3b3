"""A candidate before the gates: its text, its evidence, and what sandboxes have shown about it, each run made once.

The candidate, the original code and every mutant run in processes of their own, the candidate and the original also in
sandboxes of their own; all values are compared here.
"""

import itertools
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from sea import codec, inputs
from sea.gates.evidence import Evidence, Recorded
from sea.gates.lab import Lab, Outcome, Program, Report, Terms, encoded

LIKE = 120
"""Generated calls that have what held for all recorded ones."""
GENERATED_S = 0.5
"""Processor time of a generated call."""
WILD = 120
"""Generated calls that need not."""


@dataclass(frozen=True)
class Verdict:
    """What one gate said."""

    gate: str
    passed: bool
    detail: str
    """A sentence."""
    figures: dict[str, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """As it stands in evidence.json."""
        found: dict[str, Any] = {"gate": self.gate, "passed": self.passed, "detail": self.detail}
        return {**found, "figures": self.figures} if self.figures else found


@dataclass
class Case:
    """One candidate and everything known about it."""

    program: Program
    evidence: Evidence
    lab: Lab
    seed: int = 0
    tests: list[Recorded] = field(default_factory=list)
    """Calls added by the mutation gate, with what the tool gave."""
    costs: dict[str, float] = field(default_factory=dict)
    """Measured time and memory."""

    @cached_property
    def recorded(self) -> list[Recorded]:
        """Examples and held-out calls that can be sent into a sandbox."""
        known = (*self.evidence.examples, *self.evidence.held_out)
        return [one for one in known if encoded([one.arguments])]

    @cached_property
    def like(self) -> list[Any]:
        """Generated calls, half of each generator, that keep what held for the recorded ones."""
        return self._generated(LIKE, True)

    @cached_property
    def wild(self) -> list[Any]:
        """Generated calls without regard to that, and calls with arguments of other types."""
        return self._generated(WILD, False) + encoded(_misfits(self.evidence.calls))

    def _generated(self, count: int, like: bool) -> list[Any]:
        seen = self.evidence.calls
        texts = [self.program.code, *([self.evidence.original.code] if self.evidence.original else [])]
        constants = [value for text in texts for value in inputs.constants_of(text)]
        first = itertools.islice(inputs.vary(seen, self.seed, like, constants), count // 2)
        second = itertools.islice(inputs.draw(seen, self.seed, like), count // 2)
        return encoded([*first, *second])

    @cached_property
    def calls(self) -> list[Any]:
        """Everything the candidate is asked, in order."""
        return encoded([one.arguments for one in self.recorded]) + self.like + self.wild

    @cached_property
    def report(self) -> Report:
        """The candidate on all calls."""
        return self.lab.run([self.program], self.calls, Terms(must=len(self.recorded), rest_s=GENERATED_S))[0]

    @cached_property
    def again(self) -> Report:
        """The candidate once more: another hash seed, in reverse order the calls that did not end it."""
        places = [n for n, out in enumerate(self.report.outcomes) if out.kind not in ("ended", "missing")]
        calls = [self.calls[place] for place in reversed(places)]
        report = self.lab.run([self.program], calls, Terms(hash_seed=2))[0]
        found = dict(zip(reversed(places), report.outcomes, strict=True))
        left = Outcome("missing", error="not called again")
        outcomes = tuple(found.get(place, left) for place in range(len(self.calls)))
        return Report(report.error, outcomes, report.cpu_s, report.peak_kib)

    @cached_property
    def original(self) -> Report | None:
        """The original code on all calls, in another sandbox; None when there is none."""
        original = self.evidence.original
        if original is None:
            return None
        terms = Terms(
            must=len(self.recorded), rest_s=GENERATED_S / 2
        )  # what is close to the limit is not compared
        return self.lab.run([Program(original.code, original.name)], self.calls, terms)[0]

    def slice(self, report: Report, part: str) -> list[tuple[Any, Outcome]]:
        """(arguments, outcome) of one part of the calls: recorded, like or wild."""
        sizes = {"recorded": len(self.recorded), "like": len(self.like), "wild": len(self.wild)}
        start = 0
        for name, size in sizes.items():
            if name == part:
                calls = self.calls[start : start + size]
                return list(zip(calls, report.outcomes[start : start + size], strict=True))
            start += size
        raise KeyError(part)

    def call_text(self, data: Any) -> str:
        """A call as a person writes it."""
        text = ", ".join(map(repr, codec.decode(data)))
        return f"{self.program.name}({text if len(text) <= 80 else text[:77] + '...'})"


_STRANGE: tuple[Any, ...] = (None, "", -1, 0, [], {}, 2.5, "x", True)


def _misfits(calls: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """The first recorded call with one argument of another type, and calls with one argument too few and too many."""
    if not calls or not calls[0]:
        return []
    first = calls[0]
    places = range(len(first))
    swapped = [(*first[:place], strange, *first[place + 1 :]) for place in places for strange in _STRANGE]
    return [*swapped[:40], first[:-1], (*first, first[-1])]


def agrees(found: Outcome, expected: Outcome) -> bool:
    """Same kind, same value of the same types, same exception, same effect on the arguments."""
    if found.kind != expected.kind:
        return False
    if found.kind == "value":
        return codec.same(found.value, expected.value) and codec.same(found.after, expected.after)
    return found.error == expected.error
