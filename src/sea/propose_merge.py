"""One tool for several: which admitted tools a proposal does too, their recorded calls, and what gives way to it.

A proposal takes over the calls recorded of every tool that it would do before a gate has seen it: it passes the gates
with these or is not admitted, and until it is nothing gives way. Whether it passes is not decided here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sea import propose_tools, select
from sea.box import Lost
from sea.gates.lab import Lab, Program, encoded
from sea.patterns import Pattern, Source
from sea.specify import Example, Specification, common_type
from sea.verify import Candidate

Admitted = Sequence[tuple[Candidate, Pattern]]
Merges = Mapping[str, Sequence[str]]
"""By the id of a proposal's pattern, those of the tools whose place it takes."""


def covered(pattern: Pattern, admitted: Admitted) -> list[tuple[Candidate, Pattern]]:
    """The tools that compute what the pattern does, of values of their own."""
    return [pair for pair in admitted if propose_tools.given(pair[0].spec, pattern)]


def chosen(
    admitted: Admitted, fresh: Sequence[Pattern], sources: list[Source]
) -> tuple[list[Pattern], Merges]:
    """The proposals that pay, with the places they pay in, and those among them that are one tool for several.

    Each is looked at beside those that pay before it: programs and tools together must get shorter, or, where one tool
    takes the place of several, no longer.

    Args:
        admitted: Tools that passed every gate.
        fresh: Patterns that are proposed.
        sources: Programs that the length is counted on.
    """
    merges: dict[str, list[str]] = {}
    best = [pattern for _, pattern in admitted]
    least = select.length(best, sources)
    for pattern in fresh:
        there = {one.id for one in best}
        under = [one.id for _, one in covered(pattern, admitted) if one.id in there]
        for out in [under, []] if len(under) > 1 else [[]]:
            tried = select.choose([*(one for one in best if one.id not in out), pattern], sources)
            size = select.length(tried, sources)
            if pattern.id in {one.id for one in tried} and (size < least or (out and size == least)):
                best, least, merges[pattern.id] = tried, size, out
                break
    ids = {pattern.id for pattern in fresh}
    return [pattern for pattern in best if pattern.id in ids], merges


def with_calls(
    spec: Specification, others: Sequence[Specification], pattern: Pattern, lab: Lab
) -> Specification | None:
    """The tool with the calls recorded of others among its own; None when one of them cannot be made with it.

    Args:
        spec: A tool of the pattern.
        others: Tools that it does too.
        pattern: What it is made from.
        lab: Where is computed what it is given for a call of another.

    Raises:
        NoSandbox: Nothing could be run.
    """
    calls = list(spec.examples)
    for other in others:
        asked = encoded([one.arguments for one in other.examples])
        program = Program(propose_tools.given(other, pattern), other.name)
        try:
            (report,) = lab.run([program], asked)
        except Lost:
            return None
        values = [
            out.value for out in report.outcomes if out.kind == "value" and isinstance(out.value, tuple)
        ]
        if len(values) != len(other.examples) or {len(value) for value in values} != {len(spec.parameters)}:
            return None
        calls += [
            Example(value, one.result, one.trace_id)
            for value, one in zip(values, other.examples, strict=True)
        ]
    examples = {repr((one.arguments, one.result)): one for one in reversed(calls)}
    columns = zip(*(one.arguments for one in calls), strict=True)
    return replace(
        spec,
        examples=tuple(reversed(examples.values())),
        parameters=tuple(
            replace(one, type=common_type(list(column)))
            for one, column in zip(spec.parameters, columns, strict=True)
        ),
        return_type=common_type([one.result for one in calls]),
    )


def giving_way(
    admitted: Admitted, merges: Merges, sources: list[Source]
) -> tuple[dict[str, str], dict[str, Pattern]]:
    """Why tools go, and the patterns of those that stay with the places they now pay in, both by the pattern's id.

    Args:
        admitted: All tools that passed every gate, those proposed among them.
        merges: By the ids of all that were proposed, what they are one tool for.
        sources: Programs that the length is counted on.
    """
    names = {pattern.id: candidate.spec.name for candidate, pattern in admitted}
    why = {
        other: f"{names[one]} does what it does, and has passed every gate with its recorded calls"
        for one, others in merges.items()
        if one in names
        for other in others
    }
    everything = [pattern for _, pattern in admitted]
    left = select.choose([pattern for pattern in everything if pattern.id not in why], sources)
    without = [pattern for pattern in everything if pattern.id not in merges]
    if select.length(left, sources) > select.length(without, sources):
        said = "with it programs and tools are longer than with what was mined"
        return {one: said for one in names.keys() & merges.keys()}, {}
    staying = {pattern.id: pattern for pattern in left}
    idle = dict.fromkeys(names.keys() - staying.keys(), "beside the other tools it saves less than it costs")
    return idle | why, staying
