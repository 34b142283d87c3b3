"""Which patterns are worth a tool: greedy, by description length, on programs of other tasks too. Pure.

The length of a set of tools is what the programs cost when they are written with them, plus what the tools cost. Each
step takes the tool that shortens it most, given those taken before; afterwards tools that others made superfluous go.
"""

import ast
import hashlib
import heapq
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

from sea.collector import paused
from sea.inline import is_empty
from sea.normalise import cost
from sea.patterns import Occurrence, Pattern, Source, definition_cost
from sea.places import Places
from sea.reach import Alike, Reach
from sea.rewrite import Index, code_of, is_skeleton, names_one_operation

MAX_CANDIDATES = 600
MAX_PROGRAMS = 3000
"""Of more programs than these a sample decides, by the hash of the task: the same whatever order they came in."""
_ROUNDS = 3


@paused()
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
    sources = _sample(sources)
    reach = Reach(index)
    scored = reach.gather(sources)
    where = _where(scored)
    prices = {key: price(pattern) for key, pattern in by_key.items()}
    search = _Search(where, prices, least_tasks, scale)
    taken = search.run(limit)
    best_uses = {id(one): one.uses(set(taken)) for one in scored}
    places: dict[str, list[Occurrence]] = defaultdict(list)
    for source, one in zip(sources, scored, strict=True):
        for use in best_uses[id(one)]:
            places[use.tool].append(reach.occurrence(source, use))
    return _explained(taken, by_key, places, prices)


@paused()
def length(patterns: list[Pattern], sources: list[Source]) -> float:
    """Tokens of the programs, written with all these tools where they are shorter then, and of the tools."""
    index = Index({pattern.id: (pattern.id, pattern) for pattern in patterns})
    scored = Reach(index).gather(_sample(sources))
    allowed = {pattern.id for pattern in patterns}
    tokens = {id(one): one.with_tools(allowed) for one in scored}
    scale = max(1.0, len(sources) / MAX_PROGRAMS)
    return scale * sum(tokens[id(one)] for one in scored) + sum(map(price, patterns))


def _sample(sources: list[Source]) -> list[Source]:
    if len(sources) <= MAX_PROGRAMS:
        return sources
    ranked = sorted(sources, key=lambda source: (_hash(source.task), source.trace.id, source.step))
    return ranked[:MAX_PROGRAMS]


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
    if isinstance(pattern.outline.nodes[0], ast.FormattedValue):
        return "it is a part of a text, not a value"
    why = is_empty(code_of(pattern))
    if why or not names_one_operation(pattern):
        return why
    skeletons: dict[int, bool] = {}
    tasks: set[str] = set()
    for place in pattern.occurrences:
        known = skeletons.get(id(place.shape))
        if known is None:
            owner = place.source.model.whose or place.source
            known = skeletons[id(place.shape)] = is_skeleton(owner, place.shape)
        if known:
            tasks.add(place.source.task)
    return "" if len(tasks) >= least_tasks else "it only names one operation"


_TYPED = 2
"""A colon or an arrow, and a type."""


def price(pattern: Pattern) -> int:
    """Tokens of a pattern's tool as it will be counted, each type taken for one."""
    arguments = 0 if pattern.kind == "function" else len(pattern.varying)
    return cost(code_of(pattern)) + _TYPED * (arguments + len(pattern.outline.inputs) + 1)


def _hash(task: str) -> bytes:
    return hashlib.blake2b(task.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def _promise(pattern: Pattern) -> int:
    """At most what a pattern could save."""
    places = pattern.occurrences
    tokens = places.tokens() if isinstance(places, Places) else sum(place.shape.size for place in places)
    saved = tokens - (3 + len(pattern.varying)) * len(places)
    return saved - definition_cost(pattern)


def _where(scored: list[Alike]) -> dict[str, list[Alike]]:
    found: dict[str, dict[int, Alike]] = defaultdict(dict)
    for one in {id(one): one for one in scored}.values():
        for sites, _ in one.sites:
            for places in (sites.expressions, sites.windows, sites.functions):
                for uses in places.values():
                    for use in uses:
                        found[use.tool][id(one)] = one
    return {tool: list(alike.values()) for tool, alike in found.items()}


class _Search:
    """Greedy search with old gains as bounds, repeated while it helps."""

    def __init__(
        self,
        where: dict[str, list[Alike]],
        prices: dict[str, int],
        least_tasks: int,
        scale: float,
    ) -> None:
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
        for one in self._where[key]:
            saved = one.cost - one.with_tools(allowed)
            if saved > 0:
                for task, programs in one.tasks.items():
                    per_task[task] += saved * programs
        if len(per_task) < self._least:
            return 0
        return sum(per_task.values()) - max(per_task.values()) - self._prices[key]

    def _take(self, key: str) -> None:
        self._taken.add(key)
        self._update(key)

    def _update(self, key: str) -> None:
        for one in self._where[key]:
            one.cost = one.with_tools(self._taken)

    def _prune(self, order: list[str]) -> int:
        """Take away, one by one, tools without which the whole is shorter."""
        removed = 0
        for key in list(order):
            rest = self._taken - {key}
            per_task: Counter[str] = Counter()
            for one in self._where[key]:
                lost = one.with_tools(rest) - one.cost
                if lost > 0:
                    for task, programs in one.tasks.items():
                        per_task[task] += lost * programs
            if self._scale * sum(per_task.values()) <= self._prices[key] or len(per_task) < self._least:
                self._taken = rest
                order.remove(key)
                self._update(key)
                removed += 1
        return removed


def _explained(
    taken: list[str], by_key: dict[str, Pattern], places: dict[str, list[Occurrence]], prices: dict[str, int]
) -> list[Pattern]:
    """Patterns with the places they are used in when all of them are there."""
    chosen = []
    for key in taken:
        saved = sum(max(1, place.shape.size - 3) for place in places[key]) - prices[key]
        chosen.append(replace(by_key[key], saving=saved, chosen_for=places[key]))
    return sorted(chosen, key=lambda pattern: (-pattern.saving, pattern.id))
