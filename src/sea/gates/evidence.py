"""What is known about a tool before it is judged: recorded calls, calls held back, and the code it was made from.

Evidence never enters the sandbox of the code it judges: only the arguments do. Files of evidence are JSON lines or
Python asserts; neither is executed.
"""

import ast
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sea import codec


class BadEvidence(Exception):
    """A file of evidence cannot be read; the message says where and why."""


@dataclass(frozen=True)
class Recorded:
    """One call that was seen, and what it gave."""

    arguments: tuple[Any, ...]
    result: Any = None
    raises: str = ""
    """Name of the exception's type; empty when there was a result."""
    where: str = ""
    """Trace, or file and line."""


@dataclass(frozen=True)
class Original:
    """The code a tool was made from, as a function of the same parameters."""

    code: str
    name: str


@dataclass(frozen=True)
class Evidence:
    """Everything a tool is judged by."""

    examples: tuple[Recorded, ...]
    held_out: tuple[Recorded, ...] = ()
    """Calls of tasks the tool was not made from."""
    original: Original | None = None
    equality: Literal["exact", "python"] = "exact"
    """`exact`: same types, floats within `codec.FLOAT_TOLERANCE`. `python`: what `==` in an assert says."""

    @property
    def calls(self) -> list[tuple[Any, ...]]:
        """Arguments of all recorded calls."""
        return [recorded.arguments for recorded in (*self.examples, *self.held_out)]


def asserts(text: str, names: Sequence[str]) -> list[Recorded]:
    """Calls and results of `assert NAME(literals) == literal` in a Python text; other statements are passed over.

    Args:
        text: Source of tests.
        names: What the function is called in them.

    Raises:
        BadEvidence: The text is not Python.
    """
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        raise BadEvidence(f"line {error.lineno}: not Python: {error.msg}") from error
    found = [
        _assert(node.test, names, node.lineno) for node in ast.walk(tree) if isinstance(node, ast.Assert)
    ]
    return [recorded for recorded in found if recorded is not None]


def _assert(test: ast.expr, names: Sequence[str], line: int) -> Recorded | None:
    if not (
        isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], ast.Eq | ast.Is)
    ):
        return None
    call = test.left
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in names):
        return None
    try:
        arguments = tuple(ast.literal_eval(argument) for argument in call.args)
        return Recorded(arguments, ast.literal_eval(test.comparators[0]), where=f"line {line}")
    except (ValueError, TypeError, SyntaxError):
        return None


def read_evidence(path: Path, name: str) -> Evidence:
    """Evidence from a file.

    Args:
        path: `.py`: asserts on `name`. Anything else: JSON lines `{"arguments": [...], "result": ...}` (or `"raises"`
            with an exception's name; `"held_out": true` where it applies), values as `sea.codec` writes them.
        name: The function's name.

    Raises:
        BadEvidence: The file is missing, a line does not fit, or there is no call in it.
    """
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise BadEvidence(f"{path}: cannot be read: {error}") from error
    if path.suffix == ".py":
        evidence = Evidence(tuple(asserts(text, (name, "candidate"))), equality="python")
    else:
        lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
        sides: dict[bool, list[Recorded]] = {False: [], True: []}
        for number, line in lines:
            held_out, recorded = _line(line, f"{path}:{number}")
            sides[held_out].append(recorded)
        evidence = Evidence(tuple(sides[False]), tuple(sides[True]))
    if not evidence.examples:
        raise BadEvidence(
            f"{path}: no call of {name} in it; write lines like {{'arguments': [1], 'result': 2}}"
        )
    return evidence


def _line(line: str, where: str) -> tuple[bool, Recorded]:
    try:
        data = json.loads(line)
        arguments = tuple(codec.decode(data["arguments"]))
        result = codec.decode(data.get("result"))
        return data.get("held_out") is True, Recorded(arguments, result, str(data.get("raises", "")), where)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadEvidence(f"{where}: not a recorded call: {error}") from error
