"""The project's source as the style tests look at it: files, definitions, lengths. Nothing here judges."""

import ast
import functools
import io
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

Function = ast.FunctionDef | ast.AsyncFunctionDef
_OVERLOAD = "overload"
_NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}


@dataclass(frozen=True)
class Found:
    """A function or class and where it stands."""

    where: str
    node: Function | ast.ClassDef
    inside: ast.AST


def python_files(*tops: str) -> list[Path]:
    """Every Python file below these directories of the project, generated ones too."""
    return [file for top in tops for file in sorted((ROOT / top).rglob("*.py"))]


@functools.cache
def parsed(file: Path) -> ast.Module:
    """A file's tree: nobody changes it."""
    return ast.parse(file.read_text(), str(file))


@functools.cache
def definitions(file: Path) -> tuple[Found, ...]:
    """Every function and class of a file with what it stands in."""
    return tuple(_definitions(file))


def _definitions(file: Path) -> Iterator[Found]:
    waiting: list[ast.AST] = [parsed(file)]
    while waiting:
        parent = waiting.pop()
        for node in ast.iter_child_nodes(parent):
            waiting.append(node)
            if isinstance(node, Function | ast.ClassDef):
                yield Found(f"{file.relative_to(ROOT)}:{node.lineno} {node.name}", node, parent)


def functions(*tops: str) -> list[tuple[str, Function]]:
    """Every function below these directories."""
    found = (one for file in python_files(*tops) for one in definitions(file))
    return [(one.where, one.node) for one in found if isinstance(one.node, Function)]


def length(node: ast.stmt) -> int:
    """Lines from the `def` to the last one."""
    return (node.end_lineno or node.lineno) - node.lineno + 1


def code_lines(text: str) -> int:
    """Lines of a source that have code on them: blank lines, comments and docstrings do not count."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    counted = {
        line for one in tokens if one.type not in _NO_CODE for line in range(one.start[0], one.end[0] + 1)
    }
    for node in ast.walk(ast.parse(text)):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            counted -= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(counted)


def body_length(node: Function) -> int:
    """Lines of code of a function: from the `def` to the end, without its docstring."""
    first = node.body[0]
    return length(node) - (length(first) if ast.get_docstring(node, clean=False) is not None else 0)


def parameters(node: Function) -> int:
    """How many a caller can give; `self` and `cls` are not given."""
    names = [one.arg for one in [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]]
    return len(names) - (names[:1] in (["self"], ["cls"]))


def is_public(found: Found) -> bool:
    """Whether a stranger could use it: no underscore in its name or around it, not local, not an overload."""
    if found.node.name.startswith("_") or isinstance(found.inside, Function):
        return False
    if isinstance(found.inside, ast.ClassDef) and found.inside.name.startswith("_"):
        return False
    return not any(isinstance(one, ast.Name) and one.id == _OVERLOAD for one in found.node.decorator_list)
