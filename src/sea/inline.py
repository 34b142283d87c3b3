"""Undoing a rewrite: calls of tools become what the tools do, and the result is compared with the original. Pure.

`given_back` says whether a rewritten program with its calls inlined is the original again, up to renaming and the whole
normal form (`forms`). A number in the rewritten program then stands for numbers at known places of the original; the
others are the tools' own.
"""

import ast
import copy
from collections import Counter
from dataclasses import dataclass

from sea.forms import fresh, whole_form
from sea.normalise import BUILTINS, bound, is_literal, parse
from sea.regions import canon

Place = tuple[int, int]
"""Line and column in a program's text."""


@dataclass(frozen=True)
class GivenBack:
    """A rewrite that can be undone, and which of its numbers are which of the original's."""

    numbers: tuple[tuple[Place, Place], ...]
    """(place in the original, place in the rewritten program)."""


class Tool:
    """A tool's function, taken apart."""

    def __init__(self, text: str) -> None:
        tree = ast.parse(text)
        self.imports = [stmt for stmt in tree.body if isinstance(stmt, ast.Import | ast.ImportFrom)]
        function = next(stmt for stmt in tree.body if isinstance(stmt, ast.FunctionDef))
        function.returns = None
        for argument in function.args.args:
            argument.annotation = None
        self.function = function
        body = [stmt for stmt in function.body if not _is_docstring(stmt)]
        function.body = body
        self.parameters = [argument.arg for argument in function.args.args]
        self.rest = function.args.vararg.arg if function.args.vararg else ""
        self.is_expression = len(body) == 1 and isinstance(body[0], ast.Return)
        last = body[-1]
        returns = sum(isinstance(node, ast.Return) for stmt in body for node in ast.walk(stmt))
        self.is_straight = isinstance(last, ast.Return) and returns == 1

    def bound(self, call: ast.Call) -> dict[str, ast.expr]:
        """Parameter to argument, defaults among them."""
        defaults = self.function.args.defaults
        values = dict(zip(self.parameters[len(self.parameters) - len(defaults) :], defaults, strict=True))
        found = {**values, **dict(zip(self.parameters, call.args, strict=False))}
        if self.rest:  # only ever looked at: as good as the list it was
            found[self.rest] = ast.List(call.args[len(self.parameters) :], ast.Load())
        return found


def _is_docstring(stmt: ast.stmt) -> bool:
    return isinstance(stmt, ast.Expr) and isinstance(stmt.value, ast.Constant)


def is_empty(text: str) -> str:
    """Why a tool does nothing of its own, as one sentence; empty when it does.

    A tool that only restates a value returns constants or what it was given; one that glues only gives names to them.
    """
    tool = Tool(text)
    nodes = [node for stmt in tool.function.body for node in ast.walk(stmt)]
    given = {*tool.parameters, tool.rest} - {""}
    if not given:
        return "it takes nothing, so it only restates a value"
    working = (
        ast.BinOp,
        ast.UnaryOp,
        ast.BoolOp,
        ast.Compare,
        ast.Call,
        ast.Subscript,
        ast.For,
        ast.While,
        ast.If,
    )
    if not any(
        isinstance(node, (*working, ast.IfExp, ast.JoinedStr, ast.AugAssign, ast.comprehension))
        for node in nodes
    ):
        return "it computes nothing: it only gives names to what it was given"
    read = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    if not read & given:
        return "its result does not depend on what it was given"
    return ""


_MORE_THAN_ONE = (ast.For, ast.While, ast.If, ast.IfExp, ast.AugAssign, ast.comprehension, ast.Lambda)
_OPERATIONS = (ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.Call, ast.Subscript, ast.FormattedValue)


def computes(node: ast.AST) -> bool:
    """Whether anything is computed in a node; the minus of a negative number is not."""
    working = (*_OPERATIONS, *_MORE_THAN_ONE)
    return any(isinstance(inner, working) and not _is_sign(inner) for inner in ast.walk(node))


def _is_sign(node: ast.AST) -> bool:
    """The minus of a negative number."""
    return isinstance(node, ast.UnaryOp) and isinstance(node.operand, ast.Constant)


def is_one_operation(text: str) -> bool:
    """Whether a tool is one operator, one subscript or one call: of a builtin, or of anything on what was given alone.

    Such a tool counts only where it stands for a whole program of several statements (docs/decisions/0011).
    """
    nodes = [node for stmt in Tool(text).function.body for node in ast.walk(stmt)]
    done = [node for node in nodes if isinstance(node, _OPERATIONS) and not _is_sign(node)]
    more = [node for node in nodes if isinstance(node, _MORE_THAN_ONE)]
    if more:  # to choose by what was given is one operation too
        return len(more) == 1 and isinstance(more[0], ast.If | ast.IfExp) and not done
    if len(done) != 1:
        return False
    (only,) = done
    if any(isinstance(node, ast.keyword) and node.arg == "key" for node in nodes):
        return False  # what is given as a key is called too, for every member
    if isinstance(only, ast.BoolOp):
        return len(only.values) == 2
    if isinstance(only, ast.Compare):
        return len(only.ops) == 1
    if not isinstance(only, ast.Call):
        return True
    builtin = isinstance(only.func, ast.Name) and only.func.id in BUILTINS
    return builtin or not any(isinstance(node, ast.Constant) for node in ast.walk(only))


