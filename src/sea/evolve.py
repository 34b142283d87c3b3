"""The main job, and the only file that knows the order: read, mine, choose, observe, specify, generate, test, admit."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sea import (
    equivalence,
    generate,
    observe,
    patterns,
    propose,
    propose_merge,
    propose_tools,
    rewrite,
    score,
    select,
    specify,
    verify,
)
from sea.box import Box, Lost, NoSandbox, Ran
from sea.corpus import Corpus
from sea.gates.lab import Lab
from sea.ingest import read_traces
from sea.library import Library
from sea.model import MOST_CALLS, Model
from sea.originals import raw_original
from sea.patterns import Pattern, Source
from sea.places import Group, groups_of
from sea.trace import Intake, Trace

HELD_OUT_IN = 3
"""One task of so many is held out."""
_RUNS_PER_TOOL = 30
"""Programs per tool and side that are replayed."""
_MAX_OBSERVED = 200
_MOST_NAMED = MOST_CALLS // 2
"""Candidates that a model is asked to name: the other calls are left for code."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Settings:
    """What one evolution is to do; what it finds follows from these, from the traces, and from a model's answers."""

    seed: int = 0
    min_support: int = 3
    """Distinct tasks in which a region must recur."""
    limit: int | None = None
    """Traces that are read at most; None: all."""
    model: Model | None = None
    """Asked for names, and for other code where a gate turns a tool away; None: nobody is."""


@dataclass
class Funnel:
    """What happened, stage by stage."""

    intake: Intake
    programs: int = 0
    patterns: list[Pattern] = field(default_factory=list)
    idle: Counter[str] = field(default_factory=Counter)
    """Why patterns would make tools that do nothing of their own, and how many of them."""
    chosen: list[Pattern] = field(default_factory=list)
    candidates: list[tuple[verify.Candidate, Pattern]] = field(default_factory=list)
    not_observed: list[tuple[str, str]] = field(default_factory=list)
    """(tool, why) for drafts that never came as far as a specification."""
    replayed: dict[str, tuple[list[Source], list[Source]]] = field(default_factory=dict)
    """Programs of training and held out that each pattern's tool is replayed in, by the pattern's id."""
    own_code: dict[str, str] = field(default_factory=dict)
    """What a model has written with a proposal, by the pattern's id: tried first where a gate turns the tool away."""
    asked: dict[str, int] = field(default_factory=dict)
    """What became of asking a model, in words of the event log; empty without one."""

    @property
    def admitted(self) -> list[tuple[verify.Candidate, Pattern]]:
        """What entered the library."""
        return [(candidate, pattern) for candidate, pattern in self.candidates if candidate.admitted]


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


def prepare(
    funnel: Funnel,
    train: list[Source],
    held_out: list[Source],
    box: Box,
    say: Say,
    others: Collection[str] = (),
) -> None:
    """Replay programs that call the drafts, observe the calls, and specify; `others` are names in use.

    Every program is written with all drafts at once, as it will be with the library. Where one then gives something
    else, it is written with each of its drafts alone to see whose fault that is; if that does not tell, it is theirs.
    """
    taken = set(others)
    drafts = {pattern.id: specify.draft(pattern, taken) for pattern in funnel.chosen}
    index = rewrite.Index({key: (drafted.name, drafted.pattern) for key, drafted in drafts.items()})
    funnel.replayed = {one.id: (_where(one, train), _where(one, held_out)) for one in funnel.chosen}
    programs = list(
        {
            id(source): source for sides in funnel.replayed.values() for side in sides for source in side
        }.values()
    )
    runs = _replay(programs, index, {one.name: generate.draft_code(one) for one in drafts.values()}, box, say)
    suspects = [(source, made.tools) for source, made, ran in runs if not score.reproduces(source, ran)[0]]
    blamed = _blame([(source, tools) for source, tools in suspects if len(tools) > 1], drafts, box, say)
    by_tool: dict[str, list[tuple[bool, Source, Ran, bool]]] = defaultdict(list)
    is_train = {id(source) for source in train}
    for source, made, ran in runs:
        for name in made.tools:
            guilty = name in blamed.get(id(source), made.tools)
            by_tool[name].append((id(source) in is_train, source, ran, guilty))
    for drafted in drafts.values():
        _specify(funnel, drafted, by_tool[drafted.name])


def _replay(
    programs: list[Source], index: rewrite.Index, code: Mapping[str, str], box: Box, say: Say
) -> list[tuple[Source, rewrite.Rewritten, Ran]]:
    made = [(source, rewritten) for source in programs if (rewritten := rewrite.rewrite(source, index))]
    jobs = [
        score.job_of(
            source, rewritten.text, "\n".join(code[name] for name in rewritten.tools), rewritten.tools
        )
        for source, rewritten in made
    ]
    say(f"replaying {len(jobs)} programs that call {len(code)} drafts, in sandboxes")
    needed = score.dependencies_of([source for source, _ in made])
    ran = box.run_all(jobs, needed, lambda done: say(f"  {done}/{len(jobs)} programs"))
    return [(source, rewritten, result) for (source, rewritten), result in zip(made, ran, strict=True)]


