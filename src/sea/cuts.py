"""Expressions with holes: which tops of expression trees recur, whatever stands below them. Pure; nothing is executed.

A cut is a list of symbols in the order of evaluation: the label of a node, a hole, or a hole seen before. `grow` finds
all cuts in enough distinct tasks, from single operations downwards; a cut that always goes on in one way is not kept by
itself. Only operations that look and compute are labels, so that computing the holes first changes nothing.
"""

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sea.normalise import BUILTINS, is_literal, walk

MAX_OPERATIONS = 7
MAX_HOLES = 7
_HOLE = "#"
_LEAST_TOKENS = 12
_PURE = frozenset(
    {
        "abs",
        "all",
        "any",
        "bool",
        "dict",
        "divmod",
        "enumerate",
        "float",
        "int",
        "len",
        "list",
        "max",
        "min",
        "pow",
    }
    | {"range", "reversed", "round", "set", "sorted", "str", "sum", "tuple", "zip"}
)
_PURE_METHODS = frozenset(
    {
        "count",
        "index",
        "get",
        "keys",
        "values",
        "items",
        "split",
        "strip",
        "join",
        "lower",
        "upper",
        "replace",
    }
    | {
        "title",
        "startswith",
        "endswith",
        "center",
        "find",
        "capitalize",
        "zfill",
        "ljust",
        "rjust",
        "isdigit",
    }
    | {"rstrip", "lstrip", "splitlines", "partition", "isalpha", "total_seconds", "strftime", "format"}
)

Children = list[ast.expr]


@dataclass(frozen=True)
class Cut:
    """One shape and where it stands."""

    symbols: tuple[str, ...]
    operations: int
    places: tuple[tuple[int, ast.expr, tuple[ast.expr, ...]], ...]
    """(number of the root, its node, the nodes in the holes)."""


def label(node: ast.expr, fixed: frozenset[str]) -> tuple[str, Children] | None:
    """What a node does, and what it does it to; None for names, literals and what cannot be taken apart."""
    if is_literal(node):
        return None
    reader = _LABELS.get(type(node))
    return None if reader is None else reader(node, fixed)


def _binary(node: ast.expr, _: frozenset[str]) -> tuple[str, Children]:
    assert isinstance(node, ast.BinOp)
    return type(node.op).__name__, [node.left, node.right]


def _unary(node: ast.expr, _: frozenset[str]) -> tuple[str, Children]:
    assert isinstance(node, ast.UnaryOp)
    return type(node.op).__name__, [node.operand]


def _compare(node: ast.expr, _: frozenset[str]) -> tuple[str, Children] | None:
    assert isinstance(node, ast.Compare)
    return (type(node.ops[0]).__name__, [node.left, *node.comparators]) if len(node.ops) == 1 else None


def _choice(node: ast.expr, _: frozenset[str]) -> tuple[str, Children] | None:
    assert isinstance(node, ast.IfExp)
    # Both ways are computed before a call: only literals cannot fail or do anything there.
    plain = is_literal(node.body) and is_literal(node.orelse)
    return ("if", [node.test, node.body, node.orelse]) if plain else None


def _subscript(node: ast.expr, _: frozenset[str]) -> tuple[str, Children] | None:
    assert isinstance(node, ast.Subscript)
    plain = isinstance(node.ctx, ast.Load) and not any(isinstance(n, ast.Slice) for n in walk(node.slice))
    return ("[]", [node.value, node.slice]) if plain else None


def _name(node: ast.expr, fixed: frozenset[str]) -> tuple[str, Children] | None:
    assert isinstance(node, ast.Name)
    return (f"name {node.id}", []) if node.id in fixed else None


def _constant(node: ast.expr, _: frozenset[str]) -> tuple[str, Children]:
    assert isinstance(node, ast.Constant)
    return f"constant {node.value!r}", []


def _attribute(node: ast.expr, fixed: frozenset[str]) -> tuple[str, Children] | None:
    assert isinstance(node, ast.Attribute)
    module = isinstance(node.value, ast.Name) and node.value.id in fixed
    return (f"name {ast.unparse(node)}", []) if module else None


def _call(node: ast.expr, fixed: frozenset[str]) -> tuple[str, Children] | None:
    assert isinstance(node, ast.Call)
    if any(isinstance(given, ast.Starred) for given in node.args) or any(
        k.arg is None for k in node.keywords
    ):
        return None
    words = ",".join(str(keyword.arg) for keyword in node.keywords)
    given = [*node.args, *(keyword.value for keyword in node.keywords)]
    form = f"({len(node.args)},{words})"
    if isinstance(node.func, ast.Name):
        imported = node.func.id in fixed and node.func.id not in _BUILTIN_NAMES
        known = node.func.id in _PURE or imported
        return (node.func.id + form, given) if known and node.func.id in fixed else None
    if isinstance(node.func, ast.Attribute):
        value = node.func.value
        if isinstance(value, ast.Name) and value.id in fixed:
            return (ast.unparse(node.func) + form, given) if value.id == "math" else None
        return ("." + node.func.attr + form, [value, *given]) if node.func.attr in _PURE_METHODS else None
    return None