def given_back(
    original: str, rewritten: str, tools: dict[str, Tool], keep: frozenset[str], prelude: tuple[str, ...] = ()
) -> GivenBack | str:
    """The rewrite undone, or why it does not give back the original, as one sentence."""
    before, after = parse(original), parse(rewritten)
    for node in ast.walk(after):
        node.ours = True  # type: ignore[attr-defined]
    known = _imports(
        [*before.body, *ast.parse("\n".join(p for p in prelude if p.startswith(("import", "from")))).body]
    )
    needed = _imports([stmt for tool in tools.values() for stmt in tool.imports])
    if needed - known:
        return f"a tool has {min(needed - known)!r}, which the program has not"
    names = BUILTINS | {line.rpartition(" ")[2].partition(".")[0] for line in known | needed} | keep
    one = _shape(_spread(whole_form(before, keep), keep), names)
    other = _shape(_spread(whole_form(_Undo(tools).module(after), keep), keep), names)
    if one[0] != other[0]:
        return "with its calls inlined it is another program"
    pairs: list[tuple[Place, Place]] = []
    for hole, made in zip(one[1], other[1], strict=True):
        if ast.dump(hole) != ast.dump(made):
            return (
                f"with its calls inlined it has {ast.unparse(made)[:40]} where {ast.unparse(hole)[:40]} was"
            )
        pairs += _numbers(hole, made)
    return GivenBack(tuple(pairs))


_CHANGING = frozenset(
    {
        "append",
        "extend",
        "insert",
        "remove",
        "pop",
        "clear",
        "sort",
        "reverse",
        "add",
        "discard",
        "update",
        "setdefault",
    }
    | {"popitem"}
)


def _spread(tree: ast.Module, keep: frozenset[str]) -> ast.Module:
    """Literals with a name stand wherever the name is read, unless something changes them."""
    stores = Counter(name for node in ast.walk(tree) for name in bound(node))
    changed = {
        node.value.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute | ast.Subscript)
        and isinstance(node.value, ast.Name)
        and (not isinstance(node.ctx, ast.Load) or getattr(node, "attr", "") in _CHANGING)
    }
    values: dict[str, ast.expr] = {}
    kept: list[ast.stmt] = []
    for stmt in tree.body:
        target = stmt.targets[0] if isinstance(stmt, ast.Assign) and len(stmt.targets) == 1 else None
        name = target.id if isinstance(target, ast.Name) else ""
        if name and stores[name] == 1 and name not in changed | keep and is_literal(stmt.value):  # type: ignore[attr-defined]
            values[name] = stmt.value  # type: ignore[attr-defined]
        else:
            kept.append(stmt)
    tree.body = [_Substitute(values).visit(stmt) for stmt in kept]
    return tree


def _imports(stmts: list[ast.stmt]) -> set[str]:
    """Imports as lines with one name each."""
    found = set()
    for stmt in stmts:
        if isinstance(stmt, ast.Import | ast.ImportFrom):
            for alias in stmt.names:
                only = copy.copy(stmt)
                only.names = [alias]
                found.add(ast.unparse(only))
    return found


def _shape(tree: ast.Module, fixed: frozenset[str]) -> tuple[str, tuple[ast.expr, ...]]:
    """Shape and literals, functions first, without imports."""
    rest = [stmt for stmt in tree.body if not isinstance(stmt, ast.Import | ast.ImportFrom)]
    rest.sort(key=lambda stmt: not isinstance(stmt, ast.FunctionDef))
    functions = sum(isinstance(stmt, ast.FunctionDef) for stmt in rest)
    # Functions come in the order in which their shapes sort: where they are defined does not matter.
    ordered = sorted(rest[:functions], key=lambda stmt: canon([stmt], fixed)[0]) + rest[functions:]
    key, holes, _ = canon(ordered, fixed)
    return key, holes


def _numbers(hole: ast.expr, made: ast.expr) -> list[tuple[Place, Place]]:
    found = []
    for one, other in zip(ast.walk(hole), ast.walk(made), strict=True):
        if isinstance(one, ast.Constant) and isinstance(one.value, int | float) and hasattr(other, "ours"):
            found.append(((one.lineno, one.col_offset), (other.lineno, other.col_offset)))  # type: ignore[attr-defined]
    return found


