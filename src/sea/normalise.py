"""Programs as trees in a normal form, and what a program costs. Pure; nothing is executed.

Normal forms: no docstrings and comments; a name that is assigned a literal or plain arithmetic once and read once is
that value itself, unless something stands between that could act, repeat or fail first; a literal that is never read is
gone. Where that could change what a program does, the program stays as it is.
"""

import ast
import builtins
import io
import tokenize
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

BUILTINS = frozenset(dir(builtins))
_FREE = {tokenize.COMMENT, tokenize.NL, tokenize.ENCODING, tokenize.ENDMARKER}
_CHARACTERS_PER_TOKEN = 4
_LOOKING = frozenset({"len", "sum", "max", "min", "round", "abs", "int", "float", "str"})
_CONSUMING = frozenset({"sum", "max", "min"})
"""With one argument they use up what they are given, if it is an iterator."""
BY_NAME = frozenset({"eval", "exec", "locals", "globals", "vars", "dir", "__doc__"})
"""Programs that use these can tell names and docstrings apart."""


_PLAIN_FIELDS = frozenset({"ctx", "id", "attr", "kind", "type_comment", "level", "module", "conversion"})


_LABELS: dict[type, tuple[str, ...]] = {ast.Constant: ()}


def _labels(kind: type[ast.AST]) -> tuple[str, ...]:
    """Fields that can hold nodes; whether a name is read or given a value is none."""
    found = _LABELS.get(kind)
    if found is None:
        found = _LABELS[kind] = tuple(name for name in kind._fields if name not in _PLAIN_FIELDS)
    return found


def children(node: ast.AST) -> list[ast.AST]:
    """Nodes directly below a node, in the order of `ast.iter_child_nodes`, without contexts of names."""
    found: list[ast.AST] = []
    for label in _labels(node.__class__):
        value = getattr(node, label, None)
        if isinstance(value, ast.AST):
            found.append(value)
        elif isinstance(value, list):
            found += [item for item in value if isinstance(item, ast.AST)]
    return found


def walk(node: ast.AST) -> Iterator[ast.AST]:
    """A node and all below it, in the order of `ast.walk`, without contexts of names."""
    found = [node]
    for here in found:  # grows on the way
        found += children(here)
        yield here


