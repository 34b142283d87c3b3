"""M6: behavioural duplicates left in a library, judged on inputs the deduper did not use."""

import itertools
from collections.abc import Callable, Iterator, Sequence

from sea import equivalence
from sea.bench.population import Tool, packages, renamed
from sea.bench.rows import Row
from sea.box import Box
from sea.gates.lab import Lab, Program, Terms

_OTHER_INPUTS = 1000
"""Added to the seed for inputs that the deduper did not use."""


def m6(tools: Sequence[Tool], box: Box, seed: int, say: Callable[[str], None]) -> Iterator[Row]:
    """What is left after the deduper, and planted copies that it finds."""
    lab = Lab(box)
    base = [
        equivalence.Tool(tool.code, tool.name, tool.evidence.examples)
        for tool in tools
        if not packages(tool.code)
    ]
    say(f"M6: {len(base)} tools")
    gone = {same.dropped for same in equivalence.duplicates(base, lab, seed)}
    unique = [tool for number, tool in enumerate(base) if number not in gone]
    left = duplicates_left(unique, lab, seed + _OTHER_INPUTS)
    for one, other in left:
        say(f"  {unique[one].name} and {unique[other].name}")
    yield Row(
        "M6", f"{len(unique)} tools", f"{len(left)} left", "7-43 % (CRAFT)", "0", not left if unique else None
    )
    subjects = [number for number, tool in enumerate(unique) if tool.width]
    copies = [
        equivalence.Tool(renamed(t.code, t.name), t.name, t.calls) for t in (unique[n] for n in subjects)
    ]
    pairs = {
        frozenset((same.kept, same.dropped)) for same in equivalence.duplicates([*unique, *copies], lab, seed)
    }
    hits = sum(frozenset((number, len(unique) + place)) in pairs for place, number in enumerate(subjects))
    for place, number in enumerate(subjects):
        if frozenset((number, len(unique) + place)) not in pairs:
            say(f"  a copy of {unique[number].name} was not found")
    found = f"{hits} of {len(copies)} found"
    yield Row("M6", "planted copies", found, "-", "all", hits == len(copies) if copies else None)


def duplicates_left(tools: list[equivalence.Tool], lab: Lab, seed: int) -> list[tuple[int, int]]:
    """Pairs that agree on fresh calls: of the group first, then drawn for the pair alone."""
    found = []
    for members in equivalence.groups(tools):
        group = [tools[number] for number in members]
        orders = equivalence.orders_of(group[0].width)
        fresh = equivalence.common_calls(group, seed, confirm=True)[:200]
        plain = [Program(tool.code, tool.name) for tool in group]
        reports = lab.run(plain, fresh, Terms(call_s=0.1, program_s=3.0, digest=True, coarse=True))
        straight = [[str(out) for out in report.outcomes] for report in reports]
        turned = {
            order: lab.run(
                [equivalence.ordered(tool, order) for tool in group],
                fresh,
                Terms(call_s=0.1, program_s=3.0, digest=True, coarse=True),
            )
            for order in orders[1:]
        }
        for one, other in itertools.combinations(range(len(group)), 2):
            views = [
                straight[other],
                *([str(o) for o in turned[order][other].outcomes] for order in orders[1:]),
            ]
            if equivalence.telling(reports[one].outcomes) and straight[one] in views:
                pair = [group[one], group[other]]
                calls = equivalence.common_calls(pair, seed + 1, confirm=True)
                order = orders[views.index(straight[one])]
                programs = [plain[one], equivalence.ordered(group[other], order)]
                a, b = lab.run(programs, calls, Terms(call_s=0.1, program_s=5.0, digest=True, coarse=True))
                agree = [str(out) for out in a.outcomes] == [str(out) for out in b.outcomes]
                if agree and equivalence.telling(a.outcomes):
                    found.append((members[one], members[other]))
    return found
