"""One-edit mutants of a function, by two families of operators that share none: one to strengthen tests, one to score.

Pure: text in, texts out. Annotations, docstrings and imports are left alone.
"""

import ast
import copy
import random
from collections.abc import Callable, Iterator
from typing import Any

MOST = 60
"""Mutants of one function and family; a seeded sample when there are more."""

_Edit = Callable[[], None]
Edits = Callable[[ast.AST], Iterator[tuple[str, _Edit]]]


def scoring(code: str, name: str, most: int = MOST, seed: int = 0) -> list[tuple[str, str]]:
    """(what was edited, text) of mutants that tests are scored by: operators, comparisons, constants, conditions."""
    return _mutants(code, name, _SCORING, most, seed)


def strengthening(code: str, name: str, most: int = MOST, seed: int = 0) -> list[tuple[str, str]]:
    """(what was edited, text) of mutants that new tests are looked for with: statements, operands, calls, names.

    No text that `scoring` could also make is among them.
    """
    scored = {text for _, text in _mutants(code, name, _SCORING, 1 << 30, 0)}
    found = _mutants(code, name, _STRENGTHENING, most, seed)
    return [(what, text) for what, text in found if text not in scored]


def _mutants(code: str, name: str, family: tuple[Edits, ...], most: int, seed: int) -> list[tuple[str, str]]:
    places = [
        (position, operator, number)
        for position, node in enumerate(_nodes(ast.parse(code), name))
        for operator in range(len(family))
        for number, _ in enumerate(family[operator](node))
    ]
    if len(places) > most:
        places = sorted(random.Random(seed).sample(places, most))  # noqa: S311 -- a sample, no secret
    normal = ast.unparse(ast.parse(code))
    found: dict[str, str] = {}
    for position, operator, number in places:
        tree = ast.parse(code)
        node = _nodes(tree, name)[position]
        what, edit = list(family[operator](node))[number]
        edit()
        text = _text(tree)
        if text and text != normal:
            found.setdefault(text, f"line {getattr(node, 'lineno', 0)}: {what}")
    return [(what, text) for text, what in found.items()]


