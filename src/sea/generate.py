"""Specification to text: a typed function with a Google-style docstring, and a pytest file from recorded calls."""

import ast

from sea.specify import Draft, Specification


def draft_code(drafted: Draft) -> str:
    """The bare function, for observing values before types are known."""
    return _function(drafted.name, list(drafted.parameters), "", drafted.body, drafted.imports)


def tool_code(spec: Specification) -> str:
    """The tool as it stands in the library; LangChain's `@tool(parse_docstring=True)` takes it as it is."""
    described = "\n".join(f"        {p.name}: A {p.type} value, {p.description}." for p in spec.parameters)
    sections = f"    Args:\n{described}\n\n    Returns:\n        A {spec.return_type} value.\n"
    docstring = f'    """{spec.description}\n\n{sections}    """\n'
    typed = [f"{parameter.name}: {parameter.type}" for parameter in spec.parameters]
    return _function(spec.name, typed, f" -> {spec.return_type}", spec.body, spec.imports, docstring)


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
    cases = "\n".join(f"    ({example.arguments!r}, {example.result!r})," for example in spec.examples)
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