_BUILTIN_NAMES = BUILTINS
_LABELS = {
    ast.BinOp: _binary,
    ast.UnaryOp: _unary,
    ast.Compare: _compare,
    ast.IfExp: _choice,
    ast.Subscript: _subscript,
    ast.Name: _name,
    ast.Constant: _constant,
    ast.Attribute: _attribute,
    ast.Call: _call,
}


@dataclass
class Root:
    """An expression that cuts may begin at."""

    node: ast.expr
    tasks: frozenset[str]
    """Of the programs it stands in; as many as are asked for, if there are more."""
    fixed: frozenset[str]
    size: int
    """Tokens as written, all that is below included."""
    programs: int = 1
    """How many these are."""


def grow(roots: list[Root], least: int) -> Iterator[Cut]:
    """Every cut in at least `least` distinct tasks."""
    starts: dict[str, list[_Match]] = defaultdict(list)
    for number, root in enumerate(roots):
        found = label(root.node, root.fixed)
        if found is not None and found[1]:
            starts[found[0]].append((number, (), tuple(found[1])))
    for name in sorted(starts):
        yield from _grow(roots, (name,), 1, starts[name], least)


_Match = tuple[int, tuple[ast.expr, ...], tuple[ast.expr, ...]]
"""(root, nodes in the holes so far, nodes still to be looked at)."""


def _grow(
    roots: list[Root], symbols: tuple[str, ...], operations: int, matches: list[_Match], least: int
) -> Iterator[Cut]:
    if not _is_supported(roots, matches, least):
        return
    if sum((roots[match[0]].size - 4) * roots[match[0]].programs for match in matches) < _LEAST_TOKENS:
        return
    if not matches[0][2]:
        places = tuple((number, roots[number].node, holes) for number, holes, _ in matches)
        if places[0][2] or operations > 1:
            yield Cut(symbols, operations, places)
        return
    ways, sizes = _ways(roots, matches)
    settled = any(len(found) == len(matches) for found in ways.values())
    for name in sorted(ways):
        if operations + sizes.get(name, 0) <= MAX_OPERATIONS:
            yield from _grow(roots, (*symbols, name), operations + sizes.get(name, 0), ways[name], least)
    if not settled and len(matches[0][1]) < MAX_HOLES:
        frozen = [
            (number, (*holes, node), tuple(rest))
            for number, holes, (node, *rest) in matches
            if not _is_constant_name(node, roots[number].fixed)
        ]
        yield from _grow(roots, (*symbols, _HOLE), operations, frozen, least)


def _is_supported(roots: list[Root], matches: list[_Match], least: int) -> bool:
    """Whether the matches stand in enough distinct tasks."""
    tasks: set[str] = set()
    for number, _, _ in matches:
        tasks |= roots[number].tasks
        if len(tasks) >= least:
            return True
    return False


def _ways(roots: list[Root], matches: list[_Match]) -> tuple[dict[str, list[_Match]], dict[str, int]]:
    """What stands at the next node: matches by symbol, and how many operations each symbol is."""
    ways: dict[str, list[_Match]] = defaultdict(list)
    sizes: dict[str, int] = {}
    for number, holes, (node, *rest) in matches:
        found = label(node, roots[number].fixed)
        if found is not None:
            ways[found[0]].append((number, holes, (*found[1], *rest)))
            sizes[found[0]] = int(bool(found[1]))
        same = _seen(node, holes)
        if same is not None:
            ways[f"={same}"].append((number, holes, tuple(rest)))
    return ways, sizes


def _is_constant_name(node: ast.expr, fixed: frozenset[str]) -> bool:
    """What has no value that could be passed, or one that is part of the shape: a function's name, None, a flag."""
    found = label(node, fixed)
    return found is not None and not found[1]


def _seen(node: ast.expr, holes: tuple[ast.expr, ...]) -> int | None:
    if isinstance(node, ast.Name):
        for index, hole in enumerate(holes):
            if isinstance(hole, ast.Name) and hole.id == node.id:
                return index
    return None


def match(symbols: tuple[str, ...], node: ast.expr, fixed: frozenset[str]) -> tuple[ast.expr, ...] | None:
    """The nodes in the holes when a cut fits at this node."""
    holes: list[ast.expr] = []
    pending = [node]
    for symbol in symbols:
        here = pending.pop()
        if symbol == _HOLE:
            if _is_constant_name(here, fixed):
                return None
            holes.append(here)
        elif symbol[0] == "=" and symbol[1:].isdigit():
            seen = holes[int(symbol[1:])]
            if not (isinstance(here, ast.Name) and isinstance(seen, ast.Name) and here.id == seen.id):
                return None
        else:
            found = label(here, fixed)
            if found is None or found[0] != symbol:
                return None
            pending += reversed(found[1])
    return tuple(holes)


def expressions(nodes: Iterable[ast.AST]) -> Iterator[ast.expr]:
    """Expressions that are read, but for names, among some nodes."""
    for node in nodes:
        if isinstance(node, ast.expr) and not isinstance(node, ast.Name | ast.Constant):
            yield node
