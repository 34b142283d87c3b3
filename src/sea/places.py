"""Where a pattern stands, told for whole groups of programs of one shape; single places are made when asked for.

Counts over all places are sums over groups. Of a pattern with very many places the first ones count, in the order of
the programs. Which patterns there are is not decided here.
"""

import ast
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import overload

from sea.regions import Region
from sea.shapes import Number, filled
from sea.sources import At, Model, Occurrence, Source

MOST = 4000
"""Places that are kept of one pattern."""


@dataclass(eq=False)
class Group:
    """Programs of one shape."""

    model: Model
    sources: list[Source]
    """All programs that are mined, in order."""
    ranks: list[int] = field(default_factory=list)
    """Places of those of this shape among them."""
    _tasks: frozenset[str] | None = None
    _texts: dict[int, Callable[[tuple[Number, ...]], str]] = field(default_factory=dict)
    _values: dict[int, Counter[str]] = field(default_factory=dict)

    @property
    def tasks(self) -> frozenset[str]:
        """Their distinct tasks."""
        if self._tasks is None:
            self._tasks = frozenset(self.sources[rank].task for rank in self.ranks)
        return self._tasks

    def text(self, hole: ast.expr) -> Callable[[tuple[Number, ...]], str]:
        """What gives the text in a hole of the shape's trees."""
        found = self._texts.get(id(hole))
        if found is None:
            found = self._texts[id(hole)] = filled(hole)
        return found

    def values(self, hole: ast.expr) -> Counter[str]:
        """What stands in a hole, as texts, in how many of the programs."""
        found = self._values.get(id(hole))
        if found is None:
            text = self.text(hole)
            found = Counter(text(self.sources[rank].numbers) for rank in self.ranks)
            self._values[id(hole)] = found
        return found


Place = tuple[Group, Region, At]
"""A region of a group's shape."""


def groups_of(sources: list[Source]) -> list[Group]:
    """Programs in groups, in the order of their first ones."""
    found: dict[int, Group] = {}
    for rank, source in enumerate(sources):
        group = found.get(id(source.model))
        if group is None:
            group = found[id(source.model)] = Group(source.model, sources)
        group.ranks.append(rank)
    return list(found.values())


class Places(Sequence[Occurrence]):
    """The places of one pattern, in the order of the programs."""

    def __init__(self, places: list[Place]) -> None:
        self._places = places
        self._count = sum(len(group.ranks) for group, _, _ in places)
        self._made: list[Occurrence] | None = None
        self._first: Occurrence | None = None

    def __len__(self) -> int:
        return min(MOST, self._count)

    def __iter__(self) -> Iterator[Occurrence]:
        return iter(self._all())

    @overload
    def __getitem__(self, index: int) -> Occurrence: ...
    @overload
    def __getitem__(self, index: slice) -> list[Occurrence]: ...
    def __getitem__(self, index: int | slice) -> Occurrence | list[Occurrence]:
        if index == 0:
            return self._at_first()
        if index == slice(None, 1):
            return [self._at_first()]
        return self._all()[index]

    def _at_first(self) -> Occurrence:
        if self._first is None:
            group, region, at = min(self._places, key=lambda place: (place[0].ranks[0], place[2][:2]))
            self._first = Occurrence(group.sources[group.ranks[0]], region, at)
        return self._first

    def _all(self) -> list[Occurrence]:
        if self._made is None:
            ranked = [
                (rank, at[0], at[1], number)
                for number, (group, _, at) in enumerate(self._places)
                for rank in group.ranks[:MOST]
            ]
            ranked.sort()
            self._made = [
                Occurrence(self._places[number][0].sources[rank], *self._places[number][1:])
                for rank, _, _, number in ranked[:MOST]
            ]
        return self._made

    def shapes(self) -> dict[int, Region]:
        """The different regions, by identity."""
        if self._count > MOST:
            return {id(place.shape): place.shape for place in self._all()}
        return {id(region): region for _, region, _ in self._places}

    def tasks(self) -> int:
        """In how many distinct tasks they stand."""
        if self._count > MOST:
            return len({place.source.task for place in self._all()})
        return len(frozenset().union(*(group.tasks for group, _, _ in self._places)))

    def values(self, index: int) -> Counter[str]:
        """What stands in a hole, as texts, with how often; empty for what is computed."""
        found: Counter[str] = Counter()
        if self._count <= MOST:
            for group, region, _ in self._places:
                found.update(group.values(region.holes[index]))
            return found
        texts = {id(region): group.text(region.holes[index]) for group, region, _ in self._places}
        return Counter(texts[id(place.shape)](place.source.numbers) for place in self._all())

    def tokens(self) -> int:
        """Tokens of all of them together."""
        if self._count > MOST:
            return sum(place.shape.size for place in self._all())
        return sum(region.size * len(group.ranks) for group, region, _ in self._places)
