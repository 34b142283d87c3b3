"""Which patterns are worth a tool: greedy, by description length, on programs of other tasks too. Pure.

The length of a set of tools is what the programs cost when they are written with them, plus what the tools cost. Each
step takes the tool that shortens it most, given those taken before; afterwards tools that others made superfluous go.
"""

import ast
import hashlib
import heapq
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice

from sea.generate import draft_code
from sea.inline import is_empty
from sea.patterns import Occurrence, Pattern, Source, definition_cost
from sea.rewrite import Index, is_skeleton, names_one_operation, sites_of
from sea.specify import draft
from sea.tile import Sites, Tiling, Use

MAX_CANDIDATES = 600
MAX_PROGRAMS = 3000
"""Of more programs than these a sample decides, by the hash of the task: the same whatever order they came in."""
_ROUNDS = 3


@dataclass
class _Scored:
    """One program: where tools could stand in it, and what it costs now."""

    source: Source
    sites: list[Sites]
    cost: int
    used: Counter[str] = field(default_factory=Counter)

    def with_tools(self, allowed: set[str]) -> int:
        """Tokens with these tools."""
        return min([self.source.size, *(Tiling(sites, allowed).program() for sites in self.sites)])

    def uses(self, allowed: set[str]) -> list[Use]:
        """The calls of the best way."""
        best, found = self.source.size, None
        for sites in self.sites:
            tiling = Tiling(sites, allowed)
            price = tiling.program()
            if price < best:
                best, found = price, tiling
        return [*found.chosen.values(), *found.calls.values()] if found is not None else []


def choose(
    patterns: list[Pattern],
    sources: list[Source],
    limit: int | None = None,
    least_tasks: int = 3,
    turned_away: Counter[str] | None = None,
) -> list[Pattern]:
    """The patterns that pay, best first, each with the places it pays in.

    `sources` are the tasks the saving is counted on: those the patterns were found in and others. A pattern that pays
    in fewer than `least_tasks` of them is not worth a tool, nor one that does nothing of its own; `turned_away` gets
    the reasons of those, with how many there were.
    """
    promising = sorted(patterns, key=lambda pattern: (-_promise(pattern), pattern.id))
    best = list(islice(_working(promising, least_tasks, turned_away), MAX_CANDIDATES))
    by_key = {pattern.id: pattern for pattern in best}
    index = Index({pattern.id: (pattern.id, pattern) for pattern in best})
    scale = max(1.0, len(sources) / MAX_PROGRAMS)
    if scale > 1:
        sources = sorted(sources, key=lambda source: (_hash(source.task), source.trace.id, source.step))[
            :MAX_PROGRAMS
        ]
    scored = [_Scored(source, _within_reach(source, index), source.size) for source in sources]
    where = _where(scored)
    prices = {key: definition_cost(pattern) for key, pattern in by_key.items()}
    search = _Search(scored, where, prices, least_tasks, scale)
    taken = search.run(limit)
    return _explained(taken, by_key, scored, prices)


def _working(
    patterns: list[Pattern], least_tasks: int, turned_away: Counter[str] | None
) -> Iterator[Pattern]:
    """Patterns whose tools would do something of their own."""
    for pattern in patterns:
        why = _idle(pattern, least_tasks)
        if not why:
            yield pattern
        elif turned_away is not None:
            turned_away[why] += 1


def _idle(pattern: Pattern, least_tasks: int) -> str:
    """Why a pattern's tool would do nothing of its own; empty when it would."""
    if isinstance(pattern.example.nodes[0], ast.FormattedValue):
        return "it is a part of a text, not a value"
    why = is_empty(draft_code(draft(replace(pattern, occurrences=pattern.occurrences[:1]), set())))
    if why or not names_one_operation(pattern):
        return why
    tasks = {place.source.task for place in pattern.occurrences if is_skeleton(place.source, place.region)}
    return "" if len(tasks) >= least_tasks else "it only names one operation"


