"""Mining: which regions recur over distinct tasks.

Support counts distinct tasks, never traces. A pattern's holes become parameters where their values differ between
tasks; the value most of them have becomes the default, and a value that never differs stays a constant. Which
patterns are worth a tool is decided in `select`.
"""

import ast
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from sea import cuts
from sea.forms import whole_form
from sea.normalise import cost, is_literal, parse, straighten
from sea.regions import Program, Region, cut_region, regions, survey
from sea.tokens import total
from sea.trace import Trace

_MAX_PARAMETERS = 8
_EXAMPLES = 5
_CALL_OVERHEAD = 3
"""Name and parentheses."""
_DEFAULT_SHARE = 0.25
"""A value that so many of the places have becomes the default."""
_MAX_PLACES = 4000
"""Occurrences that are kept of one pattern."""


@dataclass(frozen=True)
class Source:
    """One program of one trace, parsed, in two forms."""

    trace: Trace
    step: int
    program: Program
    """As it was written, but for values that were given a name and read once."""
    whole: Program
    """In its whole normal form."""
    size: int
    """Tokens of the original, normalised by unparsing."""

    @property
    def task(self) -> str:
        """What support is counted on."""
        return self.trace.task_id

    @cached_property
    def statements(self) -> int:
        """Statements of the program as it was written, those of functions among them; imports and texts are none."""
        return sum(
            isinstance(node, ast.stmt)
            and not isinstance(node, ast.Import | ast.ImportFrom)
            and not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
            for node in ast.walk(ast.parse(self.trace.steps[self.step].code))
        )


@dataclass(frozen=True)
class Occurrence:
    """One place where a pattern stands."""

    source: Source
    region: Region


@dataclass
class Pattern:
    """A computation that recurs."""

    id: str
    kind: str
    occurrences: list[Occurrence]
    varying: tuple[int, ...]
    """Holes that become parameters, in the order of the parameters."""
    support: int
    """Distinct tasks."""
    defaults: tuple[tuple[int, str], ...] = ()
    """Values of the last of these holes when they are not given, as text."""
    symbols: tuple[str, ...] = ()
    """For a cut: its shape."""
    spread: bool = False
    """Whether the last parameter takes the members of a list, each as an argument of its own."""
    saving: int = 0
    """Tokens saved over the occurrences it was chosen for, its own cost taken off."""
    chosen_for: list[Occurrence] = field(default_factory=list)

    @property
    def example(self) -> Region:
        """The first occurrence's region."""
        return self.occurrences[0].region

    def arguments(self, holes: tuple[ast.expr, ...]) -> list[ast.expr]:
        """What a call must be given for its holes: trailing values that are the defaults are left out."""
        given = [holes[index] for index in self.varying]
        if self.spread:
            members = given.pop()
            assert isinstance(members, ast.List)
            return [*given, *members.elts]
        for index, value in reversed(self.defaults):
            if ast.unparse(holes[index]) != value:
                break
            given.pop()
        return given

    def as_dict(self) -> dict[str, Any]:
        """The published shape of a pattern."""
        tasks = sorted({occurrence.source.task for occurrence in self.occurrences})
        return {
            "pattern_id": self.id,
            "pattern_name": ast.unparse(self.example.nodes[-1])[:80],
            "pattern_type": _type_of(self.example),
            "frequency": self.support,
            "description": f"{self.kind} of {self.example.size} tokens in {self.support} tasks",
            "example_instances": [
                {
                    "trace_id": occurrence.source.trace.id,
                    "excerpt": "\n".join(ast.unparse(node) for node in occurrence.region.nodes),
                    "context": occurrence.source.trace.problem[:300],
                }
                for occurrence in self.occurrences[:_EXAMPLES]
            ],
            "abstraction_potential": round(len(tasks) / max(1, len(self.occurrences)), 3),
            "reasoning": f"counted over {len(tasks)} distinct tasks in {len(self.occurrences)} places",
        }


def _type_of(region: Region) -> str:
    found = {type(node) for root in region.nodes for node in ast.walk(root)}
    if ast.JoinedStr in found:
        return "format_conversion"
    if ast.If in found or ast.Compare in found:
        return "validation"
    if ast.For in found or ast.ListComp in found or ast.DictComp in found:
        return "data_transform"
    return "computation" if ast.BinOp in found else "lookup" if ast.Subscript in found else "sequential_ops"


