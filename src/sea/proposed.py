"""What a model is asked in one evolution beside repairs: names for candidates, and whole tools beside the mined ones.

A proposal is chosen, observed and tested as what was mined is; what was mined gives way only to what has passed every
gate. What a model may say is told in `propose` and `propose_tools`.
"""

from collections.abc import Mapping

from sea import propose, propose_merge, propose_tools, verify
from sea.box import Box
from sea.funnel import Funnel, Say, Settings
from sea.gates.lab import Lab
from sea.library import Library
from sea.model import MOST_CALLS, Model
from sea.patterns import Source
from sea.places import Group, groups_of
from sea.trial import dependencies, prepare, test

_MOST_NAMED = MOST_CALLS // 2
"""Candidates that a model is asked to name: the other calls are left for code."""


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
    groups, sources = groups_of(sides[0]), [*sides[0], *sides[1]]
    mined = [pattern for _, pattern in funnel.admitted]
    found, refused = _proposals(funnel, groups, settings, model)
    for why in refused:
        say(f"  a tool that {model.name} proposes is none: {why}")
    fresh = [one.pattern for one in found.values() if not propose_tools.is_known(one.pattern, mined)]
    funnel.asked |= {"tools proposed": len(found) + len(refused), "tools found in traces": len(fresh)}
    chosen, merges = propose_merge.chosen(funnel.admitted, fresh, sources) if fresh else ([], {})
    if not chosen:
        say(f"no tool that {model.name} proposes would save more tokens than it costs")
        return
    more = Funnel(funnel.intake, chosen=chosen)
    prepare(more, *sides, box, say, {candidate.spec.name for candidate, _ in funnel.candidates})
    _take_over(more, funnel, box)
    _name(more, found, funnel, library, model)
    test(more, box, say, model)
    funnel.chosen += more.chosen
    funnel.candidates += more.candidates
    funnel.not_observed += more.not_observed
    funnel.asked |= {"tools tested": len(more.candidates), "tools admitted": len(more.admitted)}
    if more.admitted:
        gone, left = propose_merge.giving_way(funnel.admitted, merges, sources)
        for candidate, pattern in funnel.admitted:
            if pattern.id in gone:
                candidate.verdicts.append(verify.Verdict("selection", False, gone[pattern.id]))
                say(f"  {candidate.spec.name}: turned away: {candidate.reason}")
        funnel.candidates = [(one, left.get(pattern.id, pattern)) for one, pattern in funnel.candidates]


def _take_over(more: Funnel, funnel: Funnel, box: Box) -> None:
    """Give proposals the recorded calls of what they would do too; one with which these cannot be made is none."""
    candidates = more.candidates
    more.candidates = []
    for candidate, pattern in candidates:
        others = [other for other, _ in propose_merge.covered(pattern, funnel.admitted)]
        lab = Lab(box, dependencies(candidate, *others))
        spec = propose_merge.with_calls(candidate.spec, [other.spec for other in others], pattern, lab)
        if spec is None:
            why = "recorded calls of the tools that it would do cannot be made with it"
            more.not_observed.append((candidate.spec.name, why))
        else:
            candidate.spec = spec
            more.candidates.append((candidate, pattern))


def _name(
    more: Funnel, found: Mapping[str, propose_tools.Proposal], funnel: Funnel, library: Library, model: Model
) -> None:
    """Give proposals their own names, where they can be used, and their own code to be tried."""
    taken = {candidate.spec.name for candidate, _ in (*funnel.candidates, *more.candidates)}
    for candidate, pattern in more.candidates:
        spec = found[pattern.id].named(candidate.spec, taken)
        candidate.spec = candidate.spec if library.is_foreign(spec.name) else spec
        candidate.proposed += (f"the tool by {model.name}",)
        taken |= {candidate.spec.name}
        code = found[pattern.id].code
        if code and propose.recoded(candidate.spec, code) is not None:
            more.own_code[pattern.id] = code
