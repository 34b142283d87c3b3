"""The code as it stood in a trace, as a function of a tool's parameters: what the differential gate compares with.

The statements are the trace's own text, not the tool's body; only the values that became parameters are replaced. A
function is given back only when its whole normal form is the tool's, so a wrong cut is never compared with. Pure.
"""

import ast
from collections.abc import Iterator
from itertools import islice
from typing import Any, TypeVar

from sea.gates.evidence import Original
from sea.generate import draft_code, parameters_of
from sea.inline import GivenBack, Tool, given_back
from sea.normalise import bound
from sea.patterns import Occurrence
from sea.regions import Region
from sea.specify import Draft

_TRIED = 8
"""Occurrences of one tool that are tried."""
_RESULT = "result_of_it"
_FIRST = 900_001
"""Of the numbers that stand for parameters in a comparison."""
Node = TypeVar("Node", ast.expr, ast.stmt)
Span = tuple[str, int, int, int | None, int | None]


def raw_original(drafted: Draft) -> Original | None:
    """The first occurrence whose own text is the tool as a function; None when none of those tried is."""
    tool = Tool(draft_code(drafted))
    for place in islice([*drafted.pattern.chosen_for, *drafted.pattern.occurrences], _TRIED):
        code = _wrapped(drafted, place)
        if code is not None and _is_the_tool(drafted, code, tool, place.region):
            return Original(code.replace(_LIST, "list(given_last)"), drafted.name)
    return None


_LIST = "given_last_as_it_is"
"""Stands for the list a spread parameter was written as, until the text is known to be right."""


def _wrapped(drafted: Draft, place: Occurrence) -> str | None:
    """A function of the occurrence's own statements."""
    tree, region = ast.parse(place.source.trace.steps[place.source.step].code), place.region
    holes = [region.holes[index] for index in drafted.pattern.varying]
    inputs = [*region.inputs, *(hole.id if isinstance(hole, ast.Name) else "" for hole in holes)]
    given = [name or f"given_{number}" for number, name in enumerate(inputs)]
    if drafted.spread:
        given[-1] = "given_last"
    if len(set(given)) < len(given):
        return None
    imports = "".join(f"{line}\n" for line in drafted.imports)
    head = f"{imports}def {drafted.name}({parameters_of(given, drafted.defaults, drafted.spread)}):\n"
    if region.kind == "function":
        return _helper(tree, region, head, given)
    words = [*given[:-1], _LIST] if drafted.spread else given
    places = zip(holes, words[len(region.inputs) :], strict=True)
    put = {_span(hole): word for hole, word in places if not isinstance(hole, ast.Name)}
    statements = _statements(tree, region, put, set(inputs))
    if statements is None:
        return None
    lines = [line for stmt in statements for line in ast.unparse(stmt).splitlines()]
    return head + "".join(f"    {line}\n" for line in lines)


def _helper(tree: ast.Module, region: Region, head: str, given: list[str]) -> str | None:
    """A helper function of the program, called by a function of the tool's name."""
    name = getattr(region.nodes[0], "name", "")
    found = [stmt for stmt in tree.body if isinstance(stmt, ast.FunctionDef) and stmt.name == name]
    if len(found) != 1:
        return None
    inner = "".join(f"    {line}\n" for line in ast.unparse(found[0]).splitlines())
    return f"{head}{inner}    return {name}({', '.join(given)})\n"


def _span(node: ast.AST) -> Span:
    """Where a node stood in the text; line 0 for one that stood nowhere."""
    place = [getattr(node, label, None) for label in ("col_offset", "end_lineno", "end_col_offset")]
    return (type(node).__name__, getattr(node, "lineno", 0) or 0, place[0] or 0, place[1], place[2])


def _statements(
    tree: ast.Module, region: Region, holes: dict[Span, str], given: set[str]
) -> list[ast.stmt] | None:
    """What the region computes, as a list of the program's statements that ends in a return."""
    if any(not span[1] for span in holes):
        return None
    holder = _Holes(holes)
    wanted = {_span(node) for node in region.nodes}
    before, last = _path(tree.body, wanted)
    if last is None:
        return None
    if isinstance(region.nodes[0], ast.expr):
        result = next((node for node in ast.walk(last) if _span(node) in wanted), None)
        assert isinstance(result, ast.expr)
        end = holder.put(result)
    else:
        outputs: list[ast.expr] = [ast.Name(name, ast.Load()) for name in region.outputs]
        end = outputs[0] if len(outputs) == 1 else ast.Tuple(outputs, ast.Load())
        before.append(last)
    made = [*_slice(before, ast.Return(end), wanted, given, holder), ast.Return(end)]
    return [ast.fix_missing_locations(stmt) for stmt in made]


