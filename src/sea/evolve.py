"""The main job, and the only file that knows the order: read, mine, choose, observe, specify, generate, test, admit."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sea import generate, patterns, rewrite, specify, verify
from sea.box import Box, Job, NoSandbox, Ran
from sea.ingest import read_traces
from sea.library import Library
from sea.patterns import Pattern, Source
from sea.trace import Intake, Trace

HELD_OUT_IN = 3
"""One task of so many is held out."""
_RUNS_PER_TOOL = 30
"""Programs per tool and side that are replayed."""
_MAX_OBSERVED = 200

Say = Callable[[str], None]


@dataclass
class Funnel:
    """What happened, stage by stage."""

    intake: Intake
    programs: int = 0
    patterns: list[Pattern] = field(default_factory=list)
    chosen: list[Pattern] = field(default_factory=list)
    candidates: list[tuple[verify.Candidate, Pattern]] = field(default_factory=list)
    not_observed: list[tuple[str, str]] = field(default_factory=list)
    """(tool, why) for drafts that never came as far as a specification."""

    @property
    def admitted(self) -> list[tuple[verify.Candidate, Pattern]]:
        """What entered the library."""
        return [(candidate, pattern) for candidate, pattern in self.candidates if candidate.admitted]


def split(traces: Sequence[Trace], seed: int) -> tuple[list[Trace], list[Trace]]:
    """Training and held-out traces; a task is on one side only, the same for the same seed."""
    train: list[Trace] = []
    held_out: list[Trace] = []
    for trace in traces:
        digest = hashlib.sha256(f"{seed}:{trace.task_id}".encode()).digest()
        (held_out if digest[0] % HELD_OUT_IN == 0 else train).append(trace)
    return train, held_out


def evolve(
    paths: Sequence[str | Path],
    library: Library,
    *,
    limit: int | None = None,
    seed: int = 0,
    min_support: int = 3,
    box: Box | None = None,
    say: Say = lambda _: None,
) -> Funnel:
    """Read traces, find what recurs, and put what passes every gate into the library.

    Raises:
        BadInput: A file cannot be read; nothing was changed.
        NoSandbox: Nothing could be tested; nothing was changed.
        NoLibrary: The library's directory cannot take the tools.
    """
    intake = read_traces(paths, limit)
    funnel = Funnel(intake)
    say(f"read {len(intake.traces)} traces of {intake.tasks} tasks from {intake.files} file(s)")
    for sentence in intake.skipped[:5]:
        say(f"skipped {sentence}")
    if len(intake.skipped) > 5:
        say(f"skipped {len(intake.skipped) - 5} more")
    train, held_out = (patterns.load(side) for side in split(intake.traces, seed))
    funnel.programs = len(train) + len(held_out)
    funnel.patterns = patterns.mine(train, min_support)
    say(f"found {len(funnel.patterns)} patterns in {min_support} or more tasks, among {len(train)} programs")
    funnel.chosen = patterns.choose(funnel.patterns, [*train, *held_out])
    say(f"{len(funnel.chosen)} of them would save more tokens than they cost")
    prepare(funnel, train, held_out, box or Box(), say)
    test(funnel, box or Box(), say)
    library.replace_all(funnel.admitted)
    say(f"{len(funnel.admitted)} tools entered the library")
    return funnel


def dependencies_of(programs: Sequence[Source]) -> list[str]:
    """Packages outside the standard library that the programs import and that are allowed."""
    imported = {name for program in programs for name in program.program.fixed}
    texts = {line for program in programs for line in program.trace.steps[program.step].prelude}
    code = "\n".join([*texts, *(program.trace.steps[program.step].code for program in programs)])
    return [name for name in ("numpy", "sympy") if name in code or name in imported]


def prepare(funnel: Funnel, train: list[Source], held_out: list[Source], box: Box, say: Say) -> None:
    """Replay programs that call the drafts, observe the calls, and specify."""
    taken: set[str] = set()
    drafts = [specify.draft(pattern, taken) for pattern in funnel.chosen]
    jobs: list[Job] = []
    owners: list[tuple[int, bool, Source]] = []
    for number, drafted in enumerate(drafts):
        code = generate.draft_code(drafted)
        for is_train, sources in ((True, train), (False, held_out)):
            for source in _where(drafted.pattern, sources):
                tool = {drafted.pattern.id: (drafted.name, drafted.pattern)}
                rewritten = rewrite.rewrite(source, tool)
                if rewritten is not None:
                    jobs.append(job_of(source, rewritten.text, code, (drafted.name,)))
                    owners.append((number, is_train, source))
    needed = dependencies_of([source for _, _, source in owners])
    say(f"replaying {len(jobs)} programs that call {len(drafts)} drafts, in sandboxes")
    ran = box.run_all(jobs, needed, lambda done: say(f"  {done}/{len(jobs)} programs"))
    by_draft: dict[int, list[tuple[bool, Source, Ran]]] = defaultdict(list)
    for (number, is_train, source), result in zip(owners, ran, strict=True):
        by_draft[number].append((is_train, source, result))
    for number, drafted in enumerate(drafts):
        _specify(funnel, drafted, by_draft[number])


def _where(pattern: Pattern, sources: list[Source]) -> list[Source]:
    """Programs the pattern was chosen for that are among `sources` and have a recorded result, one a task."""
    wanted = {id(source) for source in sources}
    found: dict[str, Source] = {}
    for occurrence in pattern.chosen_for:
        step = occurrence.source.trace.steps[occurrence.source.step]
        known = step.output is not None or step.answer is not None
        if id(occurrence.source) in wanted and known:
            found.setdefault(occurrence.source.task, occurrence.source)
    return list(found.values())[:_RUNS_PER_TOOL]


def job_of(source: Source, text: str, tools: str, record: tuple[str, ...] = ()) -> Job:
    """A program with its runtime's imports, ready to run with tools in scope."""
    step = source.trace.steps[source.step]
    return Job("\n".join([*step.prelude, text]), step.result_name, tools, record)


