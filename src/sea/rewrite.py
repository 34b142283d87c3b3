"""Putting calls of tools in the place of what they compute. Trees only; nothing is executed."""

import ast
import copy
from dataclasses import dataclass

from sea.patterns import Pattern, Source, fits
from sea.regions import Region, regions


@dataclass(frozen=True)
class Rewritten:
    """A program that calls tools."""

    text: str
    tools: tuple[str, ...]
    """Names of the tools it calls, sorted."""


def rewrite(source: Source, tools: dict[str, tuple[str, Pattern]]) -> Rewritten | None:
    """The program with every place that a tool covers and shortens replaced; None when there is none.

    `tools` maps a pattern's id to the tool's name and the pattern. Places with the largest saving go first.
    """
    found: list[tuple[int, Region, str]] = []
    for region in regions(source.program):
        named = tools.get(region.key)
        if named is not None and fits(named[1], region) and not _is_taken(source, named[0], region):
            saving = region.size - named[1].call_cost(region)
            if saving > 0:
                found.append((saving, region, named[0]))
    found.sort(key=lambda item: (-item[0], item[1].span))
    taken: list[tuple[Region, str]] = []
    for _, region, name in found:
        if not any(a.span[0] <= region.span[1] and region.span[0] <= a.span[1] for a, _ in taken):
            taken.append((region, name))
    if not taken:
        return None
    tree = _Replace(taken, {name: pattern for name, pattern in tools.values()}).module(source.program.tree)
    try:
        text = ast.unparse(tree)
    except ValueError:
        return None  # a call inside an f-string whose quotes this Python cannot nest
    return Rewritten(text, tuple(sorted({name for _, name in taken})))


def _is_taken(source: Source, name: str, region: Region) -> bool:
    """Whether the program has the tool's name for something else; a helper of that name goes with its calls."""
    if region.kind == "function" and getattr(region.nodes[0], "name", "") == name:
        return False
    program = source.program
    return name in program.uses or name in program.helpers or name in program.fixed


class _Replace:
    """Copies a tree, leaving out what calls stand for."""

    def __init__(self, taken: list[tuple[Region, str]], patterns: dict[str, Pattern]) -> None:
        self._new: dict[int, ast.AST | None] = {}
        self._renamed: dict[str, str] = {}
        for region, name in taken:
            for node in region.nodes[1:]:
                self._new[id(node)] = None
            self._new[id(region.nodes[0])] = self._call(region, name, patterns[name])

    def _call(self, region: Region, name: str, pattern: Pattern) -> ast.AST | None:
        if region.kind == "function":
            self._renamed[getattr(region.nodes[0], "name", "")] = name
            return None
        arguments: list[ast.expr] = [ast.Name(given, ast.Load()) for given in region.inputs]
        arguments += [copy.deepcopy(region.holes[index]) for index in pattern.varying]
        call = ast.Call(ast.Name(name, ast.Load()), arguments, [])
        if region.kind == "expression":
            return call
        targets: list[ast.expr] = [ast.Name(output, ast.Store()) for output in region.outputs]
        target = targets[0] if len(targets) == 1 else ast.Tuple(targets, ast.Store())
        return ast.Assign([target], call, lineno=0)

    def module(self, tree: ast.Module) -> ast.Module:
        """The new program."""
        copied = self._copy(tree)
        assert isinstance(copied, ast.Module)
        return ast.fix_missing_locations(copied)

    def _copy(self, node: ast.AST) -> ast.AST:
        if id(node) in self._new:
            found = self._new[id(node)]
            assert found is not None
            return found
        fields: dict[str, object] = {}
        for label, value in ast.iter_fields(node):
            if isinstance(value, list):
                kept = [item for item in value if not (id(item) in self._new and self._new[id(item)] is None)]
                fields[label] = [self._copy(item) if isinstance(item, ast.AST) else item for item in kept]
            else:
                fields[label] = self._copy(value) if isinstance(value, ast.AST) else value
        duplicate = type(node)(**fields)
        if isinstance(duplicate, ast.Name) and duplicate.id in self._renamed:
            duplicate.id = self._renamed[duplicate.id]
        return duplicate
