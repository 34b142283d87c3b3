"""Programs of traces, ready for mining: those that differ by names and numbers alone share one analysis.

A `Model` holds the normal forms of the first program of its shape. Of the others only their numbers are kept; their
own trees are made when somebody asks for them. So memory follows the number of shapes, not of programs. What is worth
a tool is not decided here.
"""

import ast
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

from sea import cuts
from sea.collector import paused
from sea.forms import near_form, whole_form
from sea.normalise import cost, parse, walk
from sea.regions import Program, Region, cut_region, regions, survey
from sea.shapes import Number, shape
from sea.trace import Step, Trace


@dataclass(eq=False)
class Model:
    """The two forms of one program, which stand for all programs of its shape."""

    program: Program
    """As it was written, but for values that were given a name and read once."""
    whole: Program
    """In its whole normal form."""
    size: int
    """Tokens of the original, normalised by unparsing."""
    whose: "Source | None" = None
    """The program it was made from."""

    def __getstate__(self) -> dict[str, object]:
        """Without the program it was made from."""
        return self.__dict__ | {"whose": None}

    def forms(self) -> tuple[Program, ...]:
        """The two forms, one when they are the same."""
        return (self.whole,) if self.program is self.whole else (self.whole, self.program)


@dataclass(eq=False)
class Source:
    """One program of one trace."""

    trace: Trace
    step: int
    model: Model
    numbers: tuple[Number, ...] = ()
    """Numbers of the program, by the slots that the constants of its model's trees have."""

    @property
    def task(self) -> str:
        """What support is counted on."""
        return self.trace.task_id

    @property
    def size(self) -> int:
        """Tokens of the original, normalised by unparsing."""
        return self.model.size

    @property
    def program(self) -> Program:
        """As it was written, but for values that were given a name and read once."""
        return self._forms.program

    @property
    def whole(self) -> Program:
        """In its whole normal form."""
        return self._forms.whole

    @cached_property
    def _forms(self) -> Model:
        """Its own trees."""
        if self.model.whose in (None, self):
            return self.model
        step = self.trace.steps[self.step]
        return _analysed(step, parse(step.code))

    @cached_property
    def statements(self) -> int:
        """Statements of the program as it was written, those of functions among them; imports and texts are none."""
        return sum(
            isinstance(node, ast.stmt)
            and not isinstance(node, ast.Import | ast.ImportFrom)
            and not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
            for node in walk(ast.parse(self.trace.steps[self.step].code))
        )

    @cached_property
    def places(self) -> "dict[At, Region]":
        """Regions of its own trees that were asked for."""
        return {}


At = tuple[int, int, tuple[str, ...]]
"""Where in the trees of a shape: form, number of the region or expression in it, and for a cut its symbols."""


@dataclass(frozen=True, slots=True, eq=False)
class Occurrence:
    """One place where a pattern stands."""

    source: Source
    shape: Region
    """The region, in the trees of the program itself or of one that differs by names and numbers alone."""
    at: At | None = None
    """None: `shape` is the program's own."""

    @property
    def region(self) -> Region:
        """The region in the program's own trees."""
        source = self.source
        if self.at is None or source.model.whose is source:
            return self.shape
        found = source.places.get(self.at)
        if found is None:
            found = source.places[self.at] = _region(source, self.at)
        return found


def _region(source: Source, at: At) -> Region:
    form, number, symbols = at
    program = source.program if form else source.whole
    if not symbols:
        return regions(program)[number]
    node = list(cuts.expressions(walk(program.tree)))[number]
    holes = cuts.match(symbols, node, program.fixed)
    assert holes is not None
    return cut_region(program, node, holes, symbols)


@dataclass
class Loader:
    """Turns traces into programs; what it has seen of shapes stays for those that come later."""

    models: dict[bytes, Model] = field(default_factory=dict)

    @paused()
    def load(self, traces: Iterable[Trace]) -> list[Source]:
        """Every program of the traces; one that cannot be walked (too deep) is left out."""
        found: list[Source] = []
        for trace in traces:
            for index, step in enumerate(trace.steps):
                try:
                    found.append(self._source(trace, index, step))
                except (SyntaxError, ValueError, RecursionError):
                    continue  # counted by the reader where it does not parse at all
        return found

    def _source(self, trace: Trace, index: int, step: Step) -> Source:
        tree = parse(step.code)
        names = imported(step.prelude)
        kept = () if step.result_name is None else (step.result_name,)
        key, numbers = shape(tree, step.code, (names, frozenset(kept)))
        model = self.models.get(key)
        if model is not None:
            return Source(trace, index, model, numbers)
        model = self.models[key] = _analysed(step, tree)
        model.whose = Source(trace, index, model, numbers)
        return model.whose


def _analysed(step: Step, tree: ast.Module) -> Model:
    keep = frozenset({step.result_name} if step.result_name else ())
    preset = imported(step.prelude)
    size = cost(ast.unparse(tree))
    whole = survey(whole_form(tree, keep), keep, preset)
    near = near_form(tree, keep)
    same = ast.dump(near) == ast.dump(whole.tree)
    return Model(whole if same else survey(near, keep, preset), whole, size)


@lru_cache(maxsize=256)
def imported(prelude: tuple[str, ...]) -> frozenset[str]:
    """Names that the import lines of a prelude bind."""
    tree = ast.parse("\n".join(line for line in prelude if line.startswith(("import ", "from "))))
    aliases = [
        alias for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom) for alias in node.names
    ]
    return frozenset(alias.asname or alias.name.partition(".")[0] for alias in aliases)