def _hash(task: str) -> bytes:
    return hashlib.blake2b(task.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def _within_reach(source: Source, index: Index) -> list[Sites]:
    """The forms of a program that all tools together could shorten."""
    found = list(sites_of(source, index))
    return [sites for sites in found if Tiling(sites, None).program() < source.size]


def _promise(pattern: Pattern) -> int:
    """At most what a pattern could save."""
    saved = sum(place.region.size - 3 - len(pattern.varying) for place in pattern.occurrences)
    return saved - definition_cost(pattern)


def _where(scored: list[_Scored]) -> dict[str, list[int]]:
    found: dict[str, dict[int, None]] = defaultdict(dict)
    for number, one in enumerate(scored):
        for sites in one.sites:
            for places in (sites.expressions, sites.windows, sites.functions):
                for uses in places.values():
                    for use in uses:
                        found[use.tool][number] = None
    return {tool: list(numbers) for tool, numbers in found.items()}


class _Search:
    """Greedy search with old gains as bounds, repeated while it helps."""

    def __init__(
        self,
        scored: list[_Scored],
        where: dict[str, list[int]],
        prices: dict[str, int],
        least_tasks: int,
        scale: float,
    ) -> None:
        self._scored = scored
        self._where = where
        self._prices = prices
        self._least = least_tasks
        self._scale = scale
        self._taken: set[str] = set()

    def run(self, limit: int | None) -> list[str]:
        """Tools, in the order they were taken."""
        order: list[str] = []
        for _ in range(_ROUNDS):
            added = self._grow(limit, order)
            removed = self._prune(order)
            if not added or removed == added:
                break
        return order

    def _grow(self, limit: int | None, order: list[str]) -> int:
        heap = [(-self._gain(key), key) for key in sorted(self._where) if key not in self._taken]
        heapq.heapify(heap)
        added = 0
        while heap and (limit is None or len(order) < limit):
            old, key = heapq.heappop(heap)
            if old >= 0:
                break
            gain = self._gain(key)
            if gain <= 0:
                continue
            if heap and gain < -heap[0][0]:
                heapq.heappush(heap, (-gain, key))
                continue
            self._take(key)
            order.append(key)
            added += 1
        return added

    def _gain(self, key: str) -> float:
        """Tokens saved by one more tool, its own taken off; what the best task alone brings does not count."""
        allowed = self._taken | {key}
        per_task: Counter[str] = Counter()
        for number in self._where[key]:
            one = self._scored[number]
            saved = one.cost - one.with_tools(allowed)
            if saved > 0:
                per_task[one.source.task] += saved
        if len(per_task) < self._least:
            return 0
        return sum(per_task.values()) - max(per_task.values()) - self._prices[key]

    def _take(self, key: str) -> None:
        self._taken.add(key)
        self._update(key)

    def _update(self, key: str) -> None:
        for number in self._where[key]:
            self._scored[number].cost = self._scored[number].with_tools(self._taken)

    def _prune(self, order: list[str]) -> int:
        """Take away, one by one, tools without which the whole is shorter."""
        removed = 0
        for key in list(order):
            rest = self._taken - {key}
            per_task: Counter[str] = Counter()
            for number in self._where[key]:
                one = self._scored[number]
                lost = one.with_tools(rest) - one.cost
                if lost > 0:
                    per_task[one.source.task] += lost
            if self._scale * sum(per_task.values()) <= self._prices[key] or len(per_task) < self._least:
                self._taken = rest
                order.remove(key)
                self._update(key)
                removed += 1
        return removed


def _explained(
    taken: list[str], by_key: dict[str, Pattern], scored: list[_Scored], prices: dict[str, int]
) -> list[Pattern]:
    """Patterns with the places they are used in when all of them are there."""
    allowed = set(taken)
    places: dict[str, list[Occurrence]] = defaultdict(list)
    for one in scored:
        for use in one.uses(allowed):
            places[use.tool].append(Occurrence(one.source, use.region))
    chosen = []
    for key in taken:
        saved = sum(max(1, place.region.size - 3) for place in places[key]) - prices[key]
        chosen.append(replace(by_key[key], saving=saved, chosen_for=places[key]))
    return sorted(chosen, key=lambda pattern: (-pattern.saving, pattern.id))
