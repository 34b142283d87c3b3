"""Branches that only decide on one variable's value: the choice they are, and back to the branch. Pure.

A choice notes on itself what it costs more as the branch it was written as, so that the form near the original neither
gains by the choice nor loses it: whoever prints it there writes the branch again.
"""

import ast

from sea.normalise import walk
from sea.tokens import total


def targets_of(stmt: ast.stmt) -> str:
    """The one name that a plain assignment gives a value; empty for other statements."""
    if isinstance(stmt, ast.Assign) and len(stmt.targets) == 1 and isinstance(stmt.targets[0], ast.Name):
        return stmt.targets[0].id
    return ""


def surcharge(node: ast.AST) -> int:
    """Tokens that a choice costs more as the branch it was; 0 for what was no branch."""
    return int(getattr(node, "branch", 0))


class Choices(ast.NodeTransformer):
    """A branch that only decides on one variable's value is that choice."""

    def visit_If(self, node: ast.If) -> ast.AST:
        """One branch, those inside it first."""
        before = total(node)
        self.generic_visit(node)
        if len(node.body) == len(node.orelse) == 1:
            one, other = node.body[0], node.orelse[0]
            if (
                isinstance(one, ast.Assign)
                and isinstance(other, ast.Assign)
                and targets_of(one) == targets_of(other) != ""
            ):
                value = ast.IfExp(node.test, one.value, other.value)
                made = ast.copy_location(ast.Assign(one.targets, value, lineno=0), node)
                known = sum(surcharge(inner) for inner in walk(value))
                value.branch = before - total(made) - known  # type: ignore[attr-defined]
                return made
        return node


def as_branch(stmt: ast.stmt) -> ast.stmt:
    """The branch that an assignment of a choice was, if it was one."""
    value = getattr(stmt, "value", None)
    if not isinstance(stmt, ast.Assign) or not isinstance(value, ast.IfExp) or not surcharge(value):
        return stmt
    ways = (as_branch(ast.Assign(stmt.targets, way, lineno=0)) for way in (value.body, value.orelse))
    body, orelse = ([way] for way in ways)
    return ast.copy_location(ast.If(value.test, body, orelse), stmt)
