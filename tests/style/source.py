"""The project's source as the style tests look at it: files, definitions, lengths. Nothing here judges."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

Function = ast.FunctionDef | ast.AsyncFunctionDef
_OVERLOAD = "overload"


@dataclass(frozen=True)
class Found:
    """A function or class and where it stands."""

    where: str
    node: Function | ast.ClassDef
    inside: ast.AST


def python_files(*tops: str) -> list[Path]:
    """Every Python file below these directories of the project, generated ones too."""
    return [file for top in tops for file in sorted((ROOT / top).rglob("*.py"))]


def definitions(file: Path) -> Iterator[Found]:
    """Every function and class of a file with what it stands in."""
    tree = ast.parse(file.read_text(), str(file))
    waiting: list[ast.AST] = [tree]
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
