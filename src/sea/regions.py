"""Places in a program that could become one call: statement windows, expressions, helper functions.

A region's `key` is its tree with names numbered in order and literals as holes: equal keys mean the same computation up
to renaming and values. Regions are found, never changed, here.
"""

import ast
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sea.choices import surcharge
from sea.normalise import BUILTINS, children, cost, is_literal, walk
from sea.tokens import NAMING, below, nested, own

MAX_WINDOW = 8
MIN_COST = 5
MAX_INPUTS = 6
MAX_OUTPUTS = 3
_NEVER = (
    ast.Return, ast.Yield, ast.YieldFrom, ast.Await, ast.Global, ast.Nonlocal, ast.Import, ast.ImportFrom,
    ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef, ast.Delete, ast.Try, ast.With, ast.Match, ast.NamedExpr,
    ast.Lambda, ast.Starred,
)  # fmt: skip
_EFFECTS = frozenset(
    {"print", "input", "open", "exec", "eval", "compile", "exit", "quit", "globals", "locals", "vars"}
)


@dataclass(frozen=True)
class Region:
    """One place."""

    kind: str
    """window, expression or function."""
    nodes: tuple[ast.AST, ...]
    key: str
    holes: tuple[ast.expr, ...]
    """Literals, in order."""
    names: tuple[str, ...]
    """Names of the region by number."""
    inputs: tuple[str, ...]
    """Names that are read before they are assigned."""
    outputs: tuple[str, ...]
    """Names assigned here and read elsewhere; for an expression none."""
    size: int
    """Tokens as the program was written: a literal that was given a name first counts with that assignment."""
    span: tuple[int, int]
    """First and last node of the region in the program's own order: two regions overlap when their spans do."""


@dataclass
class Program:
    """A parsed program with what decides about its regions."""

    tree: ast.Module
    keep: frozenset[str]
    """Names that are the program's result."""
    fixed: frozenset[str] = frozenset()
    """Names with a meaning of their own: builtins and imports."""
    helpers: frozenset[str] = frozenset()
    """Functions the program defines."""
    order: dict[int, int] = field(default_factory=dict)
    last: dict[int, int] = field(default_factory=dict)
    specs: set[int] = field(default_factory=set)
    """Format specs: trees of the form of an expression that are none."""
    uses: dict[str, list[tuple[int, bool]]] = field(default_factory=dict)
    """Name to (position, whether it is read)."""
    least: int = MIN_COST
    """Regions of fewer tokens are none."""
    sizes: dict[int, int] = field(default_factory=dict)
    known: "list[Region] | None" = None
    """Its regions, once they were asked for."""

    def __getstate__(self) -> tuple[object, ...]:
        """What is not found again from the tree."""
        own = self.fixed - BUILTINS
        return self.tree, self.keep, own, self.helpers, self.least, regions(self)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.tree, self.keep, own, self.helpers, self.least, self.known = state
        self.fixed = BUILTINS | own
        self.order, self.last, self.specs, self.uses, self.sizes = {}, {}, set(), {}, {}
        _number(self.tree, self, 0)

    def tokens(self, node: ast.AST) -> int:
        """Tokens of a node and all that is below it, counted once."""
        found = self.sizes.get(id(node))
        if found is None:
            found = own(node) + sum(self.tokens(child) for child in (*below(node), *nested(node)))
            self.sizes[id(node)] = found
        return found


