"""What a library is worth on programs of other tasks, counted so that nothing but tools can earn.

Cost is the number of tokens of the printed program without comments and docstrings, a text costing one per four
characters; every tool of the library counts, used or not. A rewrite counts when, executed in a sandbox, it gives what
was recorded, does what the original does when the program's numbers are changed, and with its calls inlined is the
original again (`inline`). One that gives something else is an error and counts as unchanged, as does one that proves
nothing.
"""

import ast
import hashlib
import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from sea.box import Box, Job, Ran
from sea.driver import LATE
from sea.forms import without_unused_imports
from sea.inline import GivenBack, Place, Tool, given_back
from sea.normalise import cost, parse
from sea.patterns import Pattern, Source
from sea.rewrite import Index, Rewritten, rewrite

CHANGES = 5
_PATIENCE = 4
"""Times the deadline that a run may take before it counts as one that does not end."""
TEST, VALIDATION = 8, 2
"""Of sixteen tasks so many are for the test, so many more for validation; the rest is for training."""


@dataclass(frozen=True)
class Shelved:
    """A tool of a library."""

    name: str
    code: str
    pattern: Pattern


@dataclass
class Score:
    """Tokens before and after, and what became of every program."""

    programs: int = 0
    before: int = 0
    after: int = 0
    library: int = 0
    tools: int = 0
    rewritten: int = 0
    unproven: int = 0
    """Could be rewritten, but nothing is recorded to compare with."""
    errors: list[str] = field(default_factory=list)
    """Rewrites that gave something else than was recorded, or did something else with other numbers."""
    not_given_back: list[str] = field(default_factory=list)
    """Rewrites that were not counted: inlined they are not the original."""
    used: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Tool to the tasks it is used in."""

    @property
    def ratio(self) -> float:
        """Times shorter, the whole library included."""
        return self.before / (self.after + self.library) if self.before else 1.0

    def share_used(self, times: int) -> float:
        """Share of the tools that were used in at least so many tasks."""
        return sum(len(tasks) >= times for tasks in self.used.values()) / self.tools if self.tools else 1.0


def side(task: str, seed: int) -> str:
    """ "train", "validation" or "test": the same for the same seed, one side for a task."""
    number = hashlib.sha256(f"{seed}:{task}".encode()).digest()[0] % 16
    return "test" if number < TEST else "validation" if number < TEST + VALIDATION else "train"


def sides(sources: Iterable[Source], seed: int) -> dict[str, list[Source]]:
    """Programs by side."""
    found: dict[str, list[Source]] = {"train": [], "validation": [], "test": []}
    for source in sources:
        found[side(source.task, seed)].append(source)
    return found


@dataclass
class _Try:
    source: Source
    made: Rewritten
    back: GivenBack
    jobs: list[Job]
    """The rewrite; then original and rewrite with other numbers, in turn."""


def score(test: Sequence[Source], library: Sequence[Shelved], box: Box, seed: int = 0) -> Score:
    """Rewrite the programs of a test side and prove every rewrite.

    Raises:
        NoSandbox: Nothing could be executed.
    """
    result = Score(len(test), library=sum(cost(stripped(tool.code)) for tool in library), tools=len(library))
    index = Index({tool.pattern.id: (tool.name, tool.pattern) for tool in library})
    taken_apart = {tool.name: Tool(tool.code) for tool in library}
    code = {tool.name: tool.code for tool in library}
    tries: list[_Try] = []
    for source in test:
        result.before += source.size
        result.after += source.size
        made = rewrite(source, index)
        if made is not None:
            _prepare(result, source, made, taken_apart, code, tries, seed)
    _run(result, tries, box)
    return result


def stripped(code: str) -> str:
    """A tool's text as its cost is counted: printed, without docstring."""
    return ast.unparse(parse(code))


def _prepare(
    result: Score,
    source: Source,
    made: Rewritten,
    tools: dict[str, Tool],
    code: dict[str, str],
    tries: list[_Try],
    seed: int,
) -> None:
    step = source.trace.steps[source.step]
    if step.answer is None and step.output is None:
        result.unproven += 1
        return
    used = {name: tools[name] for name in made.tools}
    back = given_back(step.code, made.text, used, source.program.keep, step.prelude)
    if isinstance(back, str):
        result.not_given_back.append(f"{source.trace.id}: {back}")
        return
    scope = "\n".join(code[name] for name in made.tools)
    jobs = [job_of(source, made.text, scope)]
    for number in range(CHANGES):
        original, rewritten = changed(step.code, made.text, back, f"{seed}:{source.trace.id}:{number}")
        jobs += [job_of(source, original, ""), job_of(source, rewritten, scope)]
    tries.append(_Try(source, made, back, jobs))