def _blame(
    suspects: list[tuple[Source, tuple[str, ...]]], drafts: dict[str, specify.Draft], box: Box, say: Say
) -> dict[int, set[str]]:
    """For programs that went wrong with several drafts: those that are wrong alone too."""
    found: dict[int, set[str]] = {}
    if not suspects:
        return found
    for key, drafted in drafts.items():
        concerned = [source for source, names in suspects if drafted.name in names]
        alone = rewrite.Index({key: (drafted.name, drafted.pattern)})
        code = {drafted.name: generate.draft_code(drafted)}
        for source, _, ran in _replay(concerned, alone, code, box, say) if concerned else ():
            if not score.reproduces(source, ran)[0]:
                found.setdefault(id(source), set()).add(drafted.name)
    return found


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


def _specify(funnel: Funnel, drafted: specify.Draft, runs: list[tuple[bool, Source, Ran, bool]]) -> None:
    sides: dict[bool, list[tuple[str, bool, str]]] = {True: [], False: []}
    examples: list[specify.Example] = []
    for is_train, source, ran, guilty in runs:
        good, why = score.reproduces(source, ran)
        if good or guilty:
            sides[is_train].append((source.task, good, "" if good else why))
        if good and is_train and len(examples) < _MAX_OBSERVED:
            examples += [
                specify.Example(given, result, source.trace.id)
                for name, given, result in ran.calls
                if name == drafted.name
            ]
    try:
        spec = specify.specify(drafted, examples)
    except ValueError as error:
        failed = next((why for side in sides.values() for _, good, why in side if not good), str(error))
        funnel.not_observed.append((drafted.name, failed))
        return
    original = raw_original(drafted)
    candidate = verify.Candidate(spec, sides[True], sides[False], original=original)
    funnel.candidates.append((candidate, drafted.pattern))


def name_better(funnel: Funnel, model: Model, library: Library, say: Say) -> int:
    """Ask for a better name for every candidate; how many have one. What they compute stays as it is."""
    taken = {candidate.spec.name for candidate, _ in funnel.candidates}
    count = 0
    for candidate, _ in funnel.candidates[:_MOST_NAMED]:
        answer = model.ask("names", *propose.names_prompt(candidate.spec))
        found = None if answer is None else propose.renamed(candidate.spec, answer, taken)
        if found is not None and not library.is_foreign(found.name):
            say(f"  {candidate.spec.name} is called {found.name}, as {model.name} proposes")
            taken.add(found.name)
            candidate.spec = found
            candidate.proposed += (f"names by {model.name}",)
            count += 1
    return count


def _proposals(
    funnel: Funnel, groups: list[Group], settings: Settings, model: Model
) -> tuple[dict[str, propose_tools.Proposal], list[str]]:
    """What a model proposes that the programs compute, by the pattern's id, and why the rest is nothing."""
    found: dict[str, propose_tools.Proposal] = {}
    refused: list[str] = []
    known = [candidate.spec for candidate, _ in funnel.admitted]
    for number in range(propose_tools.ROUNDS):
        shown = propose_tools.shown(groups, number)
        answer = model.ask("tools", *propose_tools.prompt(shown, known)) if shown else None
        if answer is not None:
            some, others = propose_tools.proposals(answer, groups, settings.min_support)
            found |= {one.pattern.id: one for one in some}
            refused += others
    return found, refused


def add_proposed(
    funnel: Funnel,
    sides: tuple[list[Source], list[Source]],
    settings: Settings,
    library: Library,
    box: Box,
    say: Say,
) -> None:
    """Tools that a model proposes beside those that were mined: chosen, observed and tested as these are.

    A proposal that fails takes nothing away: what was mined gives way only to what has passed every gate.
    """
    model = settings.model
    assert model is not None
    groups = groups_of(sides[0])
    mined = [pattern for _, pattern in funnel.admitted]
    found, refused = _proposals(funnel, groups, settings, model)
    for why in refused:
        say(f"  a tool that {model.name} proposes is none: {why}")
    fresh = [one.pattern for one in found.values() if not propose_tools.is_known(one.pattern, mined)]
    funnel.asked |= {"tools proposed": len(found) + len(refused), "tools found in traces": len(fresh)}
    if not fresh:
        return
    chosen = select.choose([*mined, *fresh], [*sides[0], *sides[1]])
    more = Funnel(funnel.intake, chosen=[pattern for pattern in chosen if pattern.id in found])
    if not more.chosen:
        say(f"no tool that {model.name} proposes would save more tokens than it costs")
        return
    taken = {candidate.spec.name for candidate, _ in funnel.candidates}
    prepare(more, *sides, box, say, taken)
    for candidate, pattern in more.candidates:
        spec = found[pattern.id].named(candidate.spec, taken)
        candidate.spec = candidate.spec if library.is_foreign(spec.name) else spec
        candidate.proposed += (f"the tool by {model.name}",)
        taken |= {candidate.spec.name}
        code = found[pattern.id].code
        if code and propose.recoded(candidate.spec, code) is not None:
            more.own_code[pattern.id] = code
    test(more, box, say, model)
    funnel.chosen += more.chosen
    funnel.candidates += more.candidates
    funnel.not_observed += more.not_observed
    funnel.asked |= {"tools tested": len(more.candidates), "tools admitted": len(more.admitted)}
    if more.admitted:
        going, left = propose_merge.giving_way(
            funnel.admitted,
            [pattern.id for pattern in more.chosen],
            [*sides[0], *sides[1]],
            lambda *ones: Lab(box, _dependencies(*ones)),
        )
        for candidate in going:
            candidate.verdicts.append(
                verify.Verdict("selection", False, "other tools save all that it would")
            )
            say(f"  {candidate.spec.name}: turned away: {candidate.reason}")
        funnel.candidates = [(one, left.get(pattern.id, pattern)) for one, pattern in funnel.candidates]