def survey(tree: ast.Module, keep: frozenset[str], preset: frozenset[str] = frozenset()) -> Program:
    """Number the nodes of a program and note where names are used; `preset` are names its runtime imports."""
    imported = {
        alias.asname or alias.name.partition(".")[0]
        for node in walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    helpers = {node.name for node in walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    program = Program(tree, keep, BUILTINS | imported | preset, frozenset(helpers))
    _number(tree, program, 0)
    return program


def _number(node: ast.AST, program: Program, position: int) -> int:
    program.order[id(node)] = position
    if isinstance(node, ast.FormattedValue) and node.format_spec is not None:
        program.specs.add(id(node.format_spec))
    if isinstance(node, ast.Name):
        program.uses.setdefault(node.id, []).append((position, isinstance(node.ctx, ast.Load)))
    following = position + 1
    for child in children(node):
        following = _number(child, program, following)
    program.last[id(node)] = following - 1
    return following


def regions(program: Program) -> list[Region]:
    """Every region of a program, large ones first within a place."""
    if program.known is None:
        program.known = list(_regions(program))
    return program.known


def _regions(program: Program) -> Iterator[Region]:
    for node in walk(program.tree):
        for body in _bodies(node):
            yield from _windows(program, body, isinstance(node, ast.Module))
        if isinstance(node, ast.FunctionDef) and node in program.tree.body:
            yield from _function(program, node)
        elif isinstance(node, ast.expr) and not isinstance(node, ast.Name | ast.Constant):
            yield from _expression(program, node)


def _bodies(node: ast.AST) -> list[list[ast.stmt]]:
    found = (getattr(node, name, None) for name in ("body", "orelse"))
    return [body for body in found if isinstance(body, list) and body and isinstance(body[0], ast.stmt)]


def _windows(program: Program, body: list[ast.stmt], whole: bool) -> Iterator[Region]:
    count = len(body)
    bad = [_is_unfit(stmt) for stmt in body]
    for start in range(count):
        for end in range(min(count, count if whole and start == 0 else start + MAX_WINDOW), start, -1):
            if not any(bad[start:end]):
                yield from _window(program, body[start:end])


def _is_unfit(stmt: ast.stmt) -> bool:
    loops = sum(isinstance(node, ast.For | ast.While) for node in walk(stmt))
    for node in walk(stmt):
        if isinstance(node, _NEVER) or (isinstance(node, ast.Break | ast.Continue) and not loops):
            return True
        if isinstance(node, ast.Name) and node.id in _EFFECTS:
            return True
    return False


def _window(program: Program, stmts: list[ast.stmt]) -> Iterator[Region]:
    first, last = program.order[id(stmts[0])], program.last[id(stmts[-1])]
    inside = _names(stmts)
    stored = [name for name, kinds in inside.items() if "store" in kinds]
    if any(name in program.helpers or (name in program.fixed and name in stored) for name in inside):
        return
    outputs = tuple(
        name for name in stored if name in program.keep or _read_outside(program, name, first, last)
    )
    inputs = tuple(
        name for name, kinds in inside.items() if name not in program.fixed and kinds[0] != "store"
    )
    if not 1 <= len(outputs) <= MAX_OUTPUTS or len(inputs) > MAX_INPUTS or _is_glue(stmts):
        return
    if len(stmts) == 1 and isinstance(stmts[0], ast.Assign) and isinstance(stmts[0].targets[0], ast.Name):
        return  # its value is a region of its own
    if any(name not in inputs and name not in _always_stored(stmts) for name in outputs):
        return  # assigned on some paths only: as a function it would fail on the others
    size = _written_size(program, stmts)
    if size >= program.least:
        key, holes, names = canon(stmts, program.fixed)
        roles = ",".join(str(names.index(name)) for name in (*inputs, "|", *outputs) if name != "|")
        key = f"w{len(outputs)}:{roles}:{key}"
        yield Region("window", tuple(stmts), _digest(key), holes, names, inputs, outputs, size, (first, last))


def _written_size(program: Program, nodes: list[ast.stmt] | list[ast.expr]) -> int:
    inside = [inner for node in nodes for inner in walk(node)]
    named = sum(hasattr(inner, "meaning") for inner in inside)
    return sum(program.tokens(node) for node in nodes) + NAMING * named + sum(map(surcharge, inside))


def _always_stored(stmts: list[ast.stmt]) -> set[str]:
    """Names that have a value after these statements whichever way they went."""
    found: set[str] = set()
    for stmt in stmts:
        targets: list[ast.expr] = []
        if isinstance(stmt, ast.Assign):
            targets = stmt.targets
        elif isinstance(stmt, ast.AugAssign | ast.AnnAssign):
            targets = [stmt.target]
        elif isinstance(stmt, ast.If) and stmt.orelse:
            found |= _always_stored(stmt.body) & _always_stored(stmt.orelse)
        found |= {node.id for target in targets for node in walk(target) if isinstance(node, ast.Name)}
    return found


def _is_glue(stmts: list[ast.stmt]) -> bool:
    """Assignments of literals and names only: nothing is computed."""
    working = (
        ast.BinOp,
        ast.Call,
        ast.Compare,
        ast.Subscript,
        ast.For,
        ast.While,
        ast.JoinedStr,
        ast.AugAssign,
        ast.If,
    )
    return not any(isinstance(node, working) for stmt in stmts for node in walk(stmt))


def _read_outside(program: Program, name: str, first: int, last: int) -> bool:
    return any(read and not first <= position <= last for position, read in program.uses.get(name, ()))


def _names(nodes: list[ast.stmt] | list[ast.expr]) -> dict[str, list[str]]:
    """Names in the order of evaluation as far as it matters here: what is assigned is evaluated first."""
    found: dict[str, list[str]] = {}
    bound: set[str] = set()
    for node in nodes:
        bound |= {
            name.id
            for inner in walk(node)
            if isinstance(inner, ast.comprehension)
            for name in walk(inner.target)
            if isinstance(name, ast.Name)
        }
        _note(node, found)
    # A comprehension's own variables live in it alone.
    return (
        {name: kinds for name, kinds in found.items() if name not in bound or "store" in kinds[1:]}
        if bound
        else found
    )


def _note(node: ast.AST, found: dict[str, list[str]]) -> None:
    if isinstance(node, ast.Name):
        found.setdefault(node.id, []).append("load" if isinstance(node.ctx, ast.Load) else "store")
        return
    if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
        found.setdefault(node.target.id, []).append("load")
    parts = children(node)
    if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign):
        parts.sort(key=lambda child: child is not node.value)
    elif isinstance(node, ast.For):
        parts.sort(key=lambda child: child is not node.iter)
    elif isinstance(node, ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp):
        parts.sort(key=lambda child: not isinstance(child, ast.comprehension))
    elif isinstance(node, ast.comprehension):
        parts.sort(key=lambda child: child is not node.iter)
    for child in parts:
        _note(child, found)


def _expression(program: Program, node: ast.expr) -> Iterator[Region]:
    if (
        is_literal(node)
        or not isinstance(getattr(node, "ctx", ast.Load()), ast.Load)
        or id(node) in program.specs
    ):
        return
    working = (ast.BinOp, ast.Call, ast.Compare, ast.Subscript, ast.JoinedStr)
    if not any(isinstance(inner, working) for inner in walk(node)) or _is_unfit(ast.Expr(node)):
        return
    inside = _names([node])
    inputs = tuple(
        name for name, kinds in inside.items() if name not in program.fixed and kinds[0] != "store"
    )
    if any(name in program.helpers for name in inside) or len(inputs) > MAX_INPUTS:
        return
    size = _written_size(program, [node])
    if size >= program.least:
        key, holes, names = canon([node], program.fixed)
        span = (program.order[id(node)], program.last[id(node)])
        yield Region("expression", (node,), _digest("e:" + key), holes, names, inputs, (), size, span)


def cut_region(
    program: Program, node: ast.expr, holes: tuple[ast.expr, ...], symbols: tuple[str, ...]
) -> Region:
    """The region of a cut: the top of an expression, with holes where the rest of it stands."""
    span = (program.order[id(node)], program.last[id(node)])
    return Region(
        "cut", (node,), _digest("c:" + " ".join(symbols)), holes, (), (), (), program.tokens(node), span
    )


def _function(program: Program, node: ast.FunctionDef) -> Iterator[Region]:
    arguments = node.args
    if (
        arguments.vararg
        or arguments.kwarg
        or arguments.kwonlyargs
        or node.decorator_list
        or arguments.posonlyargs
    ):
        return
    free = {inner.id for inner in walk(node) if isinstance(inner, ast.Name)} & (program.helpers - {node.name})
    effects = {inner.id for inner in walk(node) if isinstance(inner, ast.Name)} & _EFFECTS
    banned = tuple(
        kind for kind in _NEVER if kind not in (ast.Return, ast.FunctionDef, ast.Lambda, ast.Starred)
    )
    if free or effects or any(isinstance(inner, banned) for inner in walk(node)) or not arguments.args:
        return
    key, holes, names = canon([node], program.fixed - {node.name})
    span = (program.order[id(node)], program.last[id(node)])
    inputs = tuple(argument.arg for argument in arguments.args)
    size = cost(ast.unparse(node))
    yield Region("function", (node,), _digest("f:" + key), holes, names, inputs, (), size, span)


def canon(
    nodes: Sequence[ast.AST], fixed: frozenset[str]
) -> tuple[str, tuple[ast.expr, ...], tuple[str, ...]]:
    """The shape of some nodes: text, literals left out of it, names by number."""
    shape = _Shape(fixed)
    for node in nodes:
        shape.add(node)
    return "".join(shape.parts), tuple(shape.holes), tuple(shape.names)


@dataclass
class _Shape:
    """What `canon` collects on its way through a tree."""

    fixed: frozenset[str]
    holes: list[ast.expr] = field(default_factory=list)
    names: dict[str, int] = field(default_factory=dict)
    parts: list[str] = field(default_factory=list)

    def add(self, node: object) -> None:
        """One node, list or plain field."""
        if isinstance(node, ast.expr) and is_literal(node):
            self.holes.append(node)
            self.parts.append("#")
        elif isinstance(node, ast.Name | ast.arg):
            self._name(node.id if isinstance(node, ast.Name) else node.arg)
        elif isinstance(node, ast.JoinedStr | ast.FormattedValue):
            self._format(node)
        elif isinstance(node, ast.AST):
            self._node(node)
        elif isinstance(node, list):
            for item in node:
                self.add(item)
                self.parts.append(";")
        else:
            self.parts.append(repr(node))

    def _name(self, name: str) -> None:
        self.parts.append(name if name in self.fixed else f"v{self.names.setdefault(name, len(self.names))}")

    def _format(self, node: ast.JoinedStr | ast.FormattedValue) -> None:
        self.parts.append(type(node).__name__ + "(")
        for value in ast.iter_child_nodes(node):
            # Text between the braces and format specs are part of the shape, not values.
            if isinstance(value, ast.Constant):
                self.parts.append(repr(value.value))
            else:
                self.add(value)
        self.parts.append(f"{getattr(node, 'conversion', '')})")

    def _node(self, node: ast.AST) -> None:
        self.parts.append(type(node).__name__ + "(")
        for label, value in ast.iter_fields(node):
            if label == "name" and isinstance(value, str):
                self._name(value)
            elif label not in _NO_SHAPE:
                self.add(value)
                self.parts.append(",")
        self.parts.append(")")


_NO_SHAPE = ("ctx", "type_comment", "kind", "returns", "annotation", "type_params")


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()
