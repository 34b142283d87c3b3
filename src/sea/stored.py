"""The form in which a tool's pattern lies in a library: plain values, read again as the same pattern or not at all.

A pattern is kept as the text of one place where it stood, with what about it are parameters.
"""

import ast
from typing import Any

from sea import cuts
from sea.normalise import BUILTINS
from sea.patterns import Occurrence, Pattern, Source, shape_of
from sea.regions import Program, Region, cut_region, regions, survey
from sea.sources import Model
from sea.trace import Step, Trace


def stored(pattern: Pattern) -> dict[str, Any]:
    """A pattern as plain values."""
    example = pattern.example
    program = pattern.occurrences[0].source.whole
    read = {node.id for root in example.nodes for node in ast.walk(root) if isinstance(node, ast.Name)}
    return {
        "id": pattern.id,
        "kind": pattern.kind,
        "text": "\n".join(ast.unparse(node) for node in example.nodes),
        "outputs": list(example.outputs),
        "fixed": sorted((read & (program.fixed | pattern.occurrences[0].source.program.fixed)) - BUILTINS),
        "symbols": list(pattern.symbols),
        "varying": list(pattern.varying),
        "defaults": [list(default) for default in pattern.defaults],
        "spread": pattern.spread,
        "support": pattern.support,
    }


def restored(data: dict[str, Any]) -> Pattern:
    """A pattern from `stored`.

    Raises:
        ValueError: The text does not have the shape it had.
    """
    tree = ast.parse(str(data["text"]))
    program = survey(tree, frozenset(data["outputs"]), frozenset(data["fixed"]))
    program.least = 0  # what a value was named with is not in the text
    region = _cut(program, tuple(data["symbols"])) if data["kind"] == "cut" else _region(program, data)
    known = str(data["id"])
    if region is None or region.key != shape_of(known):
        raise ValueError(
            f"a tool's pattern cannot be read again: {str(data['text'])[:80]!r}; make the library anew"
        )
    trace = Trace("library", "library", "library", (Step(str(data["text"])),))
    place = Occurrence(Source(trace, 0, Model(program, program, region.size)), region)
    defaults = tuple((int(index), str(value)) for index, value in data["defaults"])
    varying = tuple(map(int, data["varying"]))
    kind, support = str(data["kind"]), int(data["support"])
    symbols = tuple(map(str, data["symbols"]))
    return Pattern(known, kind, [place], varying, support, defaults, symbols, bool(data["spread"]))


def _region(program: Program, data: dict[str, Any]) -> Region | None:
    return next((region for region in regions(program) if region.key == data["id"]), None)


def _cut(program: Program, symbols: tuple[str, ...]) -> Region | None:
    node = program.tree.body[0]
    if not isinstance(node, ast.Expr):
        return None
    holes = cuts.match(symbols, node.value, program.fixed)
    return None if holes is None else cut_region(program, node.value, holes, symbols)
