"""The cheapest way to write a program with calls of given tools: a tiling of its trees. Pure; nothing is executed.

A call earns only what it stands for. In the form near the original, whatever no call covers costs what it cost there,
the naming of values included; in the whole normal form a program counts only when calls do all of its work. So the
normal forms alone save nothing.
"""

import ast
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from sea import tokens
from sea.choices import surcharge
from sea.normalise import is_literal
from sea.regions import Program, Region

_NEVER = 1 << 20
"""More than any program costs."""
_CALL = 3
"""Name and parentheses."""


@dataclass(frozen=True)
class Use:
    """A tool at a place."""

    tool: str
    region: Region
    arguments: tuple[ast.expr, ...]
    """What stands in the call; names of inputs first."""


@dataclass
class Sites:
    """Where in one form of a program tools could stand."""

    program: Program
    strict: bool
    """Whether calls must do all of the work."""
    expressions: dict[int, list[Use]] = field(default_factory=lambda: defaultdict(list))
    windows: dict[int, list[Use]] = field(default_factory=lambda: defaultdict(list))
    functions: dict[int, list[Use]] = field(default_factory=lambda: defaultdict(list))
    own: dict[int, int] = field(default_factory=dict)
    below: dict[int, list[ast.expr]] = field(default_factory=dict)
    constant: dict[tuple[int, bool], int] = field(default_factory=dict)
    """What a node costs where no tool could stand in it: the same for all tilings."""
    _busy: set[int] | None = None

    def is_busy(self, node: ast.AST) -> bool:
        """Whether a tool could stand at a node or below it."""
        if self._busy is None:
            self._busy = set()
            self._mark(self.program.tree, self._busy)
        return id(node) in self._busy

    def _mark(self, node: ast.AST, busy: set[int]) -> bool:
        here = any(id(node) in places for places in (self.expressions, self.windows, self.functions))
        for child in ast.iter_child_nodes(node):
            here = self._mark(child, busy) or here
        if here:
            busy.add(id(node))
        return here

    def add(self, use: Use) -> None:
        """Note a place; a call that is given nothing would only restate what its defaults remember, and is none."""
        if not use.arguments and use.region.kind != "function":
            return
        places = {"window": self.windows, "function": self.functions}.get(use.region.kind, self.expressions)
        places[id(use.region.nodes[0])].append(use)


class Tiling:
    """One way to write a program, with the tools that are allowed."""

    def __init__(self, sites: Sites, allowed: frozenset[str] | set[str] | None) -> None:
        self._sites = sites
        self._allowed = allowed
        self._known: dict[tuple[int, bool], int] = {}
        self.chosen: dict[int, Use] = {}
        """Windows and functions, by their first statement."""
        self.calls: dict[tuple[int, bool], Use] = {}
        """Expressions, by node and whether they are arguments of a tool."""
        self._helpers: set[str] = set()

    def program(self) -> int:
        """Tokens of the program with the calls that save most; `_NEVER` or more when it cannot be written so."""
        body = self._sites.program.tree.body
        for stmt in body:
            for use in self._uses(self._sites.functions, stmt):
                assert isinstance(stmt, ast.FunctionDef)
                self._helpers.add(stmt.name)
                self.chosen[id(stmt)] = use
        return self._body(body)

    def _uses(self, places: dict[int, list[Use]], node: ast.AST) -> Iterable[Use]:
        found = places.get(id(node), ())
        return found if self._allowed is None else [use for use in found if use.tool in self._allowed]

    def _body(self, body: list[ast.stmt]) -> int:
        """The best way through a block, from its end backwards."""
        place = {id(stmt): index for index, stmt in enumerate(body)}
        best = [0] * (len(body) + 1)
        for index in range(len(body) - 1, -1, -1):
            stmt = body[index]
            best[index] = self._stmt(stmt) + best[index + 1]
            window = None
            for use in self._uses(self._sites.windows, stmt):
                end = place.get(id(use.region.nodes[-1]))
                if end is None:
                    continue
                price = self._call(use) + 2 * len(use.region.outputs) + 1 + best[end + 1]
                if price < best[index]:
                    best[index], window = price, use
            if window is not None:
                self.chosen[id(stmt)] = window
            elif id(stmt) not in self._sites.functions:
                self.chosen.pop(id(stmt), None)
        return best[0]

    def _stmt(self, stmt: ast.stmt) -> int:
        if id(stmt) in self.chosen and isinstance(stmt, ast.FunctionDef):
            return 0
        if self._sites.is_busy(stmt) or self._helpers:
            return self._price_of(stmt)
        found = self._sites.constant.get((id(stmt), False))
        if found is None:
            found = self._sites.constant[id(stmt), False] = self._price_of(stmt)
        return found

    def _price_of(self, stmt: ast.stmt) -> int:
        if self._sites.strict and not isinstance(stmt, ast.Assign | ast.Expr):
            return _NEVER
        price = self._own(stmt) + sum(self._expr(child, False) for child in self._below(stmt))
        return price + sum(self._body(body) for body in tokens.bodies(stmt))

    def _own(self, node: ast.AST) -> int:
        found = self._sites.own.get(id(node))
        if found is None:
            found = self._sites.own[id(node)] = tokens.own(node)
        return found

    def _below(self, node: ast.AST) -> list[ast.expr]:
        found = self._sites.below.get(id(node))
        if found is None:
            found = self._sites.below[id(node)] = tokens.below(node)
        return found

    def _call(self, use: Use) -> int:
        return (
            _CALL + max(0, len(use.arguments) - 1) + sum(self._expr(given, True) for given in use.arguments)
        )

    def _expr(self, node: ast.expr, argument: bool) -> int:
        """Tokens of an expression; as an argument of a tool a literal, a name and a call need no name first."""
        key = (id(node), argument)
        known = self._known if self._sites.is_busy(node) or self._helpers else self._sites.constant
        found = known.get(key)
        if found is None:
            found = known[key] = self._price(node, argument)
        return found

    def _price(self, node: ast.expr, argument: bool) -> int:
        named = 0 if self._sites.strict or not hasattr(node, "meaning") else tokens.NAMING
        if isinstance(node, ast.Name):
            return 1 + (0 if argument else named)
        if is_literal(node):
            return self._plain(node, False) + (0 if argument else named)
        best = self._plain(node, self._sites.strict and not self._may_stand(node)) + named
        if not self._sites.strict:
            best += surcharge(node)
        chosen = None
        for use in self._uses(self._sites.expressions, node):
            price = self._call(use) + (0 if argument else named)
            if price < best:
                best, chosen = price, use
        if chosen is not None:
            self.calls[id(node), argument] = chosen
        return best

    def _plain(self, node: ast.expr, banned: bool) -> int:
        if banned:
            return _NEVER
        return self._own(node) + sum(self._expr(child, False) for child in self._below(node))

    def _may_stand(self, node: ast.expr) -> bool:
        """What does no work: output, calls of functions that tools stand for, values side by side, targets."""
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            return node.func.id == "print" or node.func.id in self._helpers
        return isinstance(node, ast.Tuple | ast.List | ast.Constant)
