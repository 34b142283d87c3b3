"""What a tool's text may contain: imports and names from a list, no way to code from text, to files or to internals."""

import ast
import sys

from sea.gates.case import Case, Verdict


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


ALLOWED_IMPORTS = _words(
    """math cmath re json datetime time collections itertools functools statistics decimal fractions string textwrap
    unicodedata random operator calendar bisect heapq copy numbers array struct base64 hashlib difflib enum dataclasses
    numpy sympy typing types abc __future__ sys"""
)
_SYS_NAMES = frozenset({"maxsize", "float_info", "int_info"})
_TIME_NAMES = frozenset({"strptime", "strftime", "struct_time", "mktime", "gmtime"})
_PARTIAL = {"sys": _SYS_NAMES, "time": _TIME_NAMES, "types": frozenset({"SimpleNamespace"})}
"""Modules of which only these names may be used."""
_BANNED_NAMES = _words(
    """exec eval compile open input print __import__ globals locals vars getattr setattr delattr breakpoint exit quit
    memoryview help __builtins__ __loader__ __spec__ __file__ SystemExit KeyboardInterrupt BaseException
    GeneratorExit"""
)
_BANNED_ATTRIBUTES = _words(
    """gi_frame gi_code cr_frame cr_code ag_frame f_globals f_locals f_back f_builtins f_code tb_frame tb_next
    func_globals mro format_map fromfile tofile save savez load loads_pickle memmap genfromtxt loadtxt savetxt ctypeslib
    f2py distutils sympify parse_expr lambdify preview"""
)
_CLOCK = frozenset({"now", "today", "utcnow"})
_MODULES = (sys.stdlib_module_names - ALLOWED_IMPORTS) | {"sys"}
_MOST_CHARACTERS = 20_000


def static_policy(code: str) -> str:
    """What in a tool's text is not allowed, as one sentence; empty when all is."""
    if len(code) > _MOST_CHARACTERS:
        return f"it is {len(code)} characters long; {_MOST_CHARACTERS} are allowed"
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return f"it is not Python: {error}"
    own = _parameters_used(tree)
    for node in ast.walk(tree):
        found = "" if id(node) in own else _node(node)
        if found:
            return found
    return _partial_modules(tree) or _top_level(tree)


def _node(node: ast.AST) -> str:
    if isinstance(node, ast.Import):
        return next(filter(None, (_module(alias.name) for alias in node.names)), "")
    if isinstance(node, ast.ImportFrom):
        return _from(node)
    if isinstance(node, ast.Name) and node.id in _BANNED_NAMES:
        return f"it uses {node.id}, which tools may not"
    if isinstance(node, ast.Attribute):
        return _attribute(node)
    if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name.startswith("__"):
        dunder = node.name not in ("__init__", "__lt__", "__repr__")
        return f"it defines {node.name}, which tools may not" if dunder else ""
    return "it is asynchronous, which tools may not be" if isinstance(node, ast.AsyncFunctionDef) else ""


def _parameters_used(tree: ast.Module) -> set[int]:
    """Uses of a parameter that has a built-in function's name, by id: they mean the parameter."""
    declared = {name for node in ast.walk(tree) if isinstance(node, ast.Global) for name in node.names}
    found: set[int] = set()
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef):
            names = {argument.arg for argument in ast.walk(function.args) if isinstance(argument, ast.arg)}
            for statement in function.body:
                found |= {
                    id(node)
                    for node in ast.walk(statement)
                    if isinstance(node, ast.Name) and node.id in names - declared
                }
    return found


def _module(name: str) -> str:
    return "" if name.partition(".")[0] in ALLOWED_IMPORTS else f"it imports {name!r}, which tools may not"


def _from(node: ast.ImportFrom) -> str:
    module = node.module or ""
    if node.level or module.partition(".")[0] not in ALLOWED_IMPORTS:
        return f"it imports {module!r}, which tools may not"
    allowed = _PARTIAL.get(module)
    wrong = [alias.name for alias in node.names if allowed is not None and alias.name not in allowed]
    wrong += [
        alias.name for alias in node.names if alias.name.startswith("_") or alias.name in _BANNED_ATTRIBUTES
    ]
    return f"it imports {wrong[0]!r} from {module!r}, which tools may not" if wrong else ""


def _attribute(node: ast.Attribute) -> str:
    if node.attr.startswith("__") and node.attr not in ("__init__", "__name__"):
        return f"it reaches for {node.attr}, which tools may not"
    if node.attr in _BANNED_ATTRIBUTES:
        return f"it reaches for {node.attr}, which tools may not"
    if node.attr in _CLOCK:
        return f"it asks for {node.attr}(): its results would depend on the day"
    if node.attr in _MODULES and ast.unparse(node).partition(".")[0] in ALLOWED_IMPORTS:
        return f"it reaches for {ast.unparse(node)}, a module that tools may not use"
    return ""


def _partial_modules(tree: ast.Module) -> str:
    """Modules of which only a few names may be used are used by these names, and under their own."""
    bases = {
        id(node.value): node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }
    imported = {
        alias.asname or alias.name: alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    changed = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Name) or node.id not in imported:
            continue
        attribute, module = bases.get(id(node), ""), imported[node.id]
        if id(node) in changed:
            return f"it changes {module}, which tools may not"
        allowed = _PARTIAL.get(module)
        if attribute.startswith("_") or (allowed is not None and attribute not in allowed):
            return f"it uses {module}.{attribute}, which tools may not"
    return ""


_DECLARATIONS = (
    ast.FunctionDef,
    ast.ClassDef,
    ast.Import,
    ast.ImportFrom,
    ast.Assign,
    ast.AnnAssign,
    ast.Pass,
)


def _top_level(tree: ast.Module) -> str:
    """Statements outside functions only declare: nothing runs at import that could matter."""
    for node in tree.body:
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if not docstring and not isinstance(node, _DECLARATIONS):
            return f"line {node.lineno} does something at import, which tools may not"
    return ""


def static_gate(case: Case) -> Verdict:
    """The policy, and that the function is there."""
    found = static_policy(case.program.code)
    if not found:
        names = {node.name for node in ast.parse(case.program.code).body if isinstance(node, ast.FunctionDef)}
        if case.program.name not in names:
            found = f"there is no function {case.program.name!r} in it"
    return Verdict("static policy", not found, found or "imports and names are allowed")