def load(traces: Iterable[Trace]) -> list[Source]:
    """Every program of the traces, ready for mining; one that cannot be walked (too deep) is left out."""
    found: list[Source] = []
    for trace in traces:
        for index, step in enumerate(trace.steps):
            keep = frozenset({step.result_name} if step.result_name else ())
            try:
                tree = parse(step.code)
                size = cost(ast.unparse(tree))
                preset = _imported(step.prelude)
                whole = survey(whole_form(tree, keep), keep, preset)
                near = straighten(tree, keep, drop=False)
                same = ast.dump(near) == ast.dump(whole.tree)
                found.append(Source(trace, index, whole if same else survey(near, keep, preset), whole, size))
            except (SyntaxError, ValueError, RecursionError):
                continue  # counted by the reader where it does not parse at all
    return found


def _imported(prelude: tuple[str, ...]) -> frozenset[str]:
    tree = ast.parse("\n".join(line for line in prelude if line.startswith(("import ", "from "))))
    aliases = [
        alias for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom) for alias in node.names
    ]
    return frozenset(alias.asname or alias.name.partition(".")[0] for alias in aliases)


def both(source: Source) -> Iterator[Program]:
    """The two forms of a program, one when they are the same."""
    yield source.whole
    if source.program is not source.whole:
        yield source.program


def mine(sources: list[Source], min_support: int = 3) -> list[Pattern]:
    """Patterns with support of at least `min_support` distinct tasks, most supported first.

    Two passes: the first only counts keys, so that memory holds regions of frequent patterns alone. The order in which
    the programs came does not matter.
    """
    sources = sorted(sources, key=lambda source: (source.task, source.trace.id, source.step))
    tasks: dict[str, set[str]] = defaultdict(set)
    for source in sources:
        for program in both(source):
            for region in regions(program):
                seen = tasks[region.key]
                if len(seen) < min_support:
                    seen.add(source.task)
    frequent = {key for key, seen in tasks.items() if len(seen) >= min_support}
    places: dict[str, list[Occurrence]] = defaultdict(list)
    for source in sources:
        for program in both(source):
            for region in regions(program):
                if region.key in frequent and len(places[region.key]) < _MAX_PLACES:
                    places[region.key].append(Occurrence(source, region))
    patterns = [_pattern(key, found) for key, found in places.items()]
    patterns += [_pattern(key, found, symbols) for key, symbols, found in _cuts(sources, min_support)]
    usable = [pattern for pattern in patterns if pattern is not None]
    return sorted(usable, key=lambda pattern: (-pattern.support, -pattern.example.size, pattern.id))


def _cuts(sources: list[Source], least: int) -> Iterator[tuple[str, tuple[str, ...], list[Occurrence]]]:
    roots: list[cuts.Root] = []
    owners: list[tuple[Source, Program]] = []
    for source in sources:
        for node in cuts.expressions(ast.walk(source.whole.tree)):
            if id(node) not in source.whole.specs:
                roots.append(cuts.Root(node, source.task, source.whole.fixed, total(node)))
                owners.append((source, source.whole))
    for cut in cuts.grow(roots, least):
        found = [
            Occurrence(owners[number][0], cut_region(owners[number][1], node, holes, cut.symbols))
            for number, node, holes in cut.places[:_MAX_PLACES]
        ]
        yield found[0].region.key, cut.symbols, found


def _pattern(key: str, occurrences: list[Occurrence], symbols: tuple[str, ...] = ()) -> Pattern | None:
    example = occurrences[0].region
    varying: list[int] = []
    defaults: list[tuple[float, int, str]] = []
    for index in range(len(example.holes)):  # of a function they are all constants
        values = Counter(_value(place.region.holes[index]) for place in occurrences)
        value, count = max(values.items(), key=lambda item: (item[1], item[0]))
        if len(values) > 1 or not value:
            share = count / len(occurrences)
            if value and share >= _DEFAULT_SHARE and count >= 3 and value[0] not in "[{":
                defaults.append((-share, index, value))
            else:
                varying.append(index)
    spread = _spread_hole(example, varying, occurrences)
    if spread is not None:
        varying = [index for index in varying if index != spread]
        varying += [*(index for _, index, _ in defaults), spread]
        defaults = []
    defaults.sort()
    varying += [index for _, index, _ in defaults]
    parameters = len(varying) + len(example.inputs)
    if not 1 <= parameters <= _MAX_PARAMETERS or (example.kind == "function" and varying):
        return None
    support = len({occurrence.source.task for occurrence in occurrences})
    given = tuple((index, value) for _, index, value in defaults)
    return Pattern(
        key, example.kind, occurrences, tuple(varying), support, given, symbols, spread is not None
    )


