"""The whole normal form: programs that compute the same in other words become the same tree. Pure; nothing is executed.

On top of `normalise.straighten`: a function that is called once, at the top, is its body there; a variable that is
given a value again becomes another variable; a name for a name is that name; `x += y` on numbers is `x = x + y`; `a <
b` is `b > a`; a branch that only chooses a value is that choice; counts are as in `counts`; sums and first
values that are never read and imports that are never used are gone. Programs with equal whole forms do the same;
whoever swaps them still runs both.
"""

import ast
from collections import Counter
from collections.abc import Iterable

from sea.choices import Choices
from sea.counts import Members, Ranges, as_sums
from sea.normalise import BY_NAME, bound, clone, is_literal, straighten, walk

_QUIET_MODULES = frozenset(
    {
        "math",
        "numpy",
        "sympy",
        "re",
        "datetime",
        "collections",
        "itertools",
        "functools",
        "fractions",
        "decimal",
    }
    | {"statistics", "string", "random", "operator", "json", "typing", "fractions", "calendar", "time"}
)
"""Importing these does nothing that a program could see."""
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)
_OTHER_FLOW = (
    *_SCOPES,
    ast.Yield,
    ast.YieldFrom,
    ast.Await,
    ast.Global,
    ast.Nonlocal,
    ast.NamedExpr,
    ast.Return,
)
_NUMERIC_CALLS = frozenset({"len", "int", "float", "round", "abs"})


def whole_form(tree: ast.Module, keep: frozenset[str]) -> ast.Module:
    """The tree in its whole normal form; names in `keep` are results and stay."""
    tree = clone(tree)
    if any(
        isinstance(node, ast.Global | ast.Nonlocal | ast.ClassDef | ast.AsyncFunctionDef)
        or (isinstance(node, ast.Name) and node.id in BY_NAME)
        for node in walk(tree)
    ):
        return straighten(tree, keep)
    tree.body = without_unused_imports(tree.body)
    _functions_apart(tree, keep)
    while _splice_one(tree):
        pass
    tree = Choices().visit(tree)
    _versions(tree, keep)
    _plain_assignments(tree)
    _without_aliases(tree, keep)
    tree = straighten(tree, keep)
    _one_way_round(tree)
    tree = Ranges().visit(tree)
    as_sums(tree)
    members = Members({name for node in walk(tree) for name in bound(node)})
    tree = members.visit(tree)
    if members.changed:
        tree = straighten(tree, keep)
    while _without_dead(tree, keep):
        tree = straighten(tree, keep)
    tree.body = without_unused_imports(tree.body)
    return tree


def near_form(tree: ast.Module, keep: frozenset[str]) -> ast.Module:
    """The form near the original: what it costs as written is noted on what looks otherwise."""
    tree = clone(tree)
    tree = straighten(Choices().visit(tree), keep, drop=False)
    _one_way_round(tree)
    return tree


def without_unused_imports(body: list[ast.stmt]) -> list[ast.stmt]:
    """The statements but for imports of quiet modules whose names nothing reads."""
    read = {node.id for stmt in body for node in walk(stmt) if isinstance(node, ast.Name)}
    kept: list[ast.stmt] = []
    for stmt in body:
        if isinstance(stmt, ast.Import | ast.ImportFrom) and _is_quiet(stmt):
            names = [alias for alias in stmt.names if (alias.asname or alias.name.partition(".")[0]) in read]
            if not names:
                continue
            stmt.names = names
        kept.append(stmt)
    return kept


def _is_quiet(stmt: ast.Import | ast.ImportFrom) -> bool:
    if isinstance(stmt, ast.ImportFrom):
        modules = [stmt.module or ""] if not stmt.level and stmt.names[0].name != "*" else [""]
    else:
        modules = [alias.name for alias in stmt.names]
    return all(module.partition(".")[0] in _QUIET_MODULES for module in modules)


def _functions_apart(tree: ast.Module, keep: frozenset[str]) -> None:
    """A function whose name a variable has too gets a name of its own."""
    taken = {node.id for node in walk(tree) if isinstance(node, ast.Name)}
    for function in list(tree.body):
        if isinstance(function, ast.FunctionDef) and function.name in taken:
            calls = _reads_of(tree, function)
            if calls is not None:
                name = fresh(function.name, taken)
                function.name = name
                for call in calls:
                    call.id = name


