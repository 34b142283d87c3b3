"""Normal forms of counting: bounds are a range, loops that only add integers are sums, members are lists. Pure.

All are part of `forms.whole_form`, which first turns every `a < b` into `b > a`; nothing here computes a value twice,
or not at all, that could do more than be read.
"""

import ast
import itertools
from collections import Counter

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
    """A loop at the top that only adds integers, from nothing, is `sum(… for … in … if …)`; loops in it may be too.

    Not so with what may be a fraction: Python's `sum` keeps more digits of those than a loop does.
    """
    for first, loop in itertools.pairwise(list(tree.body)):
        if not isinstance(first, ast.Assign) or not isinstance(loop, ast.For):
            continue
        made, added = _levels(loop)
        match first, added:
            case (
                ast.Assign([ast.Name(name)], nothing),
                ast.AugAssign(ast.Name(counter), ast.Add(), term),
            ) if name == counter and ast.dump(nothing) == _NOTHING:
                apart = _is_apart(tree, loop, [level.target for level in made])
                if apart and not _reads(name, term, *made) and _is_whole(term, _whole_names(tree, made)):
                    first.value = ast.Call(ast.Name("sum", ast.Load()), [ast.GeneratorExp(term, made)], [])
                    tree.body.remove(loop)


def _levels(loop: ast.stmt) -> tuple[list[ast.comprehension], ast.stmt]:
    """Loops in each other, with the tests on the way, and the one statement that is innermost."""
    made: list[ast.comprehension] = []
    while True:
        match loop:
            case ast.For(ast.Name() as item, values, [inner], []):
                made.append(ast.comprehension(item, values, [], 0))
            case ast.If(test, [inner], []) if made:
                made[-1].ifs.append(test)
            case _:
                return made, loop
        loop = inner


def _whole_names(tree: ast.Module, made: list[ast.comprehension]) -> tuple[set[str], set[str]]:
    """Names that are integers, and names of tables of integers that nothing could change."""
    numbers = {
        level.target.id for level in made if isinstance(level.target, ast.Name) and _gives_whole(level.iter)
    }
    stores = Counter(name for node in walk(tree) for name in bound(node))
    tables = {
        stmt.targets[0].id
        for stmt in tree.body
        if isinstance(stmt, ast.Assign) and isinstance(stmt.targets[0], ast.Name) and _is_table(stmt.value)
    }
    reads = Counter(node.id for node in walk(tree) if isinstance(node, ast.Name))
    looked_at = Counter(name for node in walk(tree) if (name := _looked_at(node)))
    return numbers, {name for name in tables if stores[name] == 1 and reads[name] == looked_at[name] + 1}


def _looked_at(node: ast.AST) -> str:
    """The name of what is only read here: an element of it, its length, or its members in turn."""
    match node:
        case ast.Subscript(ast.Name(name), _, ast.Load()) | ast.Call(ast.Name("len"), [ast.Name(name)], []):
            return name
        case ast.For(_, ast.Name(name)) | ast.comprehension(_, ast.Name(name)):
            return name
    return ""


def _gives_whole(values: ast.expr) -> bool:
    match values:
        case ast.Call(ast.Name("range"), _, []):
            return True
        case ast.List(items) | ast.Tuple(items):
            return all(_is_integer(item) for item in items)
    return False


def _is_table(node: ast.expr) -> bool:
    if isinstance(node, ast.Dict):
        return all(_is_integer(value) for value in node.values)
    return isinstance(node, ast.List | ast.Tuple) and _gives_whole(node)


def _is_integer(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and type(node.value) is int


def _is_whole(node: ast.expr, known: tuple[set[str], set[str]]) -> bool:
    """Whether an expression can only be an integer."""
    numbers, tables = known
    match node:
        case ast.Name(name):
            return name in numbers
        case ast.Subscript(ast.Name(table), place):
            return table in tables and not isinstance(place, ast.Slice)
        case ast.BinOp(left, ast.Add() | ast.Sub() | ast.Mult() | ast.FloorDiv() | ast.Mod(), right):
            return _is_whole(left, known) and _is_whole(right, known)
    return _is_integer(node)


def _is_apart(tree: ast.Module, loop: ast.For, items: list[ast.expr]) -> bool:
    """Whether the names that loops give their members are nowhere else, and what is called is what it always is."""
    own = {id(node) for node in walk(loop)}
    elsewhere = [node for node in walk(tree) if id(node) not in own]
    own_names = {item.id for item in items if isinstance(item, ast.Name)}
    apart = len(own_names) == len(items) and not any(_reads(name, loop.iter) for name in own_names)
    apart = apart and all(node.id not in own_names for node in elsewhere if isinstance(node, ast.Name))
    names = {name for node in walk(tree) for name in bound(node)}
    return apart and not names & {"sum", "range", "len", "*"}


def _reads(name: str, *nodes: ast.AST) -> bool:
    return any(isinstance(inner, ast.Name) and inner.id == name for node in nodes for inner in walk(node))
