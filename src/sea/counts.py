"""Normal forms of counting: bounds of a value are a range, loops that only count are sums, members are lists. Pure.

All are part of `forms.whole_form`, which first turns every `a < b` into `b > a`; nothing here computes a value twice,
or not at all, that could do more than be read.
"""

import ast
import itertools

from sea.normalise import bound, is_literal, walk

_LESS: dict[type, type[ast.cmpop]] = {ast.Gt: ast.Lt, ast.GtE: ast.LtE}
_NOTHING, _ONE = "Constant(value=0)", "Constant(value=1)"


class Ranges(ast.NodeTransformer):
    """`x >= a and b > x` is `a <= x < b` where `x` is a name, and so are the others, or literals."""

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        """One conjunction, those inside it first."""
        self.generic_visit(node)
        if not isinstance(node.op, ast.And) or len(node.values) != 2:
            return node
        one, other = (_bounds(value) for value in node.values)
        if one is None or other is None:
            return node
        if ast.dump(one[0]) != ast.dump(other[2]):
            one, other = other, one
        (middle, above, low), (top, below, same) = one, other
        if not isinstance(middle, ast.Name) or ast.dump(middle) != ast.dump(same):
            return node  # that two numbers are equal is chance: programs of one shape have one form
        return ast.copy_location(ast.Compare(low, [above, below], [middle, top]), node)


class Members(ast.NodeTransformer):
    """The least of several literals is that of their list, how many equal a value is what `count` says, and lists that
    are written out and joined are one list.

    `taken` are names that the program gives a value itself; a star may give one to any.
    """

    def __init__(self, taken: set[str]) -> None:
        self._own = {"min", "max", "sum"} if "*" in taken else taken
        self.changed = False
        """Whether there was any."""

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        """One operation, those inside it first."""
        self.generic_visit(node)
        match node:
            case ast.BinOp(ast.List(one), ast.Add(), ast.List(other)) if one and other:
                if is_literal(node.left) and is_literal(node.right):
                    self.changed = True
                    return ast.copy_location(ast.List([*one, *other], ast.Load()), node)
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """One call, those inside it first."""
        self.generic_visit(node)
        match node:
            case ast.Call(ast.Name("min" | "max" as name), [_, _, *_], []):
                if name not in self._own and all(map(is_literal, node.args)):
                    self.changed = True
                    node.args = [ast.List(node.args, ast.Load())]
            case ast.Call(
                ast.Name("sum"),
                [
                    ast.GeneratorExp(
                        one,
                        [
                            ast.comprehension(
                                ast.Name(item),
                                ast.List() as members,
                                [ast.Compare(ast.Name(same), [ast.Eq()], [value])],
                                0,
                            )
                        ],
                    )
                ],
                [],
            ) if item == same and "sum" not in self._own and ast.dump(one) == _ONE:
                if is_literal(members) and is_literal(value):
                    self.changed = True
                    return ast.Call(ast.Attribute(members, "count", ast.Load()), [value], [])
        return node


def _bounds(node: ast.expr) -> tuple[ast.expr, ast.cmpop, ast.expr] | None:
    """Of `high > low` both sides, and the sign the other way round."""
    if not isinstance(node, ast.Compare) or len(node.ops) != 1 or type(node.ops[0]) not in _LESS:
        return None
    sides = (node.left, node.comparators[0])
    if not all(isinstance(side, ast.Name) or is_literal(side) for side in sides):
        return None
    return sides[0], _LESS[type(node.ops[0])](), sides[1]


def as_sums(tree: ast.Module) -> None:
    """A loop at the top that only counts, from nothing, what passes a test is `sum(1 for … in … if …)`."""
    for first, loop in itertools.pairwise(list(tree.body)):
        match first, loop:
            case (
                ast.Assign([ast.Name(name)], nothing),
                ast.For(
                    ast.Name(item),
                    _,
                    [ast.If(test, [ast.AugAssign(ast.Name(counter), ast.Add(), one)], [])],
                    [],
                ),
            ) if name == counter and ast.dump(nothing) == _NOTHING and ast.dump(one) == _ONE:
                if _is_apart(tree, loop, item) and not _reads(name, loop.iter, test):
                    made = ast.comprehension(loop.target, loop.iter, [test], 0)
                    first.value = ast.Call(ast.Name("sum", ast.Load()), [ast.GeneratorExp(one, [made])], [])
                    tree.body.remove(loop)


def _is_apart(tree: ast.Module, loop: ast.For, item: str) -> bool:
    """Whether the name that a loop gives its members is nowhere else, and `sum` is what it always is."""
    own = {id(node) for node in walk(loop)}
    elsewhere = [node for node in walk(tree) if id(node) not in own]
    apart = all(node.id != item for node in elsewhere if isinstance(node, ast.Name))
    names = {name for node in walk(tree) for name in bound(node)}
    return apart and not _reads(item, loop.iter) and not names & {"sum", "*"}


def _reads(name: str, *nodes: ast.AST) -> bool:
    return any(isinstance(inner, ast.Name) and inner.id == name for node in nodes for inner in walk(node))
