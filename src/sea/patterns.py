"""Mining: which regions recur over distinct tasks, and which of them are worth a tool.

Support counts distinct tasks, never traces. A pattern's holes become parameters where their values differ between tasks
and stay constants where they never do. Choosing is by description length: a pattern stays while what it saves, on tasks
it was not found in too, is more than it costs.
"""

import ast
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from sea.normalise import cost, inner_cost, parse, straighten
from sea.regions import Program, Region, regions, survey
from sea.trace import Trace

_MAX_PARAMETERS = 8
_EXAMPLES = 5
_CALL_OVERHEAD = 3
"""Name and parentheses."""


@dataclass(frozen=True)
class Source:
    """One program of one trace, parsed and straightened."""

    trace: Trace
    step: int
    program: Program
    size: int
    """Tokens of the original, normalised by unparsing."""

    @property
    def task(self) -> str:
        """What support is counted on."""
        return self.trace.task_id


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
    """Holes that become parameters."""
    support: int
    """Distinct tasks."""
    saving: int = 0
    """Tokens saved over the occurrences it was chosen for, its own cost taken off."""
    chosen_for: list[Occurrence] = field(default_factory=list)

    @property
    def example(self) -> Region:
        """The first occurrence's region."""
        return self.occurrences[0].region

    def call_cost(self, region: Region) -> int:
        """Tokens of the call that would stand in a region's place."""
        if self.kind == "function":
            return 0
        values = sum(inner_cost(region.holes[index]) for index in self.varying)
        count = len(self.varying) + len(region.inputs)
        outputs = 2 * len(region.outputs) + 1 if region.outputs else 0  # names, commas and =, the line's end
        return _CALL_OVERHEAD + values + len(region.inputs) + max(0, count - 1) + outputs

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
                found.append(Source(trace, index, survey(straighten(tree, keep), keep, preset), size))
            except (SyntaxError, ValueError, RecursionError):
                continue  # counted by the reader where it does not parse at all
    return found


def _imported(prelude: tuple[str, ...]) -> frozenset[str]:
    tree = ast.parse("\n".join(line for line in prelude if line.startswith(("import ", "from "))))
    aliases = [
        alias for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom) for alias in node.names
    ]
    return frozenset(alias.asname or alias.name.partition(".")[0] for alias in aliases)


def mine(sources: list[Source], min_support: int = 3) -> list[Pattern]:
    """Patterns with support of at least `min_support` distinct tasks, most supported first.

    Two passes: the first only counts keys, so that memory holds regions of frequent patterns alone.
    """
    tasks: dict[str, set[str]] = defaultdict(set)
    for source in sources:
        for region in regions(source.program):
            seen = tasks[region.key]
            if len(seen) < min_support:
                seen.add(source.task)
    frequent = {key for key, seen in tasks.items() if len(seen) >= min_support}
    places: dict[str, list[Occurrence]] = defaultdict(list)
    for source in sources:
        for region in regions(source.program):
            if region.key in frequent:
                places[region.key].append(Occurrence(source, region))
    patterns = [_pattern(key, occurrences) for key, occurrences in places.items()]
    usable = [pattern for pattern in patterns if pattern is not None]
    return sorted(usable, key=lambda pattern: (-pattern.support, -pattern.example.size, pattern.id))


def _pattern(key: str, occurrences: list[Occurrence]) -> Pattern | None:
    texts = [tuple(ast.unparse(hole) for hole in occurrence.region.holes) for occurrence in occurrences]
    varying = tuple(index for index in range(len(texts[0])) if len({text[index] for text in texts}) > 1)
    example = occurrences[0].region
    parameters = len(varying) + len(example.inputs)
    if not 1 <= parameters <= _MAX_PARAMETERS or (example.kind == "function" and varying):
        return None
    support = len({occurrence.source.task for occurrence in occurrences})
    return Pattern(key, example.kind, occurrences, varying, support)


