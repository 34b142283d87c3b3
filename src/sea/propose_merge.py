"""What gives way when tools that a model has proposed were admitted: tools that save nothing any more beside them.

A tool that a proposal generalises goes only when the proposal, called in its place, keeps what that tool has recorded
and does what the traces' own code does. Which tools are admitted is not decided here.
"""

from collections.abc import Callable, Collection, Sequence

from sea import propose_tools, select, verify
from sea.gates.evidence import Evidence
from sea.gates.judge import WITHOUT_MUTATION, judge
from sea.gates.lab import Lab
from sea.patterns import Pattern, Source
from sea.verify import Candidate

Admitted = Sequence[tuple[Candidate, Pattern]]
LabOf = Callable[..., Lab]
"""Where some candidates are run."""


def giving_way(
    admitted: Admitted, proposed: Collection[str], sources: Sequence[Source], lab_of: LabOf
) -> tuple[list[Candidate], dict[str, Pattern]]:
    """The tools that go, and the patterns of those that stay, by id, with the places they now pay in.

    Args:
        admitted: All tools that passed every gate.
        proposed: Ids of the patterns that a model has proposed.
        sources: Programs that the saving is counted on.
        lab_of: Where some candidates are run.

    Raises:
        NoSandbox: Nothing could be run.
    """
    patterns = [pattern for _, pattern in admitted]
    mined = [pattern for pattern in patterns if pattern.id not in proposed]
    paid = {pattern.id for pattern in select.choose(mined, list(sources))} | set(proposed)
    left = {pattern.id: pattern for pattern in select.choose(patterns, list(sources))}
    general = [pair for pair in admitted if pair[1].id in proposed and pair[1].id in left]
    going = [
        candidate
        for candidate, pattern in admitted
        if pattern.id in paid - left.keys() and keeps(candidate, general, lab_of)
    ]
    return going, left


def keeps(candidate: Candidate, general: Admitted, lab_of: LabOf) -> bool:
    """Whether each of the other tools that is this one in general gives what it gives, called in its place."""
    for other, pattern in general:
        text = propose_tools.instead(candidate.spec, other.spec, pattern)
        if text:
            original = candidate.original or verify.original_code(candidate.spec)
            evidence = Evidence(verify.as_tool(candidate).calls, original=original)
            lab = lab_of(candidate, other)
            if not judge(text, candidate.spec.name, evidence, lab, WITHOUT_MUTATION).accepted:
                return False
    return True
