"""Mining: which regions recur over distinct tasks.

Support counts distinct tasks, never traces. A pattern's holes become parameters where their values differ between
tasks; the value most of them have becomes the default, and a value that never differs stays a constant. Which
patterns are worth a tool is decided in `select`.
"""

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from sea import cuts
from sea.collector import paused
from sea.normalise import cost, is_literal, walk
from sea.places import Group, Place, Places, groups_of
from sea.regions import Region, cut_region, regions
from sea.sources import Loader, Occurrence, Source
from sea.tokens import total
from sea.trace import Trace

__all__ = ["Occurrence", "Pattern", "Source", "load", "mine"]

_MAX_PARAMETERS = 8
_EXAMPLES = 5
_CALL_OVERHEAD = 3
"""Name and parentheses."""
_DEFAULT_SHARE = 0.25
"""A value that so many of the places have becomes the default."""


@dataclass
class Pattern:
    """A computation that recurs."""

    id: str
    kind: str
    occurrences: Sequence[Occurrence]
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
    constants: tuple[tuple[int, str], ...] | None = None
    """Values, as texts, of the holes that are no parameters; None: those of the first occurrence."""
    code: str = field(default="", init=False, repr=False, compare=False)
    """Text of its tool with names of one program, once somebody made it."""

    @property
    def example(self) -> Region:
        """The first occurrence's region."""
        return self.occurrences[0].region

    @property
    def outline(self) -> Region:
        """The same, maybe with the names and numbers of another program: at no cost."""
        return self.occurrences[0].shape

    def fixed(self) -> tuple[tuple[int, str], ...]:
        """Holes that are no parameters, and their values as texts."""
        if self.constants is not None:
            return self.constants
        varying = set(self.varying)
        holes = enumerate(self.example.holes)
        return tuple((index, ast.unparse(hole)) for index, hole in holes if index not in varying)

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
    found = {type(node) for root in region.nodes for node in walk(root)}
    if ast.JoinedStr in found:
        return "format_conversion"
    if ast.If in found or ast.Compare in found:
        return "validation"
    if ast.For in found or ast.ListComp in found or ast.DictComp in found:
        return "data_transform"
    return "computation" if ast.BinOp in found else "lookup" if ast.Subscript in found else "sequential_ops"


def load(traces: Iterable[Trace]) -> list[Source]:
    """Every program of the traces, ready for mining; one that cannot be walked (too deep) is left out."""
    return Loader().load(traces)


@paused()
def mine(sources: list[Source], min_support: int = 3) -> list[Pattern]:
    """Patterns with support of at least `min_support` distinct tasks, most supported first.

    Keys are counted first, so that memory holds places of frequent patterns alone; programs of one shape are looked
    at once. The order in which the programs came does not matter.
    """
    sources = sorted(sources, key=lambda source: (source.task, source.trace.id, source.step))
    groups = groups_of(sources)
    tasks: dict[str, set[str]] = defaultdict(set)
    for group in groups:
        for key in {region.key for program in group.model.forms() for region in regions(program)}:
            if len(tasks[key]) < min_support:
                tasks[key] |= group.tasks
    frequent = {key for key, seen in tasks.items() if len(seen) >= min_support}
    places: dict[str, list[Place]] = defaultdict(list)
    for group in groups:
        for form, program in enumerate(group.model.forms()):
            for number, region in enumerate(regions(program)):
                if region.key in frequent:
                    places[region.key].append((group, region, (form, number, ())))
    patterns = [_pattern(key, Places(found)) for key, found in places.items()]
    for found, symbols in _cuts(groups, min_support):
        places_of_cut = Places(found)
        patterns.append(_pattern(found[0][1].key, places_of_cut, symbols))
        patterns.append(_with_other_defaults(patterns[-1], places_of_cut))
    usable = [pattern for pattern in patterns if pattern is not None]
    return sorted(usable, key=lambda pattern: (-pattern.support, -pattern.outline.size, pattern.id))


def _cuts(groups: list[Group], least: int) -> Iterator[tuple[list[Place], tuple[str, ...]]]:
    roots: list[cuts.Root] = []
    owners: list[tuple[Group, int]] = []
    for group in groups:
        program, tasks = group.model.whole, frozenset(islice(group.tasks, least))
        for number, node in enumerate(cuts.expressions(walk(program.tree))):
            if id(node) not in program.specs:
                size = program.tokens(node)
                roots.append(cuts.Root(node, tasks, program.fixed, size, len(group.ranks)))
                owners.append((group, number))
    for cut in cuts.grow(roots, least):
        found: list[Place] = []
        for place, node, holes in cut.places:
            group, number = owners[place]
            region = cut_region(group.model.whole, node, holes, cut.symbols)
            found.append((group, region, (0, number, cut.symbols)))
        yield found, cut.symbols


def _pattern(key: str, occurrences: Places, symbols: tuple[str, ...] = ()) -> Pattern | None:
    example = occurrences[0].shape
    varying: list[int] = []
    defaults: list[tuple[float, int, str]] = []
    constants: list[tuple[int, str]] = []
    for index in range(len(example.holes)):  # of a function they are all constants
        values = occurrences.values(index)
        value, count = max(values.items(), key=lambda item: (item[1], item[0]))
        if len(values) > 1 or not value:
            share = count / len(occurrences)
            if value and share >= _DEFAULT_SHARE and count >= 3 and value[0] not in "[{":
                defaults.append((-share, index, value))
            else:
                varying.append(index)
        else:
            constants.append((index, value))
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
    support = occurrences.tasks()
    given = tuple((index, value) for _, index, value in defaults)
    found = Pattern(
        key, example.kind, occurrences, tuple(varying), support, given, symbols, spread is not None
    )
    found.constants = tuple(constants)
    return found


def _with_other_defaults(pattern: Pattern | None, places: Places) -> Pattern | None:
    """The same with the second most common values as defaults, where they are common too.

    Where two habits stand beside each other the tool for both is written with the one that other tools leave over.
    """
    if pattern is None or not pattern.defaults:
        return None
    others: list[tuple[int, str]] = []
    for index, value in pattern.defaults:
        counts = places.values(index)
        del counts[value]
        other, count = max(counts.items(), key=lambda item: (item[1], item[0]), default=("", 0))
        if not other or count < 3 or count < _DEFAULT_SHARE * len(places) or other[0] in "[{":
            return None
        others.append((index, other))
    return replace(pattern, id=f"{pattern.id}:2", defaults=tuple(others))


def shape_of(identifier: str) -> str:
    """The key of the regions that a pattern of this id stands for: patterns of one shape differ by their defaults."""
    return identifier.partition(":")[0]


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


def _spread_hole(region: Region, varying: list[int], occurrences: Places) -> int | None:
    """The hole that always is a list, written out, that the region only looks at: it may as well be a tuple."""
    if region.kind == "function":
        return None
    for index in reversed(varying):
        lists = all(is_spreadable(shape.holes[index]) for shape in occurrences.shapes().values())
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
        for node in walk(root):
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
    example = pattern.outline
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