def choose(patterns: list[Pattern], sources: list[Source], limit: int | None = None) -> list[Pattern]:
    """The patterns that pay, best first, each with the places it pays in; no two share a place.

    `sources` are the tasks the saving is counted on: those the patterns were found in and others.
    """
    by_key = {pattern.id: pattern for pattern in patterns}
    places: dict[str, list[Occurrence]] = defaultdict(list)
    for source in sources:
        for region in regions(source.program):
            pattern = by_key.get(region.key)
            if pattern is not None and fits(pattern, region):
                places[pattern.id].append(Occurrence(source, region))
    orders = (_by_total_saving, _by_single_saving)
    attempts = [_accept(order(by_key, places), by_key, places, limit) for order in orders]
    return max(attempts, key=lambda chosen: sum(pattern.saving for pattern in chosen))


def _by_total_saving(by_key: dict[str, Pattern], places: dict[str, list[Occurrence]]) -> list[str]:
    return sorted(places, key=lambda key: (-_value(by_key[key], places[key], defaultdict(list)), key))


def _by_single_saving(by_key: dict[str, Pattern], places: dict[str, list[Occurrence]]) -> list[str]:
    """Large computations first: what is left over goes to the small ones they are made of."""

    def mean(key: str) -> float:
        pattern = by_key[key]
        saved = [place.region.size - pattern.call_cost(place.region) for place in places[key]]
        return sum(saved) / len(saved)

    return sorted(places, key=lambda key: (-mean(key), key))


def _accept(
    order: list[str], by_key: dict[str, Pattern], places: dict[str, list[Occurrence]], limit: int | None
) -> list[Pattern]:
    """Patterns in this order that still pay in the places nobody before them has taken."""
    taken: dict[int, list[tuple[int, int]]] = defaultdict(list)
    chosen: list[Pattern] = []
    for key in order:
        if limit is not None and len(chosen) >= limit:
            break
        pattern = by_key[key]
        value = _value(pattern, places[key], taken)
        if value <= 0:
            continue
        free = _free(pattern, places[key], taken)
        for occurrence in free:
            taken[id(occurrence.source)].append(occurrence.region.span)
        chosen.append(replace(pattern, saving=value, chosen_for=free))
    return sorted(chosen, key=lambda pattern: (-pattern.saving, pattern.id))


def fits(pattern: Pattern, region: Region) -> bool:
    """Whether a region of the pattern's shape also has the values that stayed constants."""
    varying = set(pattern.varying)
    example = pattern.example
    return all(
        ast.unparse(region.holes[index]) == ast.unparse(hole)
        for index, hole in enumerate(example.holes)
        if index not in varying
    )


def _free(
    pattern: Pattern, found: list[Occurrence], taken: dict[int, list[tuple[int, int]]]
) -> list[Occurrence]:
    """Occurrences that overlap nothing taken and not each other, and whose call is shorter."""
    free: list[Occurrence] = []
    mine: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for occurrence in found:
        place, span = id(occurrence.source), occurrence.region.span
        if occurrence.region.size <= pattern.call_cost(occurrence.region):
            continue
        if not any(first <= span[1] and span[0] <= last for first, last in (*taken[place], *mine[place])):
            free.append(occurrence)
            mine[place].append(span)
    return free


def _value(pattern: Pattern, found: list[Occurrence], taken: dict[int, list[tuple[int, int]]]) -> int:
    free = _free(pattern, found, taken)
    per_task: Counter[str] = Counter()
    for occurrence in free:
        per_task[occurrence.source.task] += occurrence.region.size - pattern.call_cost(occurrence.region)
    if len(per_task) < 2:
        return 0
    return sum(per_task.values()) - definition_cost(pattern)


def definition_cost(pattern: Pattern) -> int:
    """Tokens of the tool itself: its body, its signature with types, its return."""
    example = pattern.example
    if pattern.kind == "function":
        return example.size
    parameters = len(pattern.varying) + len(example.inputs)
    return example.size + 7 + 4 * parameters