def job_of(source: Source, text: str, tools: str, record: tuple[str, ...] = ()) -> Job:
    """A program with its runtime's imports, ready to run with tools in scope."""
    step = source.trace.steps[source.step]
    return Job("\n".join([*step.prelude, text]), step.result_name, tools, record)


def _run(result: Score, tries: list[_Try], box: Box) -> None:
    needed = dependencies_of([one.source for one in tries])
    found = run_patiently([one.jobs for one in tries], box, needed)
    for one, ended in zip(tries, found, strict=True):
        good, why = reproduces(one.source, ended[0])
        for number, (original, rewritten) in enumerate(zip(ended[1::2], ended[2::2], strict=True)):
            if good and _outcome(original) != _outcome(rewritten):
                good, why = (
                    False,
                    f"with other numbers ({number}) {_outcome(rewritten)} is not {_outcome(original)}",
                )
        if not good:
            result.errors.append(f"{one.source.trace.id}: {why}")
            continue
        result.rewritten += 1
        result.after += cost(one.made.text) - one.source.size
        for name in one.made.tools:
            result.used[name].add(one.source.task)


def run_patiently(
    groups: Sequence[Sequence[Job]], box: Box, dependencies: Sequence[str] = ()
) -> list[list[Ran]]:
    """Run groups of programs, in each one that stands alone and pairs that are compared.

    One that is late, where the one it is compared with is not, is given more time: that is no difference yet.

    Raises:
        NoSandbox: Nothing could be executed.
    """
    ran = iter(box.run_all([job for jobs in groups for job in jobs], dependencies))
    found = [[next(ran) for _ in jobs] for jobs in groups]
    late = [
        (ended, number, replace(job, limit_s=_PATIENCE * job.limit_s))
        for jobs, ended in zip(groups, found, strict=True)
        for number, job in enumerate(jobs)
        if ended[number].error == LATE
        and (number == 0 or ended[number + 1 if number % 2 else number - 1].error != LATE)
    ]
    for (ended, number, _), again in zip(
        late, box.run_all([job for *_, job in late], dependencies), strict=True
    ):
        ended[number] = again
    return found


def _outcome(ran: Ran) -> tuple[bool, str, str]:
    """What two runs must have in common; of an error its kind."""
    return (True, ran.output, ran.answer or "") if ran.ok else (False, "", ran.error.partition(":")[0])


def reproduces(source: Source, ran: Ran) -> tuple[bool, str]:
    """Whether a run gave what the trace recorded, and if not, how it differs."""
    step = source.trace.steps[source.step]
    if not ran.ok:
        return False, ran.error
    if step.result_name is not None:
        return ran.answer == step.answer, f"gave {ran.answer!r:.80}, recorded is {step.answer!r:.80}"
    found = ran.output.rstrip()
    return found == step.output, f"printed {found!r:.80}, recorded is {step.output!r:.80}"


def dependencies_of(programs: Sequence[Source]) -> list[str]:
    """Packages outside the standard library that the programs import and that are allowed."""
    imported = {name for program in programs for name in program.program.fixed}
    texts = {line for program in programs for line in program.trace.steps[program.step].prelude}
    code = "\n".join([*texts, *(program.trace.steps[program.step].code for program in programs)])
    return [name for name in ("numpy", "sympy") if name in code or name in imported]


def changed(original: str, rewritten: str, back: GivenBack, seed: str) -> tuple[str, str]:
    """Both programs with other numbers, the same in both: each number of the rewrite, wherever it came from."""
    group: dict[_Where, _Where] = {}
    for here, there in back.numbers:
        one, other = _root(group, ("original", here)), _root(group, ("rewritten", there))
        if one != other:
            group[one] = other
    places = [("original", here) for here, _ in back.numbers] + [
        ("rewritten", there) for _, there in back.numbers
    ]
    seeds = {where: f"{seed}:{_root(group, where)}" for where in places}
    return _with_numbers(original, "original", seeds), _with_numbers(rewritten, "rewritten", seeds)


_Where = tuple[str, Place]


def _root(group: dict[_Where, _Where], key: _Where) -> _Where:
    while group.get(key, key) != key:
        key = group[key]
    return key


def _with_numbers(text: str, which: str, seeds: dict[_Where, str]) -> str:
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and type(node.value) in (int, float):
            found = seeds.get((which, (node.lineno, node.col_offset)))
            if found is not None:
                node.value = other_number(node.value, random.Random(found))  # type: ignore[arg-type] # noqa: S311
    tree.body = without_unused_imports(tree.body)  # they only take time
    return ast.unparse(tree)


def other_number(value: float, rng: random.Random) -> float:
    """Another number of the same type and about the same size, never negative."""
    if isinstance(value, float):
        return round(value * rng.choice((0.5, 1.5, 2.0, 3.0)) + rng.choice((0.0, 0.25, 1.0)), 4)
    step = rng.choice((1, 1, 2, 3, 5))
    return value - step if value > step and rng.random() < 0.5 else value + step
