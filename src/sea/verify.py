"""Mined tools before the gates: replay of whole programs with the tool in them, then everything `sea.gates` asks.

The first two verdicts are about the programs (recorded traces, rewritten to call the tool and executed in sandboxes by
`evolve`); the others are `gates.judge`'s about the tool itself, with the traces' own code as the original.
"""

import ast
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from sea.box import Box
from sea.equivalence import Tool
from sea.gates.case import Verdict
from sea.gates.evidence import Evidence, Original, Recorded
from sea.gates.judge import STEPS, judge
from sea.gates.lab import Lab
from sea.gates.static import ALLOWED_IMPORTS, static_policy
from sea.generate import tool_code
from sea.specify import Specification

__all__ = ["ALLOWED_IMPORTS", "GATES", "Candidate", "Verdict", "original_code", "static_policy", "verify"]

PROGRAMS = ("replay of programs", "held-out replay of programs")
GATES = (*PROGRAMS, *(name for name, _ in STEPS))
"""All gates, in order."""
_LEAST_TASKS = (2, 1)


@dataclass
class Candidate:
    """A tool on its way through the gates."""

    spec: Specification
    train: list[tuple[str, bool, str]]
    """(task, whether the rewritten program gave what was recorded, why not)."""
    held_out: list[tuple[str, bool, str]]
    verdicts: list[Verdict] = field(default_factory=list)
    seconds: float = 0.0
    """Sandbox time of the gates; not part of the library."""
    original: Original | None = None
    """The code as it stood in a trace; the tool's own body without types and text when None."""
    tests: tuple[Recorded, ...] = ()
    """Calls that the mutation gate added, with results."""
    proposed: tuple[str, ...] = ()
    """What a model has written of it, and why, in sentences."""

    @property
    def admitted(self) -> bool:
        """Whether every gate was reached and passed."""
        return len(self.verdicts) == len(GATES) and all(verdict.passed for verdict in self.verdicts)

    @property
    def reason(self) -> str:
        """Why it was turned away; empty when it was not."""
        return next((f"{v.gate}: {v.detail}" for v in self.verdicts if not v.passed), "")


def verify(candidate: Candidate, box: Box, dependencies: Sequence[str], seed: int = 0) -> None:
    """Run the gates and fill in the verdicts, up to the first that fails.

    Raises:
        NoSandbox: No sandbox could be made; the candidate is then not tested.
    """
    for gate, runs, least in zip(PROGRAMS, (candidate.train, candidate.held_out), _LEAST_TASKS, strict=True):
        candidate.verdicts.append(_programs(gate, runs, least))
        if not candidate.verdicts[-1].passed:
            return
    spec = candidate.spec
    given = [Recorded(one.arguments, one.result, where=one.trace_id) for one in spec.examples]
    original = candidate.original or original_code(spec)
    evidence = Evidence(tuple(given), original=Original(*of_fixed_width(spec, original.code, original.name)))
    found = judge(*of_fixed_width(spec, tool_code(spec)), evidence, Lab(box, dependencies), seed=seed)
    candidate.verdicts += found.verdicts
    candidate.tests, candidate.seconds = found.tests, found.seconds


def as_tool(candidate: Candidate) -> Tool:
    """A candidate and its recorded calls, to be compared with others."""
    calls = [Recorded(one.arguments, one.result, where=one.trace_id) for one in candidate.spec.examples]
    return Tool(*of_fixed_width(candidate.spec, tool_code(candidate.spec)), tuple(calls))


def of_fixed_width(spec: Specification, code: str, entry: str = "") -> tuple[str, str]:
    """Code and the function in it that takes as many arguments as examples hold: a spread last one as one tuple.

    `entry` is what the function is called there, where that is not the tool's name.
    """
    entry = entry or spec.name
    if not spec.spread:
        return code, entry
    names = [parameter.name for parameter in spec.parameters]
    name = f"{entry}_in_all"
    call = ", ".join([*names[:-1], "*" + names[-1]])
    return f"{code}\n\ndef {name}({', '.join(names)}):\n    return {entry}({call})\n", name


def original_code(spec: Specification) -> Original:
    """The traces' own statements as a function, without what generation adds to them."""
    bare = replace(
        spec,
        description="-",
        parameters=tuple(replace(one, type="object", description="-") for one in spec.parameters),
        return_type="object",
    )
    tree = ast.parse(tool_code(bare))
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            node.body = node.body[1:]
    return Original(ast.unparse(tree), spec.name)


def _programs(gate: str, runs: list[tuple[str, bool, str]], least: int) -> Verdict:
    failed = [(task, why) for task, good, why in runs if not good]
    tasks = len({task for task, _, _ in runs})
    figures = {"programs": float(len(runs)), "tasks": float(tasks), "wrong": float(len(failed))}
    if failed:
        said = f"{len(failed)} of {len(runs)} programs differ; task {failed[0][0]}: {failed[0][1]}"
        return Verdict(gate, False, said, figures)
    if tasks < least:
        said = f"programs of only {tasks} tasks could be replayed; at least {least} are needed"
        return Verdict(gate, False, said, figures)
    return Verdict(gate, True, f"{len(runs)} programs of {tasks} tasks give what was recorded", figures)
