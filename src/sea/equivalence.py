"""Tools that do the same, whatever they are called: found by fingerprints of what they do, confirmed on other inputs.

Fingerprints are taken on recorded calls and variations of them; two tools are one only if they also agree on calls that
the other generator draws. Computations equal but for constants never are two tools: they are one pattern (`patterns`).
"""

import itertools
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sea import inputs
from sea.gates.evidence import Recorded
from sea.gates.lab import Lab, Outcome, Program, Terms, encoded

FINGERPRINT = 80
"""Generated calls of a fingerprint."""
CONFIRM = 1_000
"""Calls on which equal fingerprints are confirmed."""
_RECORDED = 60
_MOST_ORDERED = 3
"""Parameters up to which other orders of them are tried."""
_LEAST_ANSWERS = 5
_LEAST_SHARE = 0.05
"""Of the calls, which must have another answer than the commonest, where there are fewer different ones."""
_TERMS = Terms(call_s=0.1, failures=3, program_s=20.0, digest=True, coarse=True)


@dataclass(frozen=True)
class Tool:
    """A tool and the calls recorded of it."""

    code: str
    name: str
    calls: tuple[Recorded, ...]

    @property
    def width(self) -> int:
        """How many arguments its recorded calls have; 0 when they differ."""
        widths = {len(call.arguments) for call in self.calls}
        return widths.pop() if len(widths) == 1 else 0


@dataclass(frozen=True)
class Same:
    """One tool does what another does."""

    kept: int
    dropped: int
    order: tuple[int, ...]
    """The dropped tool's argument i is the kept one's argument `order[i]`."""
    calls: int
    """On how many calls they agreed, fingerprint and confirmation together."""


def duplicates(tools: Sequence[Tool], lab: Lab, seed: int = 0) -> list[Same]:
    """Later tools that do what an earlier one does; the order of the tools says which is kept.

    Raises:
        NoSandbox: There was none, or it was lost.
    """
    found: list[Same] = []
    for members in groups(tools):
        left = members
        while True:
            alike = _alike([tools[n] for n in left], lab, seed)
            new = []
            for first, second, order in alike:
                kept, dropped = left[first], left[second]
                agreed = _confirmed(tools[kept], tools[dropped], order, lab, seed + 1)
                if agreed:
                    new.append(Same(kept, dropped, order, agreed))
            found += new
            gone = {same.dropped for same in new}
            left = [number for number in left if number not in gone]
            if not gone or len(new) == len(alike) or len(left) < 2:
                break
    return found


def groups(tools: Sequence[Tool]) -> list[list[int]]:
    """Tools that could be called with the same arguments, in any order, by number; groups of two or more."""
    found: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for number, tool in enumerate(tools):
        if tool.width:
            found[tuple(sorted(_kinds(tool)))].append(number)
    return [members for members in found.values() if len(members) > 1]


def _kinds(tool: Tool) -> list[str]:
    """The outer type of each argument, all numbers alike."""
    columns = zip(*(call.arguments for call in tool.calls), strict=True)
    kinds = []
    for column in columns:
        names = {"number" if type(value) in (int, float) else type(value).__name__ for value in column}
        kinds.append("/".join(sorted(names)))
    return kinds


def common_calls(tools: Sequence[Tool], seed: int, confirm: bool = False) -> list[Any]:
    """Encoded calls for tools of one group: of the first generator with recorded ones, or of the second alone."""
    each = max(1, _RECORDED // len(tools))
    seen = [call.arguments for tool in tools for call in tool.calls[:each]]
    if confirm:
        drawn = (inputs.draw(seen, seed, like=True), inputs.draw(seen, seed))
        return encoded([call for some in drawn for call in itertools.islice(some, CONFIRM // 2)])
    varied = (inputs.vary(seen, seed, like=True), inputs.vary(seen, seed + 7))
    return encoded([*seen, *(call for some in varied for call in itertools.islice(some, FINGERPRINT // 2))])


def _alike(tools: Sequence[Tool], lab: Lab, seed: int) -> list[tuple[int, int, tuple[int, ...]]]:
    """(earlier, later, order) of tools with equal fingerprints."""
    orders = orders_of(tools[0].width)
    programs = [ordered(tool, order) for tool in tools for order in orders]
    reports = lab.run(programs, common_calls(tools, seed), _TERMS)
    prints = [tuple(map(str, report.outcomes)) for report in reports]
    straight: dict[tuple[str, ...], int] = {}
    found = []
    for number in range(len(tools)):
        mine = prints[number * len(orders) : (number + 1) * len(orders)]
        if telling(reports[number * len(orders)].outcomes):
            hits = [
                (straight[text], order) for text, order in zip(mine, orders, strict=True) if text in straight
            ]
            found += [(earlier, number, order) for earlier, order in hits[:1]]
            if not hits:
                straight[mine[0]] = number
    return found


def orders_of(width: int) -> list[tuple[int, ...]]:
    """Orders of parameters that are tried; the given one first."""
    plain = tuple(range(width))
    return list(itertools.permutations(plain)) if width <= _MOST_ORDERED else [plain]


def ordered(tool: Tool, order: tuple[int, ...]) -> Program:
    """The tool with its arguments taken in another order."""
    if list(order) == sorted(order):
        return Program(tool.code, tool.name)
    given = ", ".join(f"arguments[{place}]" for place in order)
    return Program(
        f"{tool.code}\n\ndef in_other_order(*arguments):\n    return {tool.name}({given})\n", "in_other_order"
    )


def telling(outcomes: Sequence[Outcome]) -> bool:
    """Whether a fingerprint says something: several different answers, or few of which not nearly all are one."""
    counted = Counter(str(out) for out in outcomes if out.kind == "value").most_common()
    if len(counted) >= _LEAST_ANSWERS:
        return True
    return sum(count for _, count in counted[1:]) >= max(2.0, _LEAST_SHARE * len(outcomes))


def _confirmed(kept: Tool, dropped: Tool, order: tuple[int, ...], lab: Lab, seed: int) -> int:
    """On how many calls two tools agree; 0 if they do not on all."""
    calls = common_calls((kept, dropped), seed, confirm=True)
    one, other = lab.run([ordered(kept, tuple(range(kept.width))), ordered(dropped, order)], calls, _TERMS)
    same = [(a.kind, a.value) == (b.kind, b.value) for a, b in zip(one.outcomes, other.outcomes, strict=True)]
    sure = all(same) and telling(one.outcomes) and not one.error and not other.error
    return len(same) if sure else 0
