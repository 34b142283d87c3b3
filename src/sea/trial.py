"""Chosen patterns on trial: their calls are observed in programs of the traces, and their tools put through the gates.

All that runs, runs in sandboxes. Which patterns are tried, and what becomes of those admitted, is not decided here.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping

from sea import generate, observe, propose, rewrite, score, specify, verify
from sea.box import Box, Lost, NoSandbox, Ran
from sea.funnel import Funnel, Say
from sea.gates.judge import STEPS
from sea.model import Model
from sea.originals import raw_original
from sea.patterns import Pattern, Source

_RUNS_PER_TOOL = 30
"""Programs per tool and side that are replayed."""
_MAX_OBSERVED = 200


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
    proposed = (*candidate.proposed, f"code by {model.name}, after {failed.gate}: {failed.detail}"[:300])
    # What it is compared with stays the traces' own code, whatever the model has written.
    original = candidate.original or verify.original_code(candidate.spec)
    other = verify.Candidate(spec, [], [], original=original, proposed=proposed)
    forbidden = verify.static_policy(generate.tool_code(spec))
    if forbidden:  # a stranger's text: what it may not do, no program is run with
        other.verdicts.append(verify.Verdict(STEPS[0][0], False, forbidden))
    else:
        other.train, other.held_out = _replayed(funnel, spec, pattern, box, say)
    return other


_PARTS = (slice(1), slice(1, 8), slice(8, None))
"""Programs that are run at a time, the next ones only when these are right: code may hang in each of them."""


def _replayed(
    funnel: Funnel, spec: specify.Specification, pattern: Pattern, box: Box, say: Say
) -> tuple[list[tuple[str, bool, str]], list[tuple[str, bool, str]]]:
    """Whether programs of training and held out give what was recorded with other code, as far as the first wrong."""
    index, code = rewrite.Index({pattern.id: (spec.name, pattern)}), {spec.name: generate.tool_code(spec)}
    train, held_out = funnel.replayed[pattern.id]
    sides: dict[bool, list[tuple[str, bool, str]]] = {True: [], False: []}
    is_train = set(map(id, train))
    for part in _PARTS:
        programs = [*train, *held_out][part]
        try:
            ended = [
                (one, *score.reproduces(one, ran)) for one, _, ran in _replay(programs, index, code, box, say)
            ]
        except Lost as error:
            ended = [(one, False, str(error)) for one in programs]
        for source, good, why in ended:
            sides[id(source) in is_train].append((source.task, good, "" if good else why))
        if not all(good for _, good, _ in ended):
            break
    return sides[True], sides[False]


def _judge(candidate: verify.Candidate, pattern: Pattern, box: Box, say: Say) -> None:
    with observe.span("gate", **{"gen_ai.tool.name": candidate.spec.name}) as noted:
        try:
            if not candidate.verdicts:
                verify.verify(candidate, box, dependencies(candidate))
        except NoSandbox as error:
            candidate.verdicts.append(verify.Verdict("sandbox", False, str(error)))
        noted |= {"admitted": candidate.admitted, "gates": {v.gate: v.passed for v in candidate.verdicts}}
    verdict = "admitted" if candidate.admitted else f"turned away: {candidate.reason}"
    say(f"  {candidate.spec.name} (support {pattern.support}): {verdict} ({candidate.seconds:.2f} s)")


def dependencies(*candidates: verify.Candidate) -> list[str]:
    """Packages that tools import and a sandbox must have."""
    lines = [line for candidate in candidates for line in candidate.spec.imports]
    return [name for name in ("numpy", "sympy") if any(name in line for line in lines)]