@lru_cache(maxsize=65536)
def cost(text: str) -> int:
    """Tokens of a program text as `tokenize` gives them; comments are free, a string costs one per four characters."""
    total = 0
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in _FREE:
            continue
        is_text = token.type == tokenize.STRING or tokenize.tok_name[token.type].startswith("FSTRING_MIDDLE")
        total += max(1, -(-len(token.string) // _CHARACTERS_PER_TOKEN)) if is_text else 1
    return total


def inner_cost(node: ast.expr) -> int:
    """Tokens of an expression inside a line."""
    return cost(ast.unparse(node)) - 1  # the end of the line that `tokenize` adds


def parse(code: str) -> ast.Module:
    """The program without docstrings.

    Raises:
        SyntaxError: It does not parse.
    """
    tree = ast.parse(code)
    if "__doc__" in code:
        return tree
    for node in walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Module):
            body = [stmt for stmt in node.body if not _is_text(stmt)]
            node.body = body or ([ast.Pass()] if not isinstance(node, ast.Module) else [])
    return tree


def _is_text(stmt: ast.stmt) -> bool:
    return (
        isinstance(stmt, ast.Expr)
        and isinstance(stmt.value, ast.Constant)
        and isinstance(stmt.value.value, str)
    )


def is_literal(node: ast.AST) -> bool:
    """A constant other than None and booleans, or a container made of constants only."""
    if isinstance(node, ast.Constant):
        return not isinstance(node.value, bool | None | type(...))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return isinstance(node.operand, ast.Constant)
    if isinstance(node, ast.List | ast.Tuple | ast.Set) and isinstance(
        getattr(node, "ctx", ast.Load()), ast.Load
    ):
        return bool(node.elts) and all(_is_plain(item) for item in node.elts)
    if isinstance(node, ast.Dict):
        keys = [key for key in node.keys if key is not None]
        return (
            bool(keys)
            and len(keys) == len(node.keys)
            and all(_is_plain(item) for item in (*keys, *node.values))
        )
    return False


def _is_plain(node: ast.AST) -> bool:
    return is_literal(node) or (isinstance(node, ast.Constant) and node.value is not ...)


def clone(node: Any) -> Any:
    """A copy of a tree with everything noted on its nodes; the members of literals are shared: nothing changes them."""
    if isinstance(node, list):
        return [clone(item) for item in node]
    if not isinstance(node, ast.AST):
        return node
    made = node.__class__.__new__(node.__class__)
    fields = node.__dict__
    if isinstance(node, _CONTAINERS) and is_literal(node):
        made.__dict__.update(fields)
        return made
    noted = made.__dict__
    for name, value in fields.items():
        noted[name] = clone(value) if isinstance(value, list | ast.AST) else value
    return made


_CONTAINERS = (ast.List, ast.Tuple, ast.Set, ast.Dict)


def straighten(tree: ast.Module, keep: frozenset[str], drop: bool = True) -> ast.Module:
    """The tree with values put where they are read; names in `keep` are results and stay.

    `drop` leaves out literals that are never read.
    """
    tree = clone(tree)
    for node in walk(tree):
        if isinstance(node, ast.Global | ast.Nonlocal) or (isinstance(node, ast.Name) and node.id in BY_NAME):
            return tree
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            node.body = _straight(node.body, frozenset(), drop) or node.body
    tree.body = _straight(tree.body, keep, drop)
    return ast.fix_missing_locations(tree)


def _straight(body: list[ast.stmt], keep: frozenset[str], drop: bool) -> list[ast.stmt]:
    """One scope's statements in normal form."""
    while True:
        found, unread = _pass(clone(body), keep, drop)
        if not unread:
            return found
        # Read before it was assigned: the program fails there, and must go on failing.
        keep |= unread


def _pass(body: list[ast.stmt], keep: frozenset[str], drop: bool) -> tuple[list[ast.stmt], frozenset[str]]:
    nodes = [node for stmt in body for node in walk(stmt)]
    loads = Counter(
        node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    )
    stores = Counter(name for node in nodes for name in bound(node))
    inner = _loaded_in_inner_places(body)
    assigned: set[str] = set()
    pending: dict[str, ast.expr] = {}
    done: list[ast.stmt] = []
    for stmt in body:
        early = _read_first(stmt, stores)
        if early is not None:
            star = isinstance(stmt, ast.ImportFrom)  # with a star it could bind any name
            _flush(pending, done, star, early)
        stmt = _Inline(pending).visit(stmt)
        name, value = _single_assignment(stmt)
        simple = name not in keep and stores[name] == 1
        fixed = {known for known in assigned if stores[known] == 1}
        assigned |= {found for node in walk(stmt) for found in bound(node)}
        if value is None or not simple:
            done.append(stmt)
        elif loads[name] == 1 and name not in inner and (is_literal(value) or _is_pure(value, stores, fixed)):
            pending[name] = value
        elif loads[name] or not (drop and is_literal(value)):
            done.append(stmt)
    unread = {node.id for stmt in done for node in walk(stmt) if isinstance(node, ast.Name)} & pending.keys()
    _flush(pending, done, everything=True)
    return done, frozenset(unread)


def bound(node: ast.AST) -> list[str]:
    """Names that a node itself gives a value or takes it from."""
    if isinstance(node, ast.Name):
        return [] if isinstance(node.ctx, ast.Load) else [node.id]
    if isinstance(node, ast.alias):
        return [node.asname or node.name.partition(".")[0]]
    found = getattr(node, "rest" if isinstance(node, ast.MatchMapping) else "name", None)
    return [found] if isinstance(found, str) else []


def _read_first(stmt: ast.stmt, stores: Counter[str]) -> set[str] | None:
    """Names whose values may be computed as late as in this statement; None when all may, even after it."""
    plain = isinstance(stmt, ast.Return | ast.Expr) or (
        isinstance(stmt, ast.Assign) and all(isinstance(target, ast.Name) for target in stmt.targets)
    )
    label = {ast.For: "iter", ast.If: "test"}.get(type(stmt), "value")
    root = getattr(stmt, label, None)
    if not isinstance(root, ast.expr):
        return None if plain else set()
    nodes = list(walk(root))
    calls = [node for node in nodes if isinstance(node, ast.Call) and _acts(node, stores)]
    if any(isinstance(node, _MAY_SKIP) for node in nodes) or len(calls) > 1:
        return set()
    if not calls and plain:
        return None
    return {node.id for node in walk(calls[0] if calls else root) if isinstance(node, ast.Name)}


_MAY_SKIP = (ast.BoolOp, ast.IfExp, ast.NamedExpr, ast.Yield, ast.YieldFrom, ast.Await)
"""What is below may not be computed at all, or something else may happen in between."""


def _acts(call: ast.Call, stores: Counter[str]) -> bool:
    """Whether a call could change something that a value is computed from."""
    function = call.func
    if isinstance(function, ast.Attribute):
        return not (
            isinstance(function.value, ast.Name) and function.value.id == "math" and stores["math"] <= 1
        )
    if not isinstance(function, ast.Name) or function.id not in _LOOKING or stores[function.id]:
        return True
    only = call.args[0] if len(call.args) == 1 else None
    return function.id in _CONSUMING and only is not None and not is_literal(only)


def _flush(
    pending: dict[str, ast.expr],
    done: list[ast.stmt],
    everything: bool = False,
    but: set[str] | frozenset[str] = frozenset(),
) -> None:
    """Put computed values where the program has come to; literals may wait, and so may the names in `but`."""
    for name, value in list(pending.items()):
        if everything or not (is_literal(value) or name in but):
            done.append(ast.Assign([ast.Name(name, ast.Store())], pending.pop(name), lineno=0))


def _single_assignment(stmt: ast.stmt) -> tuple[str, ast.expr | None]:
    if isinstance(stmt, ast.Assign) and len(stmt.targets) == 1 and isinstance(stmt.targets[0], ast.Name):
        return stmt.targets[0].id, stmt.value
    return "", None


def _is_pure(value: ast.expr, stores: Counter[str], fixed: set[str]) -> bool:
    """Arithmetic on names that never change from here on, and calls that only look: may be computed later."""
    for node in walk(value):
        if isinstance(node, ast.Call):
            if node.keywords or _acts(node, stores):
                return False
        elif isinstance(node, ast.Attribute):
            if not (isinstance(node.value, ast.Name) and node.value.id == "math"):
                return False
        elif isinstance(node, ast.Name):
            if stores[node.id] and node.id not in fixed:
                return False
        elif not is_literal(node) and not isinstance(
            node, ast.BinOp | ast.UnaryOp | ast.operator | ast.unaryop | ast.Constant | ast.expr_context
        ):
            return False
    return True


def _loaded_in_inner_places(body: list[ast.stmt]) -> set[str]:
    """Names read inside loops, comprehensions or functions: a literal there would be made anew each time."""
    found: set[str] = set()
    repeated = (ast.While, ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)
    for node in (node for stmt in body for node in walk(stmt)):
        places: list[ast.AST] = []
        if isinstance(node, ast.For):
            places = [*node.body, *node.orelse]
        elif isinstance(node, ast.ListComp | ast.SetComp | ast.GeneratorExp):
            places = [node.elt, *node.generators[1:], *node.generators[0].ifs]
        elif isinstance(node, ast.DictComp):
            places = [node.key, node.value, *node.generators[1:], *node.generators[0].ifs]
        elif isinstance(node, repeated):
            places = [node]
        for place in places:
            found |= {inner.id for inner in walk(place) if isinstance(inner, ast.Name)}
    return found


class _Inline(ast.NodeTransformer):
    """Puts values where their names are read, and remembers the name: it says what the value means."""

    def __init__(self, values: dict[str, ast.expr]) -> None:
        self._values = values

    def visit_Name(self, node: ast.Name) -> ast.expr:
        """One name."""
        if isinstance(node.ctx, ast.Load) and node.id in self._values:
            value = self._values.pop(node.id)
            value.meaning = node.id  # type: ignore[attr-defined]
            return value
        return node