def _reads_of(tree: ast.Module, function: ast.FunctionDef) -> list[ast.Name] | None:
    """Where a top function is read before top statements give its name to a variable; None when that is not clear."""
    found: list[ast.Name] = []
    rebound = False
    for stmt in tree.body:
        here = [node for node in walk(stmt) if isinstance(node, ast.Name) and node.id == function.name]
        inside = [node for scope in walk(stmt) if isinstance(scope, _SCOPES) for node in walk(scope)]
        in_scope = [node for node in here if any(node is inner for inner in inside)]
        if in_scope and (len(in_scope) < len(here) or not _is_own(stmt, function.name)):
            return None
        if in_scope:
            continue
        stored = [node for node in here if not isinstance(node.ctx, ast.Load)]
        if stored and not rebound and _target(stmt) != function.name:
            return None
        if not rebound:
            found += [node for node in here if isinstance(node.ctx, ast.Load)]
        rebound = rebound or bool(stored)
    return found if rebound or found else None


def _is_own(stmt: ast.stmt, name: str) -> bool:
    """Whether a function gives this name a value itself, and holds no other scope: then it is its own variable."""
    nodes = list(walk(stmt))[1:]
    return (
        isinstance(stmt, ast.FunctionDef)
        and not any(isinstance(node, _SCOPES) for node in nodes)
        and any(
            isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Store)
            for node in nodes
        )
    )


def _without_dead(tree: ast.Module, keep: frozenset[str]) -> bool:
    """Sums and products of numbers that nothing reads are gone; whether there were any."""
    before = len(tree.body)
    while True:
        stores = Counter(name for node in walk(tree) for name in bound(node))
        loads = {n.id for n in walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
        numbers: set[str] = set()
        kept: list[ast.stmt] = []
        for stmt in tree.body:
            name = _target(stmt)
            total = isinstance(stmt, ast.Assign) and stores[name] == 1 and _is_total(stmt.value, numbers)
            if total:
                numbers.add(name)
            if not total or name in loads or name in keep:
                kept.append(stmt)
        if len(kept) == len(tree.body):
            return len(kept) < before
        tree.body = kept


def _is_total(node: ast.expr, numbers: set[str]) -> bool:
    """Arithmetic on numbers that cannot fail."""
    if isinstance(node, ast.Constant):
        return isinstance(node.value, int | float)
    if isinstance(node, ast.Name):
        return node.id in numbers
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub | ast.Mult):
        return _is_total(node.left, numbers) and _is_total(node.right, numbers)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        divisor = node.right
        sure = isinstance(divisor, ast.Constant) and bool(divisor.value)
        return sure and _is_total(node.left, numbers) and _is_total(divisor, numbers)
    return False


def _splice_one(tree: ast.Module) -> bool:
    """Put one function's body where it is called; whether there was one."""
    names = Counter(node.id for node in walk(tree) if isinstance(node, ast.Name))
    defined = Counter(name for node in walk(tree) for name in bound(node))
    for function in tree.body:
        if not isinstance(function, ast.FunctionDef) or not _is_straight(function):
            continue
        place = _only_call(tree, function, names, defined)
        if place is None:
            continue
        stmt, call = place
        value = function.body[-1]
        assert isinstance(value, ast.Return)
        taken = {node.id for node in walk(tree) if isinstance(node, ast.Name)} | set(defined)
        before = _opened(function, call, taken)
        assert value.value is not None
        at = tree.body.index(stmt)
        put = _Put(call, value.value).visit(stmt)
        assert isinstance(put, ast.stmt)
        tree.body[at : at + 1] = [*before, put]
        tree.body.remove(function)
        return True
    return False


def _is_straight(function: ast.FunctionDef) -> bool:
    """A plain function whose only way out is a return with a value at its end."""
    arguments = function.args
    if (
        function.decorator_list
        or arguments.vararg
        or arguments.kwarg
        or arguments.kwonlyargs
        or arguments.posonlyargs
        or arguments.defaults
    ):
        return False
    last = function.body[-1]
    if not isinstance(last, ast.Return) or last.value is None:
        return False
    rest = [*function.body[:-1], last.value]
    return not any(isinstance(node, _OTHER_FLOW) for part in rest for node in walk(part))


