"""The gates a candidate passes, in order, stopping at the first failure; each verdict is kept as evidence.

Static policy, isolated import, replay of recorded programs, held-out replay on other tasks, determinism, its tests. All
but the first run in a sandbox. Values are compared here, outside the sandbox, by exact type.
"""

import ast
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sea.box import Box, literal
from sea.generate import test_code, tool_code
from sea.specify import Specification

ALLOWED_IMPORTS = frozenset(
    {
        "math",
        "re",
        "json",
        "datetime",
        "collections",
        "itertools",
        "functools",
        "statistics",
        "decimal",
        "fractions",
    }
    | {
        "string",
        "textwrap",
        "unicodedata",
        "random",
        "operator",
        "calendar",
        "bisect",
        "heapq",
        "numpy",
        "sympy",
        "typing",
    }
)
_BANNED_NAMES = frozenset(
    {
        "exec",
        "eval",
        "compile",
        "open",
        "input",
        "print",
        "__import__",
        "globals",
        "locals",
        "vars",
        "getattr",
    }
    | {"setattr", "delattr", "breakpoint", "exit", "quit", "memoryview", "help"}
)
_TEST_TIMEOUT_S = 30
_CHECK = """
import json, sys
from tool import {name} as tool
calls = [eval(line) for line in open("calls.txt")]
for arguments in calls:
    try:
        print(json.dumps(repr(tool(*arguments))))
    except Exception as error:
        print(json.dumps("raised " + type(error).__name__))
"""


@dataclass(frozen=True)
class Verdict:
    """What one gate said."""

    gate: str
    passed: bool
    detail: str

    def as_dict(self) -> dict[str, Any]:
        """As it stands in evidence.json."""
        return {"gate": self.gate, "passed": self.passed, "detail": self.detail}


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

    @property
    def admitted(self) -> bool:
        """Whether every gate was reached and passed."""
        return len(self.verdicts) == len(GATES) and all(verdict.passed for verdict in self.verdicts)

    @property
    def reason(self) -> str:
        """Why it was turned away; empty when it was not."""
        return next((f"{v.gate}: {v.detail}" for v in self.verdicts if not v.passed), "")


def verify(candidate: Candidate, box: Box, dependencies: Sequence[str]) -> None:
    """Run the gates and fill in the verdicts.

    Raises:
        NoSandbox: A gate could not be run at all; the candidate is then not tested.
    """
    started = time.monotonic()
    pure = {"static policy": _static, "replay": _replay, "held-out replay": _held_out}
    for gate, check in pure.items():
        _note(candidate, gate, check(candidate))
        if not candidate.verdicts[-1].passed:
            return
    with box.sandbox(("pytest", *dependencies)) as sandbox:
        sandbox.fs.upload_file(tool_code(candidate.spec).encode(), "tool.py")
        sandbox.fs.upload_file(test_code(candidate.spec).encode(), "test_tool.py")
        _note(candidate, "isolated import", _import(sandbox))
        if candidate.verdicts[-1].passed:
            _note(candidate, "determinism", _determinism(sandbox, candidate.spec))
        if candidate.verdicts[-1].passed:
            _note(candidate, "tests", _tests(sandbox))
    candidate.seconds = time.monotonic() - started


GATES = ("static policy", "replay", "held-out replay", "isolated import", "determinism", "tests")

Outcome = tuple[bool, str]


def _note(candidate: Candidate, gate: str, outcome: Outcome) -> None:
    candidate.verdicts.append(Verdict(gate, *outcome))


def static_policy(code: str) -> str:
    """What in a tool's text is not allowed, as one sentence; empty when all is."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = (
                [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            )
            for name in names:
                if name.partition(".")[0] not in ALLOWED_IMPORTS:
                    return f"it imports {name!r}, which tools may not"
        elif isinstance(node, ast.Name) and node.id in _BANNED_NAMES:
            return f"it uses {node.id}(), which tools may not"
        elif isinstance(node, ast.Attribute) and node.attr.startswith("__"):
            return f"it reaches for {node.attr}, which tools may not"
    return ""


def _static(candidate: Candidate) -> Outcome:
    found = static_policy(tool_code(candidate.spec))
    return not found, found or "imports and names are allowed"


def _replay(candidate: Candidate) -> Outcome:
    return _all_reproduce(candidate.train, "tasks it was found in", 2)


def _held_out(candidate: Candidate) -> Outcome:
    return _all_reproduce(candidate.held_out, "tasks it was not found in", 1)


def _all_reproduce(runs: list[tuple[str, bool, str]], where: str, least: int) -> Outcome:
    failed = [(task, why) for task, good, why in runs if not good]
    tasks = len({task for task, _, _ in runs})
    if failed:
        return False, f"{len(failed)} of {len(runs)} programs differ; task {failed[0][0]}: {failed[0][1]}"
    if tasks < least:
        return False, f"only {tasks} {where} could be replayed; at least {least} are needed"
    return True, f"{len(runs)} programs of {tasks} {where} give what was recorded"


def _import(sandbox: Any) -> Outcome:
    ended = sandbox.process.exec("python3 -c 'import tool'", timeout=_TEST_TIMEOUT_S)
    quiet = ended.exit_code == 0 and not ended.result.strip()
    return quiet, "imports without a word" if quiet else f"exit code {ended.exit_code}: {ended.result[-200:]}"


def _determinism(sandbox: Any, spec: Specification) -> Outcome:
    """Two fresh interpreters with different hash seeds; values are compared here."""
    calls = "\n".join(repr(example.arguments) for example in spec.examples)
    sandbox.fs.upload_file(calls.encode(), "calls.txt")
    sandbox.fs.upload_file(_CHECK.format(name=spec.name).encode(), "check.py")
    for seed in ("1", "2"):
        ended = sandbox.process.exec(
            "python3 check.py", env={"PYTHONHASHSEED": seed}, timeout=_TEST_TIMEOUT_S
        )
        outcome = _compare(ended.stdout, spec)
        if outcome:
            return False, f"hash seed {seed}: {outcome}"
    return True, f"{len(spec.examples)} recorded calls give the recorded values under two hash seeds"


def _compare(text: str, spec: Specification) -> str:
    lines = text.splitlines()
    if len(lines) != len(spec.examples):
        return f"{len(spec.examples)} calls were made, {len(lines)} answered"
    for line, example in zip(lines, spec.examples, strict=True):
        try:
            found = literal(json.loads(line))
        except (ValueError, SyntaxError):
            return f"{spec.name}{example.arguments!r} gave {line[:80]}"
        if type(found) is not type(example.result) or repr(found) != repr(example.result):
            return f"{spec.name}{example.arguments!r} gave {found!r}, recorded is {example.result!r}"
    return ""


def _tests(sandbox: Any) -> Outcome:
    report = sandbox.process.run_tests("test_tool.py", timeout=_TEST_TIMEOUT_S)
    return report.success, f"{len(report.tests)} tests passed" if report.success else report.reason
