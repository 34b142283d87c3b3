"""Where tools could stand in many programs, looked for once in all programs of one shape. Pure; nothing is executed.

What a tool at a place is given and whether its constants fit depends on a program's numbers: programs where that comes
out the same are one `Alike`. It gives exactly what looking at each program alone gives.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from sea.patterns import Occurrence, Pattern, Source
from sea.regions import Region
from sea.rewrite import Index, use_of
from sea.shapes import Number, filled
from sea.sources import At, Model
from sea.tile import Sites, Tiling, Use

Text = Callable[[tuple[Number, ...]], str]


@dataclass(eq=False)
class Alike:
    """Programs of one shape in which the same tools can stand, given as much."""

    sites: list[tuple[Sites, int]]
    """Of the forms that all tools together could shorten, in the trees of the shape, each with its tokens without."""
    size: int
    """Tokens of each program."""
    cost: int
    """Tokens with the tools taken so far."""
    tasks: Counter[str] = field(default_factory=Counter)
    """Programs of each task."""

    def with_tools(self, allowed: set[str]) -> int:
        """Tokens of each program with these tools; a form that none of them makes shorter is no program with tools."""
        prices = ((Tiling(sites, allowed).program(), without) for sites, without in self.sites)
        return min([self.size, *(price for price, without in prices if price < without)])

    def uses(self, allowed: set[str]) -> list[Use]:
        """The calls of the best way."""
        best, found = self.size, None
        for sites, without in self.sites:
            tiling = Tiling(sites, allowed)
            price = tiling.program()
            if price < min(best, without):
                best, found = price, tiling
        return [*found.chosen.values(), *found.calls.values()] if found is not None else []


@dataclass(eq=False)
class _Candidate:
    """A tool at a place of a shape, as far as numbers do not decide."""

    name: str
    pattern: Pattern
    region: Region
    at: At
    constants: list[tuple[Text, str]]
    """Holes that must have a value."""
    defaults: list[tuple[Text, str]]
    """Holes that need not be given when they have a value, the last first."""

    def dropped(self, numbers: tuple[Number, ...]) -> int:
        """How many of the last arguments need not be given; -1 when the tool does not fit."""
        if any(text(numbers) != value for text, value in self.constants):
            return -1
        for count, (text, value) in enumerate(self.defaults):
            if text(numbers) != value:
                return count
        return len(self.defaults)

    def use(self, dropped: int) -> Use:
        """The tool there, with so many arguments left out."""
        pattern, kept = self.pattern, len(self.pattern.varying) - dropped
        if pattern.spread:
            return use_of(self.name, pattern, self.region)
        if not kept and not self.region.inputs:
            kept = len(pattern.varying)
        plain = replace(pattern, varying=pattern.varying[:kept], defaults=())
        return use_of(self.name, plain, self.region)


class Reach:
    """Programs, put together where the same tools can stand in them."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._candidates: dict[int, tuple[list[_Candidate], list[_Candidate]]] = {}
        self._alike: dict[tuple[int, tuple[int, ...]], Alike] = {}
        self._places: dict[int, At] = {}

    def gather(self, sources: Iterable[Source]) -> list[Alike]:
        """For each program those it is like; the same object for all of them."""
        return [self._of(source) for source in sources]

    def occurrence(self, source: Source, use: Use) -> Occurrence:
        """A tool's place in one of the programs."""
        return Occurrence(source, use.region, self._places[id(use.region)])

    def _of(self, source: Source) -> Alike:
        model = source.model
        forms = self._candidates.get(id(model))
        if forms is None:
            forms = self._candidates[id(model)] = (self._read(model, True), self._read(model, False))
        found = tuple(one.dropped(source.numbers) for form in forms for one in form)
        alike = self._alike.get((id(model), found))
        if alike is None:
            alike = self._alike[id(model), found] = _alike(model, forms, found)
        alike.tasks[source.task] += 1
        return alike

    def _read(self, model: Model, strict: bool) -> list[_Candidate]:
        assert model.whose is not None
        found = []
        for name, pattern, region, at in self._index.matches(model.whose, strict):
            holes = region.holes
            constants = [(filled(holes[index]), value) for index, value in pattern.fixed()]
            defaults = [(filled(holes[index]), value) for index, value in reversed(pattern.defaults)]
            found.append(_Candidate(name, pattern, region, at, constants, defaults))
            self._places[id(region)] = at
        return found


def _alike(model: Model, forms: tuple[list[_Candidate], list[_Candidate]], dropped: tuple[int, ...]) -> Alike:
    sites = []
    counts = iter(dropped)
    for strict, form in zip((True, False), forms, strict=True):
        found = Sites(model.whole if strict else model.program, strict)
        for one in form:
            count = next(counts)
            if count >= 0:
                found.add(one.use(count))
        without = Tiling(found, set()).program()
        if Tiling(found, None).program() < min(model.size, without):
            sites.append((found, without))
    return Alike(sites, model.size, model.size)