def _text(tree: ast.Module) -> str:
    """The mutant's text, or nothing if the edit made no valid program."""
    text = ast.unparse(ast.fix_missing_locations(tree))
    try:
        compile(text, "<mutant>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, OverflowError):
        return ""
    return text


def _nodes(tree: ast.Module, name: str) -> list[ast.AST]:
    """Nodes of all functions' bodies, in a fixed order, without annotations and docstrings."""
    found: list[ast.AST] = []
    for statement in tree.body:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            _collect(statement, found)
        elif isinstance(statement, ast.Assign) and statement.targets:
            found += ast.walk(statement.value)
    return found


def _collect(node: ast.AST, found: list[ast.AST]) -> None:
    found.append(node)
    body = getattr(node, "body", None)
    docstring = (
        body[0]
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        and isinstance(body, list)
        and isinstance(body[0], ast.Expr)
        and isinstance(body[0].value, ast.Constant)
        else None
    )
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list"):
            continue
        for inner in value if isinstance(value, list) else [value]:
            if (
                isinstance(inner, ast.AST)
                and inner is not docstring
                and not isinstance(inner, ast.expr_context)
            ):
                _collect(inner, found)


def _set(node: Any, field: str, value: Any) -> _Edit:
    return lambda: setattr(node, field, value)


def _into(node: ast.AST, other: ast.AST) -> _Edit:
    """Make a node another one where it stands."""

    def edit() -> None:
        fresh = copy.deepcopy(other)
        node.__class__ = fresh.__class__
        node.__dict__.clear()
        node.__dict__.update(fresh.__dict__)

    return edit


_ARITHMETIC: dict[type, tuple[type, ...]] = {
    ast.Add: (ast.Sub, ast.Mult),
    ast.Sub: (ast.Add,),
    ast.Mult: (ast.Div, ast.Add),
    ast.Div: (ast.Mult, ast.FloorDiv),
    ast.FloorDiv: (ast.Div, ast.Mult),
    ast.Mod: (ast.FloorDiv, ast.Mult),
    ast.Pow: (ast.Mult,),
    ast.BitAnd: (ast.BitOr,),
    ast.BitOr: (ast.BitAnd,),
    ast.BitXor: (ast.BitOr,),
    ast.LShift: (ast.RShift,),
    ast.RShift: (ast.LShift,),
}
_COMPARISON: dict[type, tuple[type, ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
}


def _operators(node: ast.AST) -> Iterator[tuple[str, _Edit]]:
    if isinstance(node, ast.BinOp | ast.AugAssign):
        for other in _ARITHMETIC.get(type(node.op), ()):
            yield f"{type(node.op).__name__} becomes {other.__name__}", _set(node, "op", other())
    elif isinstance(node, ast.Compare):
        for other in _COMPARISON.get(type(node.ops[0]), ()):
            said = f"{type(node.ops[0]).__name__} becomes {other.__name__}"
            yield said, _set(node, "ops", [other(), *node.ops[1:]])
    elif isinstance(node, ast.BoolOp):
        other_word = ast.Or if isinstance(node.op, ast.And) else ast.And
        yield f"it becomes {other_word.__name__}", _set(node, "op", other_word())
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.Not):
        yield "the sign or not is dropped", _into(node, node.operand)


def _constants(node: ast.AST) -> Iterator[tuple[str, _Edit]]:
    if not isinstance(node, ast.Constant):
        return
    value = node.value
    if isinstance(value, bool):
        yield "the truth value is turned", _set(node, "value", not value)
    elif isinstance(value, int | float):
        for said, step in (("grows", 1), ("shrinks", -1)):
            yield f"the number {said} by one", _set(node, "value", value + step)
    elif isinstance(value, str):
        yield "the text changes", _set(node, "value", value + "x" if value else "x")


def _conditions(node: ast.AST) -> Iterator[tuple[str, _Edit]]:
    if isinstance(node, ast.If | ast.While | ast.IfExp):
        yield "the condition is turned", _set(node, "test", ast.UnaryOp(ast.Not(), node.test))
    elif isinstance(node, ast.Return) and node.value is not None:
        yield "it returns None", _set(node, "value", ast.Constant(None))


_SCORING: tuple[Edits, ...] = (_operators, _constants, _conditions)


_DROPPED = (ast.Assign, ast.AugAssign, ast.Expr, ast.If, ast.For, ast.Continue, ast.Break)


def _statements(node: ast.AST) -> Iterator[tuple[str, _Edit]]:
    """One statement of a body is dropped."""
    for field in ("body", "orelse"):
        body = getattr(node, field, None)
        if not isinstance(body, list):
            continue
        for number, statement in enumerate(body):
            text = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
            if isinstance(statement, _DROPPED) and not text:
                rest: list[ast.stmt] = [*body[:number], *body[number + 1 :]]
                yield "a statement is dropped", _set(node, field, rest or [ast.Pass()])


def _operands(node: ast.AST) -> Iterator[tuple[str, _Edit]]:
    """Operands are exchanged or one is dropped; a constant is nought or doubled; a condition is fixed."""
    if isinstance(node, ast.BinOp):
        yield "operands are exchanged", _swap(node, "left", "right")
        yield "only the left operand stays", _into(node, node.left)
        yield "only the right operand stays", _into(node, node.right)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float) and node.value:
        if type(node.value) is not bool:
            yield "the number is nought", _set(node, "value", type(node.value)(0))
            yield "the number is doubled and one more", _set(node, "value", node.value * 2 + 1)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value:
        yield "the text is empty", _set(node, "value", "")
    elif isinstance(node, ast.If | ast.IfExp):
        yield "always", _set(node, "test", ast.Constant(True))
        yield "never", _set(node, "test", ast.Constant(False))
    elif isinstance(node, ast.Compare):
        yield "the comparison always holds", _into(node, ast.Constant(True))
        one_more = ast.BinOp(copy.deepcopy(node.comparators[0]), ast.Add(), ast.Constant(1))
        yield "compared with one more", _set(node, "comparators", [one_more, *node.comparators[1:]])


def _swap(node: Any, one: str, other: str) -> _Edit:
    def edit() -> None:
        first, second = getattr(node, one), getattr(node, other)
        setattr(node, one, second)
        setattr(node, other, first)

    return edit


def _calls(node: ast.AST) -> Iterator[tuple[str, _Edit]]:
    """A call is replaced by its argument or its object; a value by its opposite; a slice is moved."""
    if isinstance(node, ast.Call):
        if node.args and not isinstance(node.args[0], ast.Starred):
            yield "the call is replaced by its argument", _into(node, node.args[0])
        if isinstance(node.func, ast.Attribute):
            yield "the method is not called", _into(node, node.func.value)
        if node.keywords:
            yield "a keyword is dropped", _set(node, "keywords", node.keywords[1:])
    elif isinstance(node, ast.Slice):
        for field in ("lower", "upper", "step"):
            if getattr(node, field) is not None:
                yield f"the slice has no {field}", _set(node, field, None)
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
        yield "the value is one more", _into(node, ast.BinOp(copy.copy(node), ast.Add(), ast.Constant(1)))
        yield "the value has the other sign", _into(node, ast.UnaryOp(ast.USub(), copy.copy(node)))


_STRENGTHENING: tuple[Edits, ...] = (_statements, _operands, _calls)
