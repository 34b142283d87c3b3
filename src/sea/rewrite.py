"""Putting calls of tools in the place of what they compute. Trees only; nothing is executed."""

import ast
import copy
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace

from sea import cuts
from sea.choices import as_branch, surcharge
from sea.forms import without_unused_imports
from sea.generate import draft_code
from sea.inline import computes, is_one_operation
from sea.normalise import cost, is_literal, straighten, walk
from sea.patterns import Occurrence, Pattern, Source, fits, is_spreadable
from sea.regions import Program, Region, cut_region, regions
from sea.shapes import filled
from sea.sources import At
from sea.specify import draft
from sea.tile import Sites, Tiling, Use
from sea.tokens import nested

Named = dict[str, tuple[str, Pattern]]
"""Pattern's id to the tool's name and the pattern."""


@dataclass(frozen=True)
class Rewritten:
    """A program that calls tools."""

    text: str
    tools: tuple[str, ...]
    """Names of the tools it calls, sorted."""


class Index:
    """Patterns, ready to be looked for."""

    def __init__(self, tools: Named) -> None:
        self._by_key = tools
        self._cuts: dict[str, list[tuple[str, Pattern]]] = defaultdict(list)
        self._single = {key for key, (_, pattern) in tools.items() if names_one_operation(pattern)}
        self._kinds = {pattern.kind for _, pattern in tools.values()}
        for name, pattern in tools.values():
            if pattern.kind == "cut":
                self._cuts[pattern.symbols[0]].append((name, pattern))

    def sites(self, source: Source, strict: bool) -> Sites:
        """Every place in one form of a program where one of the tools fits: in its whole normal form, or near it."""
        found = Sites(source.whole if strict else source.program, strict)
        for name, pattern, region, _ in self.matches(source, strict):
            if fits(pattern, region.holes):
                found.add(use_of(name, pattern, region))
        return found

    def matches(self, source: Source, strict: bool) -> Iterator[tuple[str, Pattern, Region, At]]:
        """Every place of the shape of one of the tools, whether its constants fit or not."""
        program = source.whole if strict else source.program
        form = int(program is not source.whole)
        for number, region in enumerate(regions(program) if self._kinds - {"cut"} else ()):
            named = self._by_key.get(region.key)
            if named is not None and self._suits(source, strict, *named, region):
                yield *named, region, (form, number, ())
        for number, node in enumerate(cuts.expressions(walk(program.tree)) if self._cuts else ()):
            if id(node) in program.specs:
                continue
            top = cuts.label(node, program.fixed)
            for name, pattern in self._cuts.get(top[0], ()) if top else ():
                holes = cuts.match(pattern.symbols, node, program.fixed)
                if holes is not None:
                    region = cut_region(program, node, holes, pattern.symbols)
                    if self._suits(source, strict, name, pattern, region):
                        yield name, pattern, region, (form, number, pattern.symbols)

    def _suits(self, source: Source, strict: bool, name: str, pattern: Pattern, region: Region) -> bool:
        program = source.whole if strict else source.program
        if pattern.spread and not is_spreadable(region.holes[pattern.varying[-1]]):
            return False
        return self._is_free(program, name, region) and self._counts(source, strict, pattern, region)

    def _counts(self, source: Source, strict: bool, pattern: Pattern, region: Region) -> bool:
        """Whether a call does more there than to name one operation."""
        return pattern.id not in self._single or (strict and is_skeleton(source, region))

    @staticmethod
    def _is_free(program: Program, name: str, region: Region) -> bool:
        """Whether the program has the tool's name for nothing else; a helper of that name goes with its calls."""
        if region.kind == "function" and getattr(region.nodes[0], "name", "") == name:
            return True
        return name not in program.uses and name not in program.helpers and name not in program.fixed


def names_one_operation(pattern: Pattern) -> bool:
    """Whether a pattern's tool would be one operation."""
    if isinstance(pattern.outline.nodes[0], ast.FormattedValue):
        return False
    return is_one_operation(code_of(pattern))


def code_of(pattern: Pattern) -> str:
    """The pattern's tool, with names of one of the programs."""
    if not pattern.code:
        pattern.code = draft_code(draft(replace(pattern, occurrences=[_nearest(pattern)]), set()))
    return pattern.code


def _nearest(pattern: Pattern) -> Occurrence:
    """The first occurrence, or the like of it in a program whose trees are there, with the pattern's constants."""
    first = pattern.occurrences[0]
    owner = first.source.model.whose
    texts = ((filled(first.shape.holes[index]), value) for index, value in pattern.fixed())
    if owner is None or any(text(owner.numbers) != value for text, value in texts):
        return first
    return Occurrence(owner, first.shape)


_LEAST_STATEMENTS = 2


def is_skeleton(source: Source, region: Region) -> bool:
    """Whether a region is all that a program computes, from values it has written out, in several statements."""
    if source.statements < _LEAST_STATEMENTS or any(computes(hole) for hole in region.holes):
        return False
    body = [stmt for stmt in source.whole.tree.body if not isinstance(stmt, ast.Import | ast.ImportFrom)]
    value = getattr(body[0], "value", None) if len(body) == 1 else None
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "print":
        value = value.args[0] if len(value.args) == 1 and not value.keywords else None
    return value is region.nodes[0] and value is not None


