"""From a pattern and the values seen at it to a specification: names, types, examples. Deterministic; no model.

Names come from the traces' own variables, types from observed values. The tree of the tool's body is part of the
specification; its text is made in `generate`.
"""

import ast
import builtins
import copy
import keyword
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from sea.patterns import Occurrence, Pattern

_SEEN = 200
"""Occurrences that names are taken from."""
_OPERATIONS: dict[type, str] = {
    ast.Sub: "difference",
    ast.Add: "total",
    ast.Mult: "product",
    ast.Div: "quotient",
    ast.FloorDiv: "quotient",
    ast.Mod: "remainder",
    ast.Pow: "power",
}
_HOLE_WORDS: dict[type, str] = {ast.List: "values", ast.Tuple: "values", ast.Set: "values", ast.Dict: "table"}
_DULL = frozenset(
    {"ans", "answer", "result", "i", "x", "n", "v", "the", "of", "and", "a", "per", "in", "to", "num"}
)


@dataclass(frozen=True)
class Parameter:
    """One parameter of a tool."""

    name: str
    type: str
    description: str
    default: str | None = None
    """As text; None when it must be given."""


@dataclass(frozen=True)
class Example:
    """One observed call: plain Python values, and where it was seen."""

    arguments: tuple[Any, ...]
    result: Any
    trace_id: str


@dataclass(frozen=True)
class Specification:
    """What a tool does, before it is text."""

    name: str
    description: str
    parameters: tuple[Parameter, ...]
    return_type: str
    body: tuple[ast.stmt, ...]
    imports: tuple[str, ...]
    examples: tuple[Example, ...]
    pattern_id: str
    support: int
    spread: bool = False
    """Whether the last parameter takes any number of arguments; examples hold them as one tuple."""

    def given(self, example: Example) -> tuple[Any, ...]:
        """Arguments as a call is given them."""
        return (*example.arguments[:-1], *example.arguments[-1]) if self.spread else example.arguments

    def as_dict(self) -> dict[str, Any]:
        """The published shape of a specification."""
        calls = [_call(self, example) for example in self.examples]
        return {
            "name": self.name,
            "description": self.description,
            "detailed_description": f"{self.description} Seen in {self.support} distinct tasks.",
            "category": "computation",
            "deterministic": True,
            "input_parameters": [
                {
                    "name": parameter.name,
                    "type": parameter.type,
                    "description": parameter.description,
                    "required": parameter.default is None,
                    "constraints": "",
                    **({} if parameter.default is None else {"default": parameter.default}),
                }
                for parameter in self.parameters
            ],
            "return_type": self.return_type,
            "return_description": "What the traces computed at this place.",
            "algorithm_sketch": "\n".join(map(ast.unparse, self.body)),
            "example_calls": calls,
            "edge_cases": [],
            "implementation_notes": [
                "The body is the traces' own code; names and types come from what was observed."
            ],
            "test_cases": [{**call, "assertion": "equal in value and type"} for call in calls],
            "generalization_potential": f"{self.support} tasks",
            "implementation_complexity": "low",
            "deterministic_validated": False,
        }


def _call(spec: Specification, example: Example) -> dict[str, Any]:
    names = [parameter.name for parameter in spec.parameters]
    given = {name: repr(value) for name, value in zip(names, example.arguments, strict=True)}
    return {
        "scenario": f"seen in trace {example.trace_id}",
        "description": f"seen in trace {example.trace_id}",
        "input": given,
        "output": repr(example.result),
        "expected_output": repr(example.result),
        "explanation": "recorded",
    }


@dataclass(frozen=True)
class Draft:
    """A pattern with names: enough to make it callable and to observe values, types not yet known."""

    pattern: Pattern
    name: str
    parameters: tuple[str, ...]
    body: tuple[ast.stmt, ...]
    imports: tuple[str, ...]
    defaults: tuple[str, ...] = ()
    """Values of the last parameters when they are not given, as text."""

    @property
    def spread(self) -> bool:
        """Whether the last parameter takes any number of arguments."""
        return self.pattern.spread


def draft(pattern: Pattern, taken: set[str]) -> Draft:
    """Names for a pattern and its tree with them; `taken` holds tool names in use and gets the new one."""
    example, seen = pattern.example, list(pattern.occurrences[:_SEEN])
    inputs = [example.names.index(name) for name in example.inputs]
    used: set[str] = set()
    words = {index: _best([place.region.names[index] for place in seen], used, "value") for index in inputs}
    holes = {index: _hole_name(index, seen, used) for index in sorted(pattern.varying)}
    for index in range(len(example.names)):
        if index not in words and not (example.kind == "function" and index == 0):
            words[index] = _best([place.region.names[index] for place in seen], used, "step")
    renamed = {example.names[index]: word for index, word in words.items()}
    if pattern.kind == "cut":  # a name that stands in a hole and elsewhere too
        for index, name in reversed(holes.items()):
            hole = example.holes[index]
            if isinstance(hole, ast.Name):
                renamed[hole.id] = name
    parameters = (*(words[index] for index in inputs), *(holes[index] for index in pattern.varying))
    names = {id(example.holes[index]): name for index, name in holes.items()}
    body = _finish(pattern, [_Rename(renamed, names).visit(_copy(node)) for node in example.nodes], renamed)
    body = _without_copies(body, set(parameters))
    name = _unique(_tool_name(pattern, body, list(holes.values()) + list(words.values())), taken)
    defaults = tuple(value for _, value in pattern.defaults)
    return Draft(pattern, name, parameters, body, _imports(pattern, example.nodes), defaults)