def _only_call(
    tree: ast.Module, function: ast.FunctionDef, names: Counter[str], defined: Counter[str]
) -> tuple[ast.stmt, ast.Call] | None:
    """The statement with the one call of a function, when nothing in that statement is computed before it."""
    read = [
        node
        for node in walk(tree)
        if isinstance(node, ast.Name) and node.id == function.name and isinstance(node.ctx, ast.Load)
    ]
    if (
        len(read) != 1
        or sum(isinstance(stmt, _SCOPES) and stmt.name == function.name for stmt in tree.body) != 1
    ):
        return None
    for stmt in tree.body[tree.body.index(function) + 1 :]:
        if any(isinstance(node, ast.Name) and node.id == function.name for node in walk(stmt)):
            call = _first_computed(stmt)
            fits = call is not None and call.func is read[0] and not call.keywords
            return (stmt, call) if fits and call and len(call.args) == len(function.args.args) else None
    return None


def _first_computed(stmt: ast.stmt) -> ast.Call | None:
    """The call a statement begins with, looked for through calls of builtins with it as the first argument."""
    node = stmt.value if isinstance(stmt, ast.Assign | ast.Expr) else None
    if isinstance(stmt, ast.Assign) and not all(isinstance(target, ast.Name) for target in stmt.targets):
        return None
    while (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in _WRAPPERS
        and node.args
    ):
        node = next((given for given in node.args if not is_literal(given)), None)
    return node if isinstance(node, ast.Call) and not any(map(_acts, node.args)) else None


_WRAPPERS = frozenset({"print", "round", "int", "float", "str", "abs"})


def _acts(node: ast.expr) -> bool:
    return not isinstance(node, ast.Name) and not is_literal(node)


def _opened(function: ast.FunctionDef, call: ast.Call, taken: set[str]) -> list[ast.stmt]:
    """The statements before a function's return, its own names renamed apart from `taken`, arguments assigned."""
    own = {argument.arg for argument in function.args.args}
    own |= {name for node in walk(function) if node is not function for name in bound(node)}
    renamed: dict[str, str] = {}
    for name in sorted(own):
        renamed[name] = fresh(name, taken)
    # Outside, the function's own names are counted too: all of them get names that nothing else has.
    for node in walk(function):
        if isinstance(node, ast.Name):
            node.id = renamed.get(node.id, node.id)
    assigned = [
        ast.copy_location(ast.Assign([ast.Name(renamed[argument.arg], ast.Store())], given, lineno=0), given)
        for argument, given in zip(function.args.args, call.args, strict=True)
    ]
    return [*assigned, *function.body[:-1]]


def fresh(name: str, taken: set[str]) -> str:
    """A name like this one that is not taken; it is taken then."""
    number = 1
    while f"{name}_{number}" in taken:
        number += 1
    taken.add(f"{name}_{number}")
    return f"{name}_{number}"


class _Put(ast.NodeTransformer):
    """One node in the place of another."""

    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self._old = old
        self._new = new

    def visit(self, node: ast.AST) -> ast.AST:
        """One node."""
        if node is self._old:
            return self._new
        found = self.generic_visit(node)
        assert isinstance(found, ast.AST)
        return found


def _versions(tree: ast.Module, keep: frozenset[str]) -> None:
    """A name that top statements alone assign, more than once, becomes a new name each time."""
    stores = Counter(name for node in walk(tree) for name in bound(node))
    plain = Counter(name for stmt in tree.body for name in [_target(stmt)] if name)
    scopes = {
        node.id
        for scope in walk(tree)
        if isinstance(scope, _SCOPES)
        for node in walk(scope)
        if isinstance(node, ast.Name)
    }
    taken = set(stores) | {node.id for node in walk(tree) if isinstance(node, ast.Name)}
    left = {name: count for name, count in plain.items() if count == stores[name] > 1 and name not in scopes}
    current: dict[str, str] = {}
    for stmt in tree.body:
        name = _target(stmt)
        if isinstance(stmt, ast.AugAssign) and name in left:
            stmt = _as_assignment(tree, stmt)
        target = stmt.targets[0] if isinstance(stmt, ast.Assign) and name in left else None
        for node in walk(stmt):
            if isinstance(node, ast.Name) and node is not target:
                node.id = current.get(node.id, node.id)
        if target is not None:
            assert isinstance(target, ast.Name)
            left[name] -= 1
            current[name] = name if name in keep and not left[name] else fresh(name, taken)
            target.id = current[name]


