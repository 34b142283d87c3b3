"""JSON schemas of tools, read off their signatures and docstrings; the text is parsed, never imported."""

import ast
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sea.library import Library, function_of

Schema = dict[str, Any]
_TYPES: dict[str, Schema] = {
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "complex": {"type": "string"},
    "str": {"type": "string"},
    "bool": {"type": "boolean"},
    "None": {"type": "null"},
    "list": {"type": "array", "items": {}},
    "tuple": {"type": "array", "items": {}},
    "set": {"type": "array", "items": {}, "uniqueItems": True},
    "frozenset": {"type": "array", "items": {}, "uniqueItems": True},
    "dict": {"type": "object"},
}
_ARGUMENT = re.compile(r"^\s{2,}\*?(\w+)(?: \([^)]*\))?: (.*)$")


@dataclass(frozen=True)
class Tool:
    """One tool as others are told of it."""

    name: str
    description: str
    parameters: Schema
    source: str
    spread: str | None = None
    """The parameter that takes any number of arguments; in the schema it is an array."""


def tool_of(source: str) -> Tool:
    """A tool's schema from its text."""
    function = function_of(source)
    doc = ast.get_docstring(function) or function.name.replace("_", " ")
    told, arguments = _told(doc), function.args
    first = len(arguments.args) - len(arguments.defaults)
    properties: dict[str, Schema] = {}
    required: list[str] = []
    for number, argument in enumerate(arguments.args):
        properties[argument.arg] = _described(_schema(argument.annotation), told.get(argument.arg))
        if number < first:
            required.append(argument.arg)
        else:
            properties[argument.arg] |= _default(arguments.defaults[number - first])
    spread = arguments.vararg
    if spread is not None:
        items = {"type": "array", "items": _schema(spread.annotation)}
        properties[spread.arg] = _described(items, told.get(spread.arg))
    parameters = {"type": "object", "properties": properties, "required": required}
    name, about = function.name, doc.split("\n\n")[0].replace("\n", " ")
    return Tool(
        name, about, {**parameters, "additionalProperties": False}, source, spread.arg if spread else None
    )


def _told(doc: str) -> dict[str, str]:
    """What a Google-style docstring says of each argument."""
    _, _, section = doc.partition("Args:\n")
    found: dict[str, str] = {}
    for line in section.partition("\n\n")[0].splitlines():
        match = _ARGUMENT.match(line)
        if match:
            found[match[1]] = match[2]
    return found


def _schema(annotation: ast.expr | None) -> Schema:
    """A type's schema; any value where the type says nothing."""
    if isinstance(annotation, ast.BinOp) and isinstance(annotation.op, ast.BitOr):
        return {"anyOf": [*_options(_schema(annotation.left)), *_options(_schema(annotation.right))]}
    if isinstance(annotation, ast.Subscript):
        outer = _schema(annotation.value)
        inner = annotation.slice
        return (
            {**outer, "items": _schema(inner)} if "items" in outer and isinstance(inner, ast.Name) else outer
        )
    return dict(_TYPES.get(ast.unparse(annotation), {})) if annotation is not None else {}


def _options(schema: Schema) -> list[Schema]:
    return list(schema["anyOf"]) if "anyOf" in schema else [schema]


def _described(schema: Schema, text: str | None) -> Schema:
    return {**schema, "description": text} if text else schema


def _default(node: ast.expr) -> Schema:
    """A default that JSON can say."""
    try:
        value = ast.literal_eval(node)
    except ValueError:
        return {}
    return {"default": value} if value is None or isinstance(value, bool | int | float | str) else {}


def tools_of(library: Library, names: Iterable[str] | None = None) -> list[Tool]:
    """The schemas of a library's active tools, or of those named.

    Raises:
        NoLibrary: There is no library, or no tool of a name.
    """
    return [tool_of(library.source(name)) for name in (library.active() if names is None else names)]


def call_of(tool: Tool, given: Schema) -> str:
    """The call with these arguments as Python text; nothing but literals stand in it.

    Raises:
        ValueError: An argument is missing or has no parameter.
    """
    known = tool.parameters["properties"]
    unknown, missing = (
        sorted(given.keys() - known.keys()),
        [n for n in tool.parameters["required"] if n not in given],
    )
    if unknown or missing:
        wrong = f"no parameter {unknown[0]!r}" if unknown else f"{missing[0]!r} is missing"
        raise ValueError(f"{tool.name}: {wrong}; its parameters are: {', '.join(known)}")
    if tool.spread is None or not given.get(tool.spread):
        words = [f"{name}={value!r}" for name, value in given.items() if name != tool.spread]
        return f"{tool.name}({', '.join(words)})"
    plain = [name for name in known if name != tool.spread]
    absent = [name for name in plain if name not in given and "default" not in known[name]]
    if absent:
        raise ValueError(f"{tool.name}: {absent[0]!r} must be given where {tool.spread!r} is")
    places = [repr(given.get(name, known[name].get("default"))) for name in plain]
    return f"{tool.name}({', '.join([*places, *map(repr, given[tool.spread])])})"