def use_of(name: str, pattern: Pattern, region: Region) -> Use:
    """A tool at a place; where all that it is given is what its defaults remember, it is given all of it."""
    if region.kind == "function":
        return Use(name, region, ())
    given: list[ast.expr] = [ast.Name(word, ast.Load()) for word in region.inputs]
    given += pattern.arguments(region.holes)
    return Use(name, region, tuple(given or [region.holes[index] for index in pattern.varying]))


def rewrite(source: Source, tools: Named | Index) -> Rewritten | None:
    """The shortest program that calls tools where they fit; None when none is shorter than the original."""
    index = tools if isinstance(tools, Index) else Index(tools)
    best: Rewritten | None = None
    least = source.size
    for program, strict in ((source.whole, True), (source.program, False)):
        tiling = Tiling(index.sites(source, strict), None)
        if tiling.program() >= least + 6:  # parentheses are not counted there
            continue
        found = _written(program, strict, tiling)
        if found is not None and found.tools and cost(found.text) < least:
            best, least = found, cost(found.text)
    return best


def _written(program: Program, strict: bool, tiling: Tiling) -> Rewritten | None:
    writer = _Writer(program, strict, tiling)
    tree = ast.Module(writer.block(program.tree.body), [])
    ast.fix_missing_locations(tree)
    if strict:
        tree = straighten(tree, program.keep)
        tree.body = without_unused_imports(tree.body)
    try:
        text = ast.unparse(tree)
    except ValueError:
        return None  # a call inside an f-string whose quotes this Python cannot nest
    return Rewritten(text, tuple(sorted(writer.used)))


class _Writer:
    """Copies a tree with calls in it; values that no call takes get their names back."""

    def __init__(self, program: Program, strict: bool, tiling: Tiling) -> None:
        self._program = program
        self._strict = strict
        self._tiling = tiling
        self._renamed = {
            stmt.name: use.tool
            for stmt in program.tree.body
            if isinstance(stmt, ast.FunctionDef) and (use := tiling.chosen.get(id(stmt)))
        }
        self.used: set[str] = set()

    def block(self, body: list[ast.stmt]) -> list[ast.stmt]:
        """A block of statements."""
        made: list[ast.stmt] = []
        skip: set[int] = set()
        for stmt in body:
            if id(stmt) in skip:
                continue
            use = self._tiling.chosen.get(id(stmt))
            if use is None:
                made += self._stmt(stmt)
            elif use.region.kind == "function":
                self.used.add(use.tool)
            else:
                skip |= {id(node) for node in use.region.nodes}
                made += self._window(use)
        return made

    def _window(self, use: Use) -> list[ast.stmt]:
        before: list[ast.stmt] = []
        targets: list[ast.expr] = [ast.Name(output, ast.Store()) for output in use.region.outputs]
        target = targets[0] if len(targets) == 1 else ast.Tuple(targets, ast.Store())
        call = self._call(use, before)
        return [*before, ast.Assign([target], call, lineno=0)]

    def _stmt(self, stmt: ast.stmt) -> list[ast.stmt]:
        before: list[ast.stmt] = []
        inner = {id(child) for child in nested(stmt)}
        made = self._copied(stmt, before, inner)
        assert isinstance(made, ast.stmt)
        return [*before, made if self._strict else as_branch(made)]

    def _copied(self, node: ast.AST, before: list[ast.stmt], inner: set[int]) -> ast.AST:
        fields: dict[str, object] = {}
        for label, value in ast.iter_fields(node):
            if isinstance(value, list) and value and id(value[0]) in inner:
                fields[label] = self.block(value)
            elif isinstance(value, list):
                fields[label] = [self._field(item, before, inner) for item in value]
            else:
                fields[label] = self._field(value, before, inner)
        made = type(node)(**fields)
        if isinstance(made, ast.Name) and made.id in self._renamed:
            made.id = self._renamed[made.id]
        if surcharge(node):
            made.branch = surcharge(node)  # type: ignore[attr-defined]
        return ast.copy_location(made, node)

    def _field(self, value: object, before: list[ast.stmt], inner: set[int]) -> object:
        if id(value) in self._program.specs:
            return copy.deepcopy(value)
        if isinstance(value, ast.expr):
            return self._expr(value, False, before)
        return self._copied(value, before, inner) if isinstance(value, ast.AST) else value

    def _expr(self, node: ast.expr, argument: bool, before: list[ast.stmt]) -> ast.expr:
        use = self._tiling.calls.get((id(node), argument))
        made = self._call(use, before) if use is not None else self._copied(node, before, set())
        assert isinstance(made, ast.expr)
        name = getattr(node, "meaning", None)
        if (
            name is None
            or self._strict
            or (argument and (use or isinstance(node, ast.Name) or is_literal(node)))
        ):
            return made
        before.append(ast.Assign([ast.Name(name, ast.Store())], made, lineno=0))
        return ast.Name(name, ast.Load())

    def _call(self, use: Use, before: list[ast.stmt]) -> ast.Call:
        self.used.add(use.tool)
        arguments = [self._expr(given, True, before) for given in use.arguments]
        return ast.Call(ast.Name(use.tool, ast.Load()), arguments, [])