def _target(stmt: ast.stmt) -> str:
    """The one name that a statement gives a value; empty where it does more, or may change what others hold."""
    if isinstance(stmt, ast.Assign) and len(stmt.targets) == 1 and isinstance(stmt.targets[0], ast.Name):
        return stmt.targets[0].id
    if isinstance(stmt, ast.AugAssign) and isinstance(stmt.target, ast.Name) and _is_number(stmt.value):
        return stmt.target.id
    return ""


def _is_number(node: ast.expr) -> bool:
    """Arithmetic that with a list or a text on the other side fails, whatever its names hold: so there is none."""
    if isinstance(node, ast.Constant):
        return isinstance(node.value, int | float)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub | ast.Div | ast.FloorDiv):
        return True
    if isinstance(node, ast.BinOp):
        return _is_number(node.left) and _is_number(node.right)
    if isinstance(node, ast.UnaryOp):
        return _is_number(node.operand)
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _NUMERIC_CALLS


def _as_assignment(tree: ast.Module, stmt: ast.AugAssign) -> ast.stmt:
    assert isinstance(stmt.target, ast.Name)
    value = ast.BinOp(ast.Name(stmt.target.id, ast.Load()), stmt.op, stmt.value)
    made = ast.Assign([ast.Name(stmt.target.id, ast.Store())], value, lineno=0)
    tree.body[tree.body.index(stmt)] = made
    return made


def _plain_assignments(tree: ast.Module) -> None:
    """`x = x + number` inside loops and branches is `x += number`."""

    class Shorten(ast.NodeTransformer):
        def visit_Assign(self, node: ast.Assign) -> ast.stmt:
            """One assignment."""
            target, value = node.targets[0], node.value
            if len(node.targets) == 1 and isinstance(target, ast.Name) and isinstance(value, ast.BinOp):
                left = value.left
                if isinstance(left, ast.Name) and left.id == target.id and _is_number(value.right):
                    made = ast.AugAssign(ast.Name(target.id, ast.Store()), value.op, value.right)
                    return ast.copy_location(made, node)
            return node

    for stmt in tree.body:
        if isinstance(stmt, ast.For | ast.While | ast.If):
            Shorten().visit(stmt)


_OTHER_WAY: dict[type, type[ast.cmpop]] = {ast.Lt: ast.Gt, ast.LtE: ast.GtE}
_SIMPLE = (
    ast.Name,
    ast.Constant,
    ast.BinOp,
    ast.UnaryOp,
    ast.Subscript,
    ast.operator,
    ast.unaryop,
    ast.expr_context,
)


def _one_way_round(tree: ast.Module) -> None:
    """`a < b` is `b > a` where both sides only look."""
    for node in walk(tree):
        if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in _OTHER_WAY:
            sides = (node.left, node.comparators[0])
            if all(
                isinstance(inner, _SIMPLE) or _is_measure(inner) for side in sides for inner in walk(side)
            ):
                node.left, node.comparators = sides[1], [sides[0]]
                node.ops = [_OTHER_WAY[type(node.ops[0])]()]


def _is_measure(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _NUMERIC_CALLS


def _without_aliases(tree: ast.Module, keep: frozenset[str]) -> None:
    """Names that stand for another name, both never changed, are that name."""
    stores = Counter(name for node in walk(tree) for name in bound(node))
    inner = _bound_in_scopes(tree.body)
    aliases: dict[str, str] = {}
    for stmt in tree.body:
        name = _target(stmt)
        if not isinstance(stmt, ast.Assign) or not name or not isinstance(stmt.value, ast.Name):
            continue
        other = aliases.get(stmt.value.id, stmt.value.id)
        if stores[name] == 1 and stores[other] == 1 and not {name, other} & (keep | inner):
            aliases[name] = other
    if not aliases:
        return
    tree.body = [
        stmt for stmt in tree.body if not (isinstance(stmt, ast.Assign) and _target(stmt) in aliases)
    ]
    for node in walk(tree):
        if isinstance(node, ast.Name):
            node.id = aliases.get(node.id, node.id)


def _bound_in_scopes(body: Iterable[ast.stmt]) -> set[str]:
    """Names that functions bind for themselves."""
    found: set[str] = set()
    for stmt in body:
        for scope in walk(stmt):
            if isinstance(scope, _SCOPES):
                found |= {name for node in walk(scope) for name in bound(node)}
                found |= {node.arg for node in walk(scope) if isinstance(node, ast.arg)}
    return found