class _Undo(ast.NodeTransformer):
    """Puts in the place of calls what they stand for."""

    def __init__(self, tools: dict[str, Tool]) -> None:
        self._tools = tools
        self._functions: dict[str, ast.FunctionDef] = {}
        self._taken: set[str] = set()

    def module(self, tree: ast.Module) -> ast.Module:
        """The program without calls of tools."""
        self._taken = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        self._taken |= {name for node in ast.walk(tree) for name in bound(node)}
        made: ast.Module = self.visit(tree)
        made.body = [*self._functions.values(), *made.body]
        return ast.fix_missing_locations(made)

    def visit_Assign(self, node: ast.Assign) -> ast.AST | list[ast.stmt]:
        """A statement whose value is a call."""
        tool = self._called(node.value)
        if tool is None or tool.is_expression or not tool.is_straight:
            return self.generic_visit(node)
        assert isinstance(node.value, ast.Call)
        call = self.generic_visit(node.value)
        assert isinstance(call, ast.Call)
        target = node.targets[0]
        before, value = self._opened(tool, call, target)
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            return [*before, *_unpacked(target, value)]
        same = ast.unparse(target) == ast.unparse(value)
        return before if same else [*before, ast.Assign(node.targets, value, lineno=0)]

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """A call inside an expression."""
        made = self.generic_visit(node)
        tool = self._called(made)
        if tool is None:
            return made
        assert isinstance(made, ast.Call)
        if tool.is_expression:
            last = copy.deepcopy(tool.function.body[0])
            assert isinstance(last, ast.Return)
            assert last.value is not None
            value: ast.expr = _Substitute(tool.bound(made)).visit(last.value)
            return value
        self._functions.setdefault(tool.function.name, copy.deepcopy(tool.function))
        return made

    def _called(self, node: ast.AST) -> Tool | None:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            return self._tools.get(node.func.id)
        return None

    def _opened(self, tool: Tool, call: ast.Call, target: ast.expr) -> tuple[list[ast.stmt], ast.expr]:
        """A tool's body with its own names, arguments in the place of parameters or assigned to them."""
        function = copy.deepcopy(tool.function)
        stores = Counter(name for stmt in function.body for node in ast.walk(stmt) for name in bound(node))
        loads = Counter(node.id for node in ast.walk(function) if isinstance(node, ast.Name))
        put: dict[str, ast.expr] = {}
        assigned: list[ast.stmt] = []
        for name, value in tool.bound(call).items():
            once = isinstance(value, ast.Name) or (is_literal(value) and loads[name] == 1)
            if once and not stores[name]:
                put[name] = value
            else:
                put[name] = ast.Name(fresh(name, self._taken), ast.Load())
                assigned.append(ast.Assign([ast.Name(put[name].id, ast.Store())], value, lineno=0))  # type: ignore[attr-defined]
        last = function.body[-1]
        assert isinstance(last, ast.Return)
        assert last.value is not None
        put |= _results(target, last.value, set(stores) - put.keys(), call)
        for name in sorted(set(stores) - put.keys()):
            put[name] = ast.Name(fresh(name, self._taken), ast.Load())
        body = [_Substitute(put).visit(stmt) for stmt in function.body]
        return [*assigned, *body[:-1]], body[-1].value


def _results(target: ast.expr, value: ast.expr, own: set[str], call: ast.Call) -> dict[str, ast.expr]:
    """A tool's variables that are its results are the variables the results go to, unless the call reads those."""
    targets = target.elts if isinstance(target, ast.Tuple) else [target]
    values = value.elts if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) else [value]
    read = {node.id for node in ast.walk(call) if isinstance(node, ast.Name)}
    return {
        one.id: ast.Name(other.id, ast.Load())
        for one, other in zip(values, targets, strict=False)
        if isinstance(one, ast.Name)
        and isinstance(other, ast.Name)
        and one.id in own
        and other.id not in read
    }


def _unpacked(target: ast.Tuple, value: ast.Tuple) -> list[ast.stmt]:
    """One assignment for each value."""
    return [
        ast.Assign([name], given, lineno=0)
        for name, given in zip(target.elts, value.elts, strict=True)
        if ast.unparse(name) != ast.unparse(given)
    ]


class _Substitute(ast.NodeTransformer):
    """Values in the place of names; where a name is stored, only another name fits."""

    def __init__(self, values: dict[str, ast.expr]) -> None:
        self._values = values

    def visit_Name(self, node: ast.Name) -> ast.expr:
        """One name."""
        value = self._values.get(node.id)
        if value is None:
            return node
        if isinstance(node.ctx, ast.Load):
            return value if not isinstance(value, ast.Name) else ast.copy_location(copy.copy(value), value)
        assert isinstance(value, ast.Name)
        return ast.Name(value.id, ast.Store())