_LOOKERS = frozenset(
    {
        "len",
        "sum",
        "max",
        "min",
        "sorted",
        "set",
        "enumerate",
        "reversed",
        "zip",
        "any",
        "all",
        "list",
        "tuple",
    }
)


def _spread_hole(region: Region, varying: list[int], occurrences: list[Occurrence]) -> int | None:
    """The hole that always is a list, written out, that the region only looks at: it may as well be a tuple."""
    if region.kind == "function":
        return None
    for index in reversed(varying):
        lists = all(is_spreadable(place.region.holes[index]) for place in occurrences)
        if lists and _is_looked_at(region, region.holes[index]):
            return index
    return None


def is_spreadable(hole: ast.expr) -> bool:
    """A list of values, written out."""
    return isinstance(hole, ast.List) and is_literal(hole)


def _is_looked_at(region: Region, hole: ast.expr) -> bool:
    """Whether a literal is only read, measured, counted in and gone through; under a name too."""
    names = {
        stmt.targets[0].id
        for stmt in region.nodes
        if isinstance(stmt, ast.Assign) and stmt.value is hole and isinstance(stmt.targets[0], ast.Name)
    }
    if names & set(region.outputs):
        return False
    for root in region.nodes:
        for node in ast.walk(root):
            if isinstance(node, ast.Assign) and node.value is hole:
                continue
            for child in ast.iter_child_nodes(node):
                ours = child is hole or (isinstance(child, ast.Name) and child.id in names)
                if ours and not _looks(node, child):
                    return False
    return not isinstance(region.nodes[0], ast.expr) or region.nodes[0] is not hole


def _looks(node: ast.AST, child: ast.AST) -> bool:
    """Whether a node does nothing to a child that it could not do to a tuple."""
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id in _LOOKERS and child in node.args
    if isinstance(node, ast.Attribute):
        return node.attr in ("count", "index")
    if isinstance(node, ast.Subscript):
        return (
            node.value is child and isinstance(node.ctx, ast.Load) and not isinstance(node.slice, ast.Slice)
        )
    if isinstance(node, ast.Compare):
        return (
            isinstance(node.ops[0], ast.In | ast.NotIn) and child in node.comparators and len(node.ops) == 1
        )
    return isinstance(node, ast.For | ast.comprehension) and node.iter is child


def _value(hole: ast.expr) -> str:
    """A literal as text; empty for what is computed."""
    return ast.unparse(hole) if is_literal(hole) else ""


def fits(pattern: Pattern, holes: tuple[ast.expr, ...]) -> bool:
    """Whether a region of the pattern's shape also has the values that stayed constants."""
    varying = set(pattern.varying)
    if pattern.spread and not is_spreadable(holes[pattern.varying[-1]]):
        return False
    return all(
        index in varying or ast.unparse(holes[index]) == ast.unparse(hole)
        for index, hole in enumerate(pattern.example.holes)
    )


def definition_cost(pattern: Pattern) -> int:
    """Tokens of the tool itself: its body, its signature with types, its return."""
    example = pattern.example
    if pattern.kind == "function":
        return example.size + 3 * len(example.inputs) + 2
    parameters = len(pattern.varying) + len(example.inputs)
    body = sum(total_of(node) for node in example.nodes)
    body -= sum(total(example.holes[index]) - 1 for index in pattern.varying)
    outputs = 2 * len(example.outputs) if len(example.nodes) > 1 else 0
    return body + 12 + 4 * parameters + 2 * len(pattern.defaults) + outputs


def total_of(node: ast.AST) -> int:
    """Tokens of a statement or an expression."""
    return cost(ast.unparse(node)) if isinstance(node, ast.stmt) else total(node)
