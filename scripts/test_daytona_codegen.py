#!/usr/bin/env python3
"""The four integration checks of the reference document, each measured: connection, code with pytest, generation, all.

Nothing is asked of a model: the tool comes from a pattern of the example traces. Exit status 0 only if all passed;
a check that could not be made has failed.
"""

from __future__ import annotations

import ast
import sys
import time
from collections.abc import Callable
from pathlib import Path

from daytona_sdk import DaytonaError
from sea import evolve, generate, patterns, select
from sea.box import Box, NoSandbox
from sea.daytona_manager import DaytonaManager
from sea.ingest import BadInput, read_traces
from sea.specify import Specification

EXAMPLES = Path(__file__).resolve().parent.parent / "examples" / "traces"
MIN_SUPPORT = 3
"""Distinct tasks of a pattern."""
SIMPLE = '''
def hypotenuse(a: float, b: float) -> float:
    """The longest side of a right-angled triangle."""
    return (a * a + b * b) ** 0.5


def test_hypotenuse():
    assert hypotenuse(3, 4) == 5
'''


class Failed(Exception):
    """A check did not pass; the message says why."""


def connection() -> str:
    """A sandbox can be made and runs a line."""
    result = DaytonaManager().test_connection()
    if not result["success"]:
        raise Failed(str(result["error"]))
    return f"sandbox {result['sandbox_id']}"


def simple_execution() -> str:
    """A function and its test run under pytest; the same with a wrong test must not pass."""
    manager = DaytonaManager()
    good = manager.run_code_with_tests(SIMPLE, ["pytest"])
    if not good["success"]:
        raise Failed(str(good["error"]))
    if manager.run_code_with_tests(SIMPLE.replace("== 5", "== 6"), ["pytest"])["success"]:
        raise Failed("a tool with a failing test was called a success")
    return "1 test passed, and a wrong one did not"


def specify() -> Specification:
    """The specification of the pattern of the example traces that saves most and can be observed."""
    intake = read_traces([EXAMPLES])
    train, held_out = (patterns.load(side) for side in evolve.split(intake.traces, seed=0))
    funnel = evolve.Funnel(intake)
    funnel.chosen = select.choose(patterns.mine(train, MIN_SUPPORT), [*train, *held_out])
    evolve.prepare(funnel, train, held_out, Box(), lambda sentence: None)
    if not funnel.candidates:
        raise Failed(f"none of {len(funnel.chosen)} patterns could be specified")
    return funnel.candidates[0][0].spec


def code_generation() -> str:
    """A pattern becomes source text that is Python and has the function that was specified."""
    spec = specify()
    names = [
        node.name for node in ast.parse(generate.tool_code(spec)).body if isinstance(node, ast.FunctionDef)
    ]
    ast.parse(generate.test_code(spec))
    if spec.name not in names:
        raise Failed(f"the tool is to be {spec.name}, but its text defines {names}")
    return f"{spec.name}, seen in {spec.support} tasks: valid syntax"


def end_to_end() -> str:
    """Specification, code, tests in a sandbox."""
    spec = specify()
    result = DaytonaManager().run_code_with_tests(
        generate.tool_code(spec), test_code=generate.test_code(spec), timeout=60
    )
    if not result["success"]:
        raise Failed(f"{spec.name}: {result['error']}")
    return f"{spec.name}: passed in a sandbox in {result['execution_time']:.2f} s"


CHECKS: tuple[tuple[str, Callable[[], str]], ...] = (
    ("connection", connection),
    ("simple execution", simple_execution),
    ("code generation", code_generation),
    ("end to end", end_to_end),
)


def main() -> int:
    """Make every check, whatever the others gave, and say how each went."""
    passed = 0
    for name, check in CHECKS:
        begin = time.perf_counter()
        try:
            verdict, found = "passed", check()
            passed += 1
        except (Failed, DaytonaError, NoSandbox, BadInput, SyntaxError) as error:
            verdict, found = "FAILED", str(error)
        print(f"{name}: {verdict} ({time.perf_counter() - begin:.2f} s): {found}", flush=True)
    print(f"{passed} of {len(CHECKS)} checks passed")
    return 0 if passed == len(CHECKS) else 1


if __name__ == "__main__":
    sys.exit(main())
