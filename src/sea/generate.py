"""Specification to text: a typed function with a Google-style docstring, and a pytest file from recorded calls."""

import ast
import builtins
import math
import re
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from sea.specify import Draft, Specification


def draft_code(drafted: Draft) -> str:
    """The bare function, for observing values before types are known."""
    parameters = parameters_of(drafted.parameters, drafted.defaults, drafted.spread)
    return _function(drafted.name, [parameters], "", drafted.body, drafted.imports)


def parameters_of(names: Sequence[str], defaults: Sequence[str], spread: bool) -> str:
    """Parameters without types as they stand in a signature: the last ones have the defaults."""
    first = len(names) - len(defaults)
    made = [*names[:first], *(f"{name}={value}" for name, value in zip(names[first:], defaults, strict=True))]
    if spread:
        made[-1] = "*" + made[-1]
    return ", ".join(made)


def tool_code(spec: Specification) -> str:
    """The tool as it stands in the library; LangChain's `@tool(parse_docstring=True)` takes it as it is."""
    described = "\n".join(f"        {p.name}: A {p.type} value, {p.description}." for p in spec.parameters)
    sections = f"    Args:\n{described}\n\n    Returns:\n        A {spec.return_type} value.\n"
    docstring = f'    """{spec.description}\n\n{sections}    """\n'
    typed = [
        f"{p.name}: {annotation(p.type)}" + ("" if p.default is None else f" = {p.default}")
        for p in spec.parameters
    ]
    if spec.spread:
        typed[-1] = "*" + typed[-1]
    returns = f" -> {annotation(spec.return_type)}"
    return _function(spec.name, typed, returns, spec.body, spec.imports, docstring)


_INNER = re.compile(r"\[[^\[\]]*\]")


def annotation(name: str) -> str:
    """A type as it stands in a signature: `float` for numbers, containers without what they hold.

    A name that is not built in says nothing without an import, so it is `object`.
    """
    while _INNER.search(name):
        name = _INNER.sub("", name)
    kinds = sorted(set(name.split(" | ")))
    if "float" in kinds and "int" in kinds:
        kinds.remove("int")
    known = all(kind == "None" or isinstance(getattr(builtins, kind, None), type) for kind in kinds)
    return " | ".join(kinds) if known else "object"


def _function(
    name: str,
    parameters: list[str],
    returns: str,
    body: tuple[ast.stmt, ...],
    imports: tuple[str, ...],
    docstring: str = "",
) -> str:
    lines = "\n".join("    " + line for stmt in body for line in ast.unparse(stmt).splitlines())
    head = "".join(f"{line}\n" for line in imports) + ("\n\n" if imports else "")
    return f"{head}def {name}({', '.join(parameters)}){returns}:\n{docstring}{lines}\n"


def test_code(spec: Specification) -> str:
    """A pytest file: every recorded call gives the recorded value, equal in type too."""
    values = [value for example in spec.examples for value in (*spec.given(example), example.result)]
    imports = "".join(f"{line}\n" for line in sorted(set(_needed(values))))
    cases = "\n".join(f"    ({spec.given(example)!r}, {example.result!r})," for example in spec.examples)
    return f'''"""Recorded calls of `{spec.name}`."""

{imports}import pytest

from tool import {spec.name}

CASES = [
{cases}
]


@pytest.mark.parametrize(("arguments", "expected"), CASES)
def test_recorded_call(arguments, expected):
    found = {spec.name}(*arguments)
    assert type(found) is type(expected)
    assert found == expected
'''


def _needed(value: Any) -> Iterator[str]:
    """Import lines for what stands in the text of a value."""
    kind = type(value)
    if kind.__module__ == "datetime":
        yield "import datetime"
    elif kind.__module__ != "builtins":
        yield f"from {kind.__module__} import {kind.__name__}"
    elif kind is float and not math.isfinite(value):
        yield "from math import inf, nan"
    if isinstance(value, dict):
        value = [*value, *value.values()]
    for inner in value if isinstance(value, list | tuple | set | frozenset | deque) else ():
        yield from _needed(inner)