def _without_copies(body: tuple[ast.stmt, ...], parameters: set[str]) -> tuple[ast.stmt, ...]:
    """The body without second names for parameters that are used under that name only and never changed."""
    nodes = [node for stmt in body for node in ast.walk(stmt) if isinstance(node, ast.Name)]
    stores = Counter(node.id for node in nodes if not isinstance(node.ctx, ast.Load))
    loads = Counter(node.id for node in nodes if isinstance(node.ctx, ast.Load))
    kept: list[ast.stmt] = []
    renamed: dict[str, str] = {}
    for stmt in body:
        target = stmt.targets[0] if isinstance(stmt, ast.Assign) and len(stmt.targets) == 1 else None
        value = stmt.value if isinstance(stmt, ast.Assign) else None
        copied = isinstance(target, ast.Name) and isinstance(value, ast.Name) and value.id in parameters
        if copied and stores[target.id] == 1 and loads[value.id] == 1 and not stores[value.id]:  # type: ignore[union-attr]
            renamed[target.id] = value.id  # type: ignore[union-attr]
        else:
            kept.append(stmt)
    for node in nodes:
        node.id = renamed.get(node.id, node.id)
    return tuple(kept)


def _copy(node: ast.AST) -> ast.AST:
    """A deep copy that still knows which literals were the holes."""
    duplicate = copy.deepcopy(node)
    for ours, original in zip(ast.walk(duplicate), ast.walk(node), strict=True):
        ours.origin = id(original)  # type: ignore[attr-defined]
    return duplicate


class _Rename(ast.NodeTransformer):
    """Readable names for numbered ones, parameters for holes."""

    def __init__(self, names: dict[str, str], holes: dict[int, str]) -> None:
        self._names = names
        self._holes = holes

    def visit(self, node: ast.AST) -> Any:
        """One node."""
        name = self._holes.get(getattr(node, "origin", 0))
        if name is not None:
            return ast.Name(name, ast.Load())
        if isinstance(node, ast.Name):
            node.id = self._names.get(node.id, node.id)
        elif isinstance(node, ast.arg):
            node.arg = self._names.get(node.arg, node.arg)
        return self.generic_visit(node)


def _finish(pattern: Pattern, body: list[Any], renamed: dict[str, str]) -> tuple[ast.stmt, ...]:
    """The statements of the tool's body, ending in its return."""
    if pattern.kind == "function":
        return tuple(body[0].body)
    if pattern.kind in ("expression", "cut"):
        return (ast.Return(body[0]),)
    outputs = [ast.Name(renamed[name], ast.Load()) for name in pattern.example.outputs]
    last = body[-1]
    if len(outputs) == 1 and isinstance(last, ast.Assign) and ast.unparse(last.targets[0]) == outputs[0].id:
        return (*body[:-1], ast.Return(last.value))
    value = outputs[0] if len(outputs) == 1 else ast.Tuple(list(outputs), ast.Load())
    return (*body, ast.Return(value))


