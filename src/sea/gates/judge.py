"""The gates in their order: a table, run from the top, ended by the first failure. Every verdict is kept.

A candidate whose sandbox is lost fails at that gate and nowhere else; when no sandbox can be had at all, nothing is
judged.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sea.box import Lost
from sea.gates.budget import budget_gate
from sea.gates.case import Case, Verdict
from sea.gates.determinism import determinism_gate
from sea.gates.differential import differential_gate
from sea.gates.errors import errors_gate
from sea.gates.evidence import Evidence, Recorded
from sea.gates.lab import Lab, Program
from sea.gates.replay import held_out_gate, import_gate, replay_gate
from sea.gates.static import static_gate
from sea.gates.strength import strength_gate

Gate = Callable[[Case], Verdict]
STEPS: tuple[tuple[str, Gate], ...] = (
    ("static policy", static_gate),
    ("isolated import", import_gate),
    ("replay", replay_gate),
    ("held-out replay", held_out_gate),
    ("differential run", differential_gate),
    ("error behaviour", errors_gate),
    ("determinism", determinism_gate),
    ("mutation score", strength_gate),
    ("time and memory", budget_gate),
)
WITHOUT_MUTATION = tuple(step for step in STEPS if step[0] != "mutation score")
"""Judges the code only, not how strong its tests are; several times faster."""


@dataclass(frozen=True)
class Judgement:
    """What all gates said, up to the first that failed."""

    verdicts: tuple[Verdict, ...]
    accepted: bool
    tests: tuple[Recorded, ...] = ()
    """Calls the mutation gate added to the recorded ones, with results."""
    seconds: float = field(default=0.0, compare=False)
    costs: dict[str, float] = field(default_factory=dict, compare=False)
    """Measured: `cpu_ms_a_call`, `peak_mib`."""

    @property
    def reason(self) -> str:
        """Why it was turned away; empty when it was not."""
        return next((f"{v.gate}: {v.detail}" for v in self.verdicts if not v.passed), "")


def judge(
    code: str,
    name: str,
    evidence: Evidence,
    lab: Lab,
    steps: Sequence[tuple[str, Gate]] = STEPS,
    seed: int = 0,
) -> Judgement:
    """Put a function through the gates.

    Args:
        code: Text of a module with the function in it.
        name: The function.
        evidence: What it is judged by; at least one recorded call.
        lab: Where it is run.
        steps: The gates, in order.
        seed: Of generated inputs.

    Raises:
        NoSandbox: None could be made; nothing was judged.
    """
    started = time.monotonic()
    case = Case(Program(code, name), evidence, lab, seed)
    verdicts: list[Verdict] = []
    for gate, check in steps:
        try:
            verdicts.append(check(case))
        except Lost as error:
            verdicts.append(Verdict(gate, False, f"the sandbox did not survive it: {error}"))
        if not verdicts[-1].passed:
            break
    accepted = len(verdicts) == len(steps) and all(verdict.passed for verdict in verdicts)
    return Judgement(tuple(verdicts), accepted, tuple(case.tests), time.monotonic() - started, case.costs)