def reproduces(source: Source, ran: Ran) -> tuple[bool, str]:
    """Whether a run gave what the trace recorded, and if not, how it differs."""
    step = source.trace.steps[source.step]
    if not ran.ok:
        return False, ran.error
    if step.result_name is not None:
        return ran.answer == step.answer, f"gave {ran.answer!r:.80}, recorded is {step.answer!r:.80}"
    found = ran.output.rstrip()
    return found == step.output, f"printed {found!r:.80}, recorded is {step.output!r:.80}"


def _specify(funnel: Funnel, drafted: specify.Draft, runs: list[tuple[bool, Source, Ran]]) -> None:
    sides: dict[bool, list[tuple[str, bool, str]]] = {True: [], False: []}
    examples: list[specify.Example] = []
    for is_train, source, ran in runs:
        good, why = reproduces(source, ran)
        sides[is_train].append((source.task, good, "" if good else why))
        if good and is_train and len(examples) < _MAX_OBSERVED:
            examples += [specify.Example(given, result, source.trace.id) for _, given, result in ran.calls]
    try:
        spec = specify.specify(drafted, examples)
    except ValueError as error:
        failed = next((why for side in sides.values() for _, good, why in side if not good), str(error))
        funnel.not_observed.append((drafted.name, failed))
        return
    funnel.candidates.append((verify.Candidate(spec, sides[True], sides[False]), drafted.pattern))


def test(funnel: Funnel, box: Box, say: Say) -> None:
    """Every candidate through the gates; a sandbox lost on the way fails that candidate only."""
    for candidate, pattern in funnel.candidates:
        needed = [name for name in ("numpy", "sympy") if any(name in line for line in candidate.spec.imports)]
        try:
            verify.verify(candidate, box, needed)
        except NoSandbox as error:
            candidate.verdicts.append(verify.Verdict("sandbox", False, str(error)))
        verdict = "admitted" if candidate.admitted else f"turned away: {candidate.reason}"
        say(f"  {candidate.spec.name} (support {pattern.support}): {verdict} ({candidate.seconds:.2f} s)")
    for name, why in funnel.not_observed:
        say(f"  {name}: turned away: no call could be observed: {why[:160]}")