def test(funnel: Funnel, box: Box, say: Say, model: Model | None) -> None:
    """Every candidate through the gates; a sandbox lost on the way fails that candidate only.

    A model may propose other code for one that is turned away: that is a candidate like any other.
    """
    for number, (candidate, pattern) in enumerate(funnel.candidates):
        _judge(candidate, pattern, box, say)
        if model is not None and not candidate.admitted:
            repaired = _repaired(funnel, candidate, pattern, model, box, say)
            if repaired is not None:
                funnel.candidates[number] = (repaired, pattern)
    for name, why in funnel.not_observed:
        say(f"  {name}: turned away: no call could be observed: {why[:160]}")


def _repaired(
    funnel: Funnel, candidate: verify.Candidate, pattern: Pattern, model: Model, box: Box, say: Say
) -> verify.Candidate | None:
    """The candidate with other code that passes every gate; None when the model has none."""
    for _ in range(propose.REPAIRS + (pattern.id in funnel.own_code)):
        other = _recoded(funnel, candidate, pattern, model, box, say)
        if other is None:
            return None
        _judge(other, pattern, box, say)
        if other.admitted:
            return other
        candidate = other
    return None


def _recoded(
    funnel: Funnel, candidate: verify.Candidate, pattern: Pattern, model: Model, box: Box, say: Say
) -> verify.Candidate | None:
    """The candidate with code that a model proposes, told why it was turned away; its programs are replayed."""
    failed = next(verdict for verdict in candidate.verdicts if not verdict.passed)
    if failed.gate in ("sandbox", verify.PROGRAMS[1]):
        return None  # nothing is known against the code, or only what a model must not be told
    own = funnel.own_code.pop(pattern.id, None)
    answer = own or model.ask("repair", *propose.repair_prompt(candidate.spec, failed))
    spec = None if answer is None else propose.recoded(candidate.spec, answer)
    if spec is None or propose.unchanged(spec, candidate.spec):
        return None
    index, code = rewrite.Index({pattern.id: (spec.name, pattern)}), {spec.name: generate.tool_code(spec)}
    train, held_out = funnel.replayed[pattern.id]
    runs = _replay([*train, *held_out], index, code, box, say)
    sides: dict[bool, list[tuple[str, bool, str]]] = {True: [], False: []}
    is_train = set(map(id, train))
    for source, _, ran in runs:
        good, why = score.reproduces(source, ran)
        sides[id(source) in is_train].append((source.task, good, "" if good else why))
    proposed = (*candidate.proposed, f"code by {model.name}, after {failed.gate}: {failed.detail}"[:300])
    # What it is compared with stays the traces' own code, whatever the model has written.
    original = candidate.original or verify.original_code(candidate.spec)
    return verify.Candidate(spec, sides[True], sides[False], original=original, proposed=proposed)


def _judge(candidate: verify.Candidate, pattern: Pattern, box: Box, say: Say) -> None:
    with observe.span("gate", **{"gen_ai.tool.name": candidate.spec.name}) as noted:
        try:
            verify.verify(candidate, box, _dependencies(candidate))
        except NoSandbox as error:
            candidate.verdicts.append(verify.Verdict("sandbox", False, str(error)))
        noted |= {"admitted": candidate.admitted, "gates": {v.gate: v.passed for v in candidate.verdicts}}
    verdict = "admitted" if candidate.admitted else f"turned away: {candidate.reason}"
    say(f"  {candidate.spec.name} (support {pattern.support}): {verdict} ({candidate.seconds:.2f} s)")


def _dependencies(*candidates: verify.Candidate) -> list[str]:
    lines = [line for candidate in candidates for line in candidate.spec.imports]
    return [name for name in ("numpy", "sympy") if any(name in line for line in lines)]


def drop_duplicates(funnel: Funnel, box: Box, say: Say) -> None:
    """Of admitted tools that do the same the one that pays most stays; what cannot be compared goes too.

    Raises:
        NoSandbox: Nothing could be compared.
    """
    ranked = sorted(funnel.admitted, key=lambda pair: (-pair[1].saving, pair[0].spec.name))
    candidates = [candidate for candidate, _ in ranked]
    tools = [verify.as_tool(candidate) for candidate in candidates]
    for members in equivalence.groups(tools):
        lab = Lab(box, _dependencies(*(candidates[number] for number in members)))
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
