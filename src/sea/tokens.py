"""What the parts of a program cost, part by part: every node's own tokens, so that sums need no printing.

The sums are what `normalise.cost` gives for the printed program, but for parentheses, which depend on neighbours.
"""

import ast
from collections.abc import Callable
from typing import Any

from sea.normalise import cost

_PER_TEXT = 4
NAMING = 4
"""Tokens that naming a value costs: the name, the equals sign, the end of the line, the name where it is read."""


def own(node: ast.AST) -> int:
    """Tokens of a node without the expressions and statements directly below it."""
    counter = _OWN.get(type(node))
    if counter is not None:
        return counter(node)
    if isinstance(node, ast.expr):
        return cost(ast.unparse(node)) - 1 - sum(total(child) for child in below(node))
    if isinstance(node, ast.stmt):
        return cost(ast.unparse(node)) - sum(total(child) for child in (*below(node), *nested(node)))
    return 0


def total(node: ast.AST) -> int:
    """Tokens of a node and all that is below it."""
    return own(node) + sum(total(child) for child in (*below(node), *nested(node)))


def nested(node: ast.AST) -> list[ast.stmt]:
    """The statements directly below a statement."""
    return [stmt for body in bodies(node) for stmt in body] if isinstance(node, ast.stmt) else []


def bodies(node: ast.AST) -> list[list[ast.stmt]]:
    """The blocks of a statement, those of its handlers and cases among them."""
    found: list[list[ast.stmt]] = []
    for _, value in ast.iter_fields(node):
        if isinstance(value, list) and value and isinstance(value[0], ast.stmt):
            found.append(value)
        elif isinstance(value, list) and value and isinstance(value[0], ast.excepthandler | ast.match_case):
            found += [item.body for item in value]
    return found


def below(node: ast.AST) -> list[ast.expr]:
    """The expressions directly below a node, through what is no expression itself; format specs and text are none."""
    found: list[ast.expr] = []
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FormattedValue):
            found.append(child.value)
        elif isinstance(child, ast.expr):
            if not (isinstance(node, ast.JoinedStr) and isinstance(child, ast.Constant)):
                found.append(child)
        elif not isinstance(child, ast.stmt):
            found += below(child)
    return found


def _constant(node: ast.AST) -> int:
    assert isinstance(node, ast.Constant)
    if isinstance(node.value, str):
        return max(1, -(-len(repr(node.value)) // _PER_TEXT))
    if isinstance(node.value, bytes | complex):
        return cost(ast.unparse(node)) - 1
    return 1


def _commas(count: int) -> int:
    return max(0, count - 1)


_OWN: dict[type, Callable[[Any], int]] = {
    ast.Name: lambda node: 1,
    ast.Constant: _constant,
    ast.BinOp: lambda node: 1,
    ast.UnaryOp: lambda node: 1,
    ast.BoolOp: lambda node: len(node.values) - 1,
    ast.Compare: lambda node: sum(2 if isinstance(op, ast.NotIn | ast.IsNot) else 1 for op in node.ops),
    ast.Attribute: lambda node: 2,
    ast.Subscript: lambda node: 2 - 2 * isinstance(node.slice, ast.Tuple),
    ast.Call: lambda node: 2 + 2 * len(node.keywords) + _commas(len(node.args) + len(node.keywords)),
    ast.List: lambda node: 2 + _commas(len(node.elts)),
    ast.Tuple: lambda node: 2 + max(_commas(len(node.elts)), len(node.elts) == 1),
    ast.Dict: lambda node: 2 + _commas(len(node.keys)) + len(node.keys),
    ast.IfExp: lambda node: 2,
    ast.Expr: lambda node: 1,
    ast.Assign: lambda node: 1 + len(node.targets) - 2 * any(isinstance(t, ast.Tuple) for t in node.targets),
    ast.AugAssign: lambda node: 2,
    ast.Return: lambda node: 2,
}
