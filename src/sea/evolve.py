"""The main job, and the only file that knows the order: read, mine, choose, observe, specify, generate, test, admit."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from sea import equivalence, observe, patterns, select, verify
from sea.box import Box, Lost
from sea.corpus import Corpus
from sea.funnel import Funnel, Say, Settings
from sea.gates.lab import Lab
from sea.ingest import read_traces
from sea.library import Library
from sea.proposed import add_proposed, name_better
from sea.trace import Intake, Trace
from sea.trial import dependencies, prepare, test

__all__ = [
    "Funnel",
    "Settings",
    "canonical",
    "drop_duplicates",
    "evolve",
    "evolve_from",
    "prepare",
    "split",
    "test",
]

HELD_OUT_IN = 3
"""One task of so many is held out."""


def canonical(traces: Sequence[Trace]) -> list[Trace]:
    """The traces in an order of what they hold, so that the order they were read in changes nothing.

    Ids and sources come last: both may name a line of a file, which moves when the file is shuffled.
    """
    return sorted(
        traces,
        key=lambda t: (t.task_id, t.problem, repr((t.steps, t.actions, t.status, t.correct)), t.id, t.source),
    )


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
    settings: Settings | None = None,
    *,
    box: Box | None = None,
    say: Say = lambda _: None,
) -> Funnel:
    """Read traces, find what recurs, and put what passes every gate into the library.

    Raises:
        BadInput: A file cannot be read; nothing was changed.
        NoSandbox: Nothing could be tested; nothing was changed.
        NoLibrary: The library's directory cannot take the tools.
    """
    settings = settings or Settings()
    with observe.span("ingest") as noted:
        intake = read_traces(paths, settings.limit)
        noted |= {"traces": len(intake.traces), "files": intake.files, "skipped": len(intake.skipped)}
    return evolve_from(intake, Corpus(), library, settings, box=box, say=say)


def evolve_from(
    intake: Intake,
    known: Corpus,
    library: Library,
    settings: Settings,
    *,
    box: Box | None = None,
    say: Say = lambda _: None,
) -> Funnel:
    """`evolve` for traces that were read; programs that the corpus knows are not looked at again, others are added.

    The library is the same whatever the corpus knows. Raises what `evolve` raises.
    """
    funnel = Funnel(intake)
    say(f"read {len(intake.traces)} traces of {intake.tasks} tasks from {intake.files} file(s)")
    for sentence in intake.skipped[:5]:
        say(f"skipped {sentence}")
    if len(intake.skipped) > 5:
        say(f"skipped {len(intake.skipped) - 5} more")
    with observe.span("mine", min_support=settings.min_support) as noted:
        train, held_out = (known.programs(side) for side in split(canonical(intake.traces), settings.seed))
        funnel.programs = len(train) + len(held_out)
        funnel.patterns = patterns.mine(train, settings.min_support)
        noted |= {"programs": funnel.programs, "patterns": len(funnel.patterns)}
    say(
        f"found {len(funnel.patterns)} patterns in {settings.min_support} or more tasks, among {len(train)} programs"
    )
    with observe.span("select") as noted:
        funnel.chosen = select.choose(funnel.patterns, [*train, *held_out], turned_away=funnel.idle)
        noted["chosen"] = len(funnel.chosen)
    for why, count in sorted(funnel.idle.items()):
        say(f"{count} patterns are not worth a tool: {why}")
    say(f"{len(funnel.chosen)} of them would save more tokens than they cost")
    with observe.span("specify") as noted:
        prepare(funnel, train, held_out, box or Box(), say)
        noted |= {"candidates": len(funnel.candidates), "not_observed": len(funnel.not_observed)}
    if settings.model is not None:
        with observe.span("propose names") as noted:
            noted["renamed"] = funnel.asked["names"] = name_better(funnel, settings.model, library, say)
    test(funnel, box or Box(), say, settings.model)
    if settings.model is not None:
        with observe.span("propose tools") as noted:
            add_proposed(funnel, (train, held_out), settings, library, box or Box(), say)
            funnel.asked |= {"calls": settings.model.calls, "failures": settings.model.failures}
            noted |= funnel.asked
    with observe.span("deduplicate") as noted:
        before = len(funnel.admitted)
        drop_duplicates(funnel, box or Box(), say)
        noted["dropped"] = before - len(funnel.admitted)
    with observe.span("admit", tools=len(funnel.admitted)):
        library.replace_all(funnel.admitted)
    say(f"{len(funnel.admitted)} tools entered the library")
    return funnel


def drop_duplicates(funnel: Funnel, box: Box, say: Say) -> None:
    """Of admitted tools that do the same the one that pays most stays; what cannot be compared goes too.

    Raises:
        NoSandbox: Nothing could be compared.
    """
    ranked = sorted(funnel.admitted, key=lambda pair: (-pair[1].saving, pair[0].spec.name))
    candidates = [candidate for candidate, _ in ranked]
    tools = [verify.as_tool(candidate) for candidate in candidates]
    for members in equivalence.groups(tools):
        lab = Lab(box, dependencies(*(candidates[number] for number in members)))
        try:
            found = [
                (members[same.kept], members[same.dropped], f"it does what {{}} does, on {same.calls} calls")
                for same in equivalence.duplicates([tools[number] for number in members], lab)
            ]
        except Lost as error:
            found = [(members[0], number, f"not told apart from {{}}: {error}") for number in members[1:]]
        for kept, dropped, why in found:
            detail = f"{why.format(candidates[kept].spec.name)}, which saves more"
            candidates[dropped].verdicts.append(verify.Verdict("duplicates", False, detail))
            say(f"  {candidates[dropped].spec.name}: turned away: {candidates[dropped].reason}")
