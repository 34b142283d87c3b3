"""The tools that M4 to M6 look at: good solutions of MBPP tasks, and tools mined from a corpus."""

import ast
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sea.bench.labelled import Task
from sea.gates.evidence import Evidence, Original, Recorded


@dataclass(frozen=True)
class Tool:
    """A tool that every gate accepted, with its evidence."""

    code: str
    name: str
    evidence: Evidence
    where: str


def mbpp_tools(chosen: Sequence[Task]) -> list[Tool]:
    """The first good solution of each task; its evidence is half of the task's asserts."""
    found = []
    for task in chosen:
        good = [code for code, passes in task.solutions if passes]
        if good:
            evidence = Evidence(task.half, original=Original(good[0], task.entry), equality="python")
            found.append(Tool(good[0], task.entry, evidence, "mbpp"))
    return found


def mined_tools(folder: Path) -> list[Tool]:
    """Tools of a library that `sea evolve` made; their evidence is their recorded calls."""
    found = []
    for path in sorted(folder.glob("*/spec.json")):
        spec = json.loads(path.read_text())
        code = path.with_name("tool.py").read_text()
        calls = tuple(
            Recorded(_arguments(code, call["input"]), ast.literal_eval(call["output"]))
            for call in spec["example_calls"]
        )
        evidence = Evidence(calls, original=Original(code, spec["name"]))
        found.append(Tool(code, spec["name"], evidence, "mined"))
    return found


def _arguments(code: str, given: dict[str, str]) -> tuple[Any, ...]:
    """A call's arguments in the order of the tool's parameters, which JSON does not keep."""
    function = next(node for node in ast.parse(code).body if isinstance(node, ast.FunctionDef))
    names = [argument.arg for argument in function.args.args]
    found = [ast.literal_eval(given[name]) for name in names]
    rest = function.args.vararg
    return (*found, *(ast.literal_eval(given[rest.arg]) if rest else ()))


def sample(tools: Sequence[Tool], count: int, seed: int) -> list[Tool]:
    """At most so many of some tools."""
    return random.Random(seed).sample(list(tools), min(count, len(tools)))  # noqa: S311


def packages(code: str) -> list[str]:
    """Packages outside the standard library that a tool needs."""
    return [name for name in ("numpy", "sympy") if f"import {name}" in code or f"from {name}" in code]


def renamed(code: str, name: str) -> str:
    """The same function with other names for its own variables, and without its docstring."""
    tree = ast.parse(code)
    function = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name)
    own = {
        node.id for node in ast.walk(function) if isinstance(node, ast.Name) and type(node.ctx) is ast.Store
    }
    taken = {node.arg for node in ast.walk(function) if isinstance(node, ast.arg)}
    inner = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    declared = {
        n for node in ast.walk(tree) if isinstance(node, ast.Global | ast.Nonlocal) for n in node.names
    }
    for node in ast.walk(function):
        if isinstance(node, ast.Name) and node.id in own - taken - inner - declared:
            node.id = f"{node.id}_"
    if ast.get_docstring(function) is not None and len(function.body) > 1:
        function.body = function.body[1:]
    return ast.unparse(tree)
