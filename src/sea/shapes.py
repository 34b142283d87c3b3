"""The shape of a program: its tree without its own names and its numbers. Pure; nothing is executed.

Programs of one shape have the same normal forms and regions, up to these names and numbers. Names with a meaning
(builtins, imports, results, what is looked up by name), texts and all that a normal form looks at stay in the shape.
"""

import ast
import hashlib
import re
from collections.abc import Callable

from sea.normalise import BUILTINS, BY_NAME, is_literal, walk

Number = int | float
_WITH_MEANING = BUILTINS | BY_NAME | {"math", "exit", "quit", "input", "open"}
_NAMED_ELSEWHERE = (
    ast.ClassDef, ast.Global, ast.Nonlocal, ast.ExceptHandler, ast.MatchAs, ast.MatchStar, ast.MatchMapping,
)  # fmt: skip
"""What holds names outside of `Name` nodes: such a program keeps all its names and numbers in its shape."""
_FORMAT = re.compile(r"""[fF][rR]?['"]""")
"""A formatted text costs by its characters, and a number in it is part of it: where there may be one, lengths of names
and numbers belong to the shape, and such numbers altogether."""
_COMPUTED = (ast.BinOp, ast.Subscript)
"""With numbers elsewhere, normal forms of conditions ask which are equal; noughts and ones counted with are told."""
_APART = (ast.BinOp, ast.UnaryOp, ast.Compare, ast.List, ast.Set, ast.Dict, ast.Subscript)
_SKIPPED = ("ctx", "type_comment")


def shape(
    tree: ast.Module, code: str, around: tuple[frozenset[str], frozenset[str]]
) -> tuple[bytes, tuple[Number, ...]]:
    """A digest of the shape, and the numbers left out of it; their constants get the attribute `slot`.

    Args:
        tree: The program; its constants are marked.
        code: Its text.
        around: Names that its runtime imports, and names of its results.
    """
    nodes = list(walk(tree))
    if any(isinstance(node, _NAMED_ELSEWHERE) for node in nodes):
        text, numbers = ast.dump(tree), []
    else:
        fixed = {
            alias.asname or alias.name.partition(".")[0]
            for node in nodes
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
        }
        choices = any(isinstance(node, ast.BoolOp) for node in nodes)
        reader = _Reader(_WITH_MEANING.union(fixed, *around), _FORMAT.search(code) is not None, choices)
        reader.add(tree)
        text, numbers = "".join(reader.parts), reader.numbers
    whole = f"{sorted(around[0])}|{sorted(around[1])}|{text}"
    return hashlib.blake2b(whole.encode("utf-8", "surrogatepass"), digest_size=16).digest(), tuple(numbers)


class _Reader:
    """One way through a tree."""

    def __init__(self, fixed: frozenset[str], texts: bool, choices: bool) -> None:
        self._fixed = fixed
        self._texts = texts
        self._names: dict[str, str] = {}
        self.parts: list[str] = []
        self.numbers: list[Number] = []
        self._choices = choices
        self._first: dict[str, int] = {}
        """Numbers, as texts, to the first place that has them."""

    def add(self, node: ast.AST, parent: type[ast.AST] = ast.AST) -> None:
        """One node and all that is below it."""
        kind = node.__class__
        if kind is ast.Name:
            self.parts.append(self._name(node.id))  # type: ignore[attr-defined]
        elif kind is ast.Constant:
            self.parts.append(self._constant(node, parent))  # type: ignore[arg-type]
        else:
            self.parts.append(kind.__name__)
            self._fields(node, kind)

    def _fields(self, node: ast.AST, kind: type[ast.AST]) -> None:
        parts = self.parts
        parts.append("(")
        for label in _labels(kind):
            value = getattr(node, label, None)
            if isinstance(value, ast.AST):
                self.add(value, kind)
            elif isinstance(value, list):
                parts.append("[")
                for item in value:
                    if isinstance(item, ast.AST):
                        self.add(item, kind)
                    else:
                        parts.append(repr(item))
                parts.append("]")
            elif (kind is ast.FunctionDef and label == "name") or (kind is ast.arg and label == "arg"):
                parts.append(self._name(str(value)))
            else:
                parts.append(repr(value))
        parts.append(")")

    def _name(self, name: str) -> str:
        if name in self._fixed:
            return f"'{name}'"
        found = self._names.get(name)
        if found is None:
            length = f":{len(name)}" if self._texts else ""
            found = self._names[name] = f"${len(self._names)}{length};"
        return found

    def _constant(self, node: ast.Constant, parent: type[ast.AST]) -> str:
        value = node.value
        kind = type(value)
        if kind is not int and kind is not float:
            return f"{node.kind}{value!r}"
        node.slot = len(self.numbers)  # type: ignore[attr-defined]
        self.numbers.append(value)  # type: ignore[arg-type]
        if self._texts and parent not in _APART:
            return f"{value!r};"
        length = f":{len(repr(value))}" if self._texts else ""
        alike = ""
        if self._choices and parent not in _COMPUTED:
            alike = f"={self._first.setdefault(repr(value), node.slot)}"  # type: ignore[attr-defined]
        told = value == 0 or (value == 1 and parent is ast.AugAssign)
        return f"{'i' if kind is int else 'f'}{repr(value) if told else ''}{length}{alike};"


_LABELS: dict[type, tuple[str, ...]] = {}


def _labels(kind: type[ast.AST]) -> tuple[str, ...]:
    found = _LABELS.get(kind)
    if found is None:
        found = _LABELS[kind] = tuple(label for label in kind._fields if label not in _SKIPPED)
    return found


def filled(hole: ast.expr) -> Callable[[tuple[Number, ...]], str]:
    """What gives a literal's text for the numbers of a program; empty text for what is computed."""
    if not is_literal(hole):
        return lambda numbers: ""
    slots = [node for node in walk(hole) if isinstance(node, ast.Constant) and hasattr(node, "slot")]
    if not slots:
        text = ast.unparse(hole)
        return lambda numbers: text
    if isinstance(hole, ast.Constant):
        place = int(hole.slot)  # type: ignore[attr-defined]
        return lambda numbers: written(numbers[place])
    parts, places = _parts(hole)
    return lambda numbers: (
        "".join(part + written(numbers[place]) for part, place in zip(parts, places, strict=False))
        + parts[-1]
    )


_MARK = "\x01"
"""Stands for a number while a literal is printed; no printed text has it."""


def _parts(hole: ast.expr) -> tuple[list[str], list[int]]:
    """A literal's text around its numbers, and their slots in the order of the text."""
    places: list[int] = []

    class Marked(ast.NodeTransformer):
        def visit_Constant(self, node: ast.Constant) -> ast.expr:
            """One constant."""
            return ast.Name(f"{_MARK}{node.slot}{_MARK}", ast.Load()) if hasattr(node, "slot") else node

    pieces = ast.unparse(Marked().visit(_copied(hole))).split(_MARK)
    places = [int(slot) for slot in pieces[1::2]]
    return pieces[::2], places


def _copied(node: ast.AST) -> ast.AST:
    made = node.__class__.__new__(node.__class__)
    for name, value in node.__dict__.items():
        if isinstance(value, list):
            value = [_copied(item) if isinstance(item, ast.AST) else item for item in value]
        made.__dict__[name] = _copied(value) if isinstance(value, ast.AST) else value
    return made


def written(number: Number) -> str:
    """A number as a program has it."""
    return repr(number).replace("inf", "1e309")