def _imports(pattern: Pattern, nodes: tuple[ast.AST, ...]) -> tuple[str, ...]:
    """Import lines of the occurrence's program for the names its region uses, but for those in what it is given."""
    source = pattern.occurrences[0].source
    given = {id(pattern.example.holes[index]) for index in pattern.varying}
    wanted: set[str] = set()
    pending = [node for node in nodes if id(node) not in given]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Name):
            wanted.add(node.id)
        pending += [child for child in ast.iter_child_nodes(node) if id(child) not in given]
    wanted &= source.program.fixed
    lines = [
        ast.unparse(node)
        for node in source.program.tree.body
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    lines += [
        line for line in source.trace.steps[source.step].prelude if line.startswith(("import ", "from "))
    ]
    found: dict[str, None] = {}
    for line in lines:
        for statement in ast.parse(line).body:
            if isinstance(statement, ast.Import | ast.ImportFrom):
                for alias in statement.names:
                    if (alias.asname or alias.name.partition(".")[0]) in wanted:
                        only = copy.copy(statement)
                        only.names = [alias]
                        found[ast.unparse(only)] = None
    return tuple(sorted(found))


def _hole_name(index: int, seen: list[Occurrence], used: set[str]) -> str:
    meanings = [str(getattr(place.region.holes[index], "meaning", "")) for place in seen]
    hole = seen[0].region.holes[index]
    fallback = _HOLE_WORDS.get(type(hole), "text" if isinstance(getattr(hole, "value", 0), str) else "number")
    return _best([meaning for meaning in meanings if meaning], used, fallback)


def _best(names: list[str], used: set[str], fallback: str) -> str:
    """The word most of the names share; the fallback when there is none."""
    words = Counter(word for name in names for word in set(_words(name)))
    common = [
        word
        for word, count in sorted(words.items(), key=lambda item: (-item[1], item[0]))
        if count * 3 > len(names)
    ]
    return _unique(common[0] if common else fallback, used)


def _words(name: str) -> list[str]:
    return [
        word for word in name.lower().split("_") if word.isalpha() and word not in _DULL and len(word) > 1
    ]


def _unique(name: str, used: set[str]) -> str:
    wanted, number = name, 2
    while name in used or keyword.iskeyword(name) or hasattr(builtins, name):
        name, number = f"{wanted}_{number}", number + 1
    used.add(name)
    return name


def _tool_name(pattern: Pattern, body: tuple[ast.stmt, ...], words: list[str]) -> str:
    if pattern.kind == "function":
        named = Counter(getattr(place.region.nodes[0], "name", "helper") for place in pattern.occurrences)
        return named.most_common(1)[0][0]
    nouns = [word.rstrip("_0123456789") for word in words]
    plain = {"value", "number", "text", "values", "table", "step"}
    noun = next((word for word in nouns if word not in plain), "numbers" if "number" in nouns else nouns[0])
    return f"{_operation(body)}_of_{noun}"


def _operation(body: tuple[ast.stmt, ...]) -> str:
    """The word for what is done last: the outermost operation of the last statement, or the first call found."""
    last = body[-2] if len(body) > 1 and isinstance(getattr(body[-1], "value", None), ast.Name) else body[-1]
    for node in ast.walk(last):
        if isinstance(node, ast.BinOp):
            return _OPERATIONS.get(type(node.op), "combination")
        if isinstance(node, ast.Call):
            function = node.func
            return function.id if isinstance(function, ast.Name) else getattr(function, "attr", "call")
        if isinstance(node, ast.JoinedStr):
            return "format"
        if isinstance(node, ast.For):
            return "count" if any(isinstance(inner, ast.If) for inner in ast.walk(node)) else "sum"
        if isinstance(node, ast.If | ast.IfExp):
            return "choice"
        if isinstance(node, ast.Compare):
            return "comparison"
    return "lookup"


def specify(drafted: Draft, examples: list[Example]) -> Specification:
    """Types and examples from what was observed.

    Raises:
        ValueError: Nothing was observed.
    """
    if not examples:
        raise ValueError(f"{drafted.name}: no call was observed")
    examples = [_filled(drafted, example) for example in examples]
    parameters = []
    for index, name in enumerate(drafted.parameters):
        values = [example.arguments[index] for example in examples]
        place = index - len(drafted.parameters) + len(drafted.defaults)
        default = drafted.defaults[place] if place >= 0 else None
        shown = f"for example {_short(values[0])}"
        if drafted.spread and index == len(drafted.parameters) - 1:
            values = [item for members in values for item in members]
        parameters.append(Parameter(name, common_type(values), shown, default))
    results = [example.result for example in examples]
    description = f"Return the {drafted.name.replace('_', ' ')}."
    return Specification(
        name=drafted.name,
        description=description,
        parameters=tuple(parameters),
        return_type=common_type(results),
        body=drafted.body,
        imports=drafted.imports,
        examples=tuple(_distinct(examples)),
        pattern_id=drafted.pattern.id,
        support=drafted.pattern.support,
        spread=drafted.spread,
    )


def _filled(drafted: Draft, example: Example) -> Example:
    """A call with all its arguments, those that were left out too."""
    if drafted.spread:
        fixed = len(drafted.parameters) - 1
        return replace(example, arguments=(*example.arguments[:fixed], example.arguments[fixed:]))
    left = len(drafted.parameters) - len(example.arguments)
    if not left:
        return example
    defaults = [ast.literal_eval(value) for value in drafted.defaults[-left:]]
    return replace(example, arguments=(*example.arguments, *defaults))


def _distinct(examples: list[Example], limit: int = 20) -> list[Example]:
    seen: dict[str, Example] = {}
    for example in examples:
        seen.setdefault(repr(example.arguments), example)
    return list(seen.values())[:limit]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def common_type(values: list[Any]) -> str:
    """A type annotation that all values have; `object` when they have nothing in common."""
    names = sorted({_type(value) for value in values})
    if len(names) <= 3:
        return " | ".join(names)
    return "object"


def _type(value: Any) -> str:
    if value is None:
        return "None"
    if isinstance(value, list | set) and value:
        return f"{type(value).__name__}[{common_type(list(value))}]"
    if isinstance(value, tuple) and value:
        return f"tuple[{common_type(list(value))}, ...]"
    if isinstance(value, dict) and value:
        return f"dict[{common_type(list(value))}, {common_type(list(value.values()))}]"
    return type(value).__name__