def _path(body: list[ast.stmt], wanted: set[Span]) -> tuple[list[ast.stmt], ast.stmt | None]:
    """Statements before the last one with a wanted node, and that one; in its own block and those around it."""
    for number in reversed(range(len(body))):
        stmt = body[number]
        if not any(_span(node) in wanted for node in ast.walk(stmt)):
            continue
        blocks = [] if _span(stmt) in wanted else list(_blocks(stmt))
        for block in blocks:
            before, last = _path(block, wanted)
            if last is not None:
                return [*body[:number], *before], last
        return body[:number], stmt
    return [], None


def _blocks(stmt: ast.stmt) -> Iterator[list[ast.stmt]]:
    for label in ("body", "orelse", "finalbody"):
        block = getattr(stmt, label, None)
        if isinstance(block, list):
            yield block


def _slice(
    before: list[ast.stmt], end: ast.Return, wanted: set[Span], given: set[str], holder: "_Holes"
) -> list[ast.stmt]:
    """The region's own statements and those it needs; what is given needs nothing."""
    needed = _read(end) - given
    kept: list[ast.stmt] = []
    for stmt in reversed(before):
        names = {name for node in ast.walk(stmt) for name in bound(node)}
        acts = isinstance(stmt, ast.Expr) and _read(stmt) & needed
        is_import = isinstance(stmt, ast.Import | ast.ImportFrom)
        if _span(stmt) in wanted or (not is_import and (names & needed or acts)):
            kept.append(holder.put(stmt))
            needed |= _read(kept[-1]) - given
    return kept[::-1]


def _read(stmt: ast.stmt) -> set[str]:
    return {
        node.id for node in ast.walk(stmt) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }


class _Holes(ast.NodeTransformer):
    """Names in the place of the values that became parameters."""

    def __init__(self, words: dict[Span, str]) -> None:
        self._words = words

    def put(self, node: Node) -> Node:
        """A statement or an expression with them."""
        return self.visit(node)  # type: ignore[no-any-return]

    def visit(self, node: ast.AST) -> Any:
        """One node."""
        word = self._words.get(_span(node)) if isinstance(node, ast.expr) else None
        return ast.Name(word, ast.Load()) if word is not None else self.generic_visit(node)


def _is_the_tool(drafted: Draft, code: str, tool: Tool, region: Region) -> bool:
    """Whether a function's statements and a call of the tool are one program in their whole normal form."""
    if drafted.spread:
        code = code.replace(_LIST, "given_last").replace("*given_last", "given_last")
        tool = Tool(draft_code(drafted).replace(f"*{drafted.parameters[-1]}", drafted.parameters[-1], 1))
    function = Tool(code)
    *body, last = function.function.body
    value = getattr(last, "value", None)
    assert isinstance(value, ast.expr)
    names = value.elts if isinstance(value, ast.Tuple) else [value]
    keep = frozenset(name.id for name in names if isinstance(name, ast.Name))
    if not body or len(keep) < len(names):
        keep = frozenset({_RESULT})
        body.append(ast.Assign([ast.Name(_RESULT, ast.Store())], value, lineno=0))
    values = _Values(_stand_ins(drafted, region, function.parameters))
    program = ast.unparse(values.visit(ast.Module([*function.imports, *body], [])))
    target = _RESULT if _RESULT in keep else ast.unparse(value)
    made = ast.parse(f"{target} = {drafted.name}({', '.join(function.parameters)})\n")
    call = ast.unparse(values.visit(made))
    imports = "".join(f"{line}\n" for line in drafted.imports)
    back = given_back(program, imports + call, {drafted.name: tool}, keep)
    return isinstance(back, GivenBack)


def _stand_ins(drafted: Draft, region: Region, words: list[str]) -> dict[str, str | int]:
    """Values that tell parameters apart, for those that were literals: normal forms treat these as no names."""
    if region.kind == "function":
        return {word: _FIRST + number for number, word in enumerate(words)}
    holes = [region.holes[index] for index in drafted.pattern.varying]
    return {
        word: f"text {number}" if isinstance(hole.value, str) else _FIRST + number
        for number, (word, hole) in enumerate(zip(words[len(region.inputs) :], holes, strict=False))
        if isinstance(hole, ast.Constant)
    }


class _Values(ast.NodeTransformer):
    """Literals in the place of names that are read."""

    def __init__(self, values: dict[str, str | int]) -> None:
        self._values = values

    def visit_Name(self, node: ast.Name) -> ast.expr:
        """One name."""
        read = isinstance(node.ctx, ast.Load) and node.id in self._values
        return ast.Constant(self._values[node.id]) if read else node
