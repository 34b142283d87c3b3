"""Specification to text: a typed function with a Google-style docstring, and a pytest file from recorded calls."""

import ast
import re

from sea.specify import Draft, Specification


def draft_code(drafted: Draft) -> str:
    """The bare function, for observing values before types are known."""
    first = len(drafted.parameters) - len(drafted.defaults)
    given = [f"={value}" for value in drafted.defaults]
    parameters = [
        *drafted.parameters[:first],
        *map("".join, zip(drafted.parameters[first:], given, strict=True)),
    ]
    if drafted.spread:
        parameters[-1] = "*" + parameters[-1]
    return _function(drafted.name, parameters, "", drafted.body, drafted.imports)


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
    """A type as it stands in a signature: `float` for numbers, containers without what they hold."""
    while _INNER.search(name):
        name = _INNER.sub("", name)
    kinds = sorted(set(name.split(" | ")))
    if set(kinds) <= {"int", "float"}:
        return kinds[0]
    return " | ".join(kinds)


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
    cases = "\n".join(f"    ({spec.given(example)!r}, {example.result!r})," for example in spec.examples)
    return f'''"""Recorded calls of `{spec.name}`."""

import pytest

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
