"""Tools that do the same, whatever they are called: found by fingerprints of what they do, confirmed on other inputs.

Fingerprints are taken on recorded calls and variations of them; two tools are one only if they also agree on calls that
the other generator draws. Tools equal but for constants become one with parameters if it keeps what both recorded.
"""

import ast
import itertools
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sea import inputs
from sea.gates.evidence import Recorded
from sea.gates.lab import Lab, Outcome, Program, Terms, encoded
from sea.gates.replay import same_result

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
_MOST_CONSTANTS = 2


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


@dataclass(frozen=True)
class General:
    """One tool for several that differ by constants."""

    code: str
    name: str
    parts: tuple[int, ...]
    constants: tuple[tuple[Any, ...], ...]
    """What each part gives for the new parameters, which come last."""
    calls: tuple[Recorded, ...]
    """The parts' recorded calls, as calls of the new tool."""


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


def generalise(tools: Sequence[Tool], lab: Lab) -> list[General]:
    """Tools for those that are equal but for one or two constants, where the new tool keeps all recorded calls.

    Raises:
        NoSandbox: There was none, or it was lost.
    """
    families: dict[str, list[int]] = defaultdict(list)
    for number, tool in enumerate(tools):
        families[_skeleton(tool)].append(number)
    found = []
    for members in families.values():
        general = _general([tools[n] for n in members], members) if len(members) > 1 else None
        if general is not None and _keeps(general, lab):
            found.append(general)
    return found


def _function(tool: Tool) -> tuple[ast.Module, ast.FunctionDef]:
    tree = ast.parse(tool.code)
    (function,) = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == tool.name]
    if ast.get_docstring(function) is not None:
        function.body = function.body[1:] or [ast.Pass()]
    return tree, function


def _skeleton(tool: Tool) -> str:
    """The text with numbered names and without constants, name, annotations and docstring."""
    tree, function = _function(tool)
    own = [a.arg for a in ast.walk(function.args) if isinstance(a, ast.arg)]
    own += [n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
    names = {name: f"v{number}" for number, name in enumerate(dict.fromkeys(own))}
    function.name, function.returns = "f", None
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            node.id = names.get(node.id, node.id)
        elif isinstance(node, ast.arg):
            node.arg, node.annotation = names.get(node.arg, node.arg), None
        elif isinstance(node, ast.Constant) and _is_free(node):
            node.value = f"any {type(node.value).__name__}"
    return ast.dump(tree)


def _is_free(node: ast.Constant) -> bool:
    return type(node.value) in (int, float, str)


def _constants(function: ast.FunctionDef) -> list[ast.Constant]:
    return [
        node
        for statement in function.body
        for node in ast.walk(statement)
        if isinstance(node, ast.Constant) and _is_free(node)
    ]


def _general(tools: Sequence[Tool], members: Sequence[int]) -> General | None:
    """The family's tool with what differs as parameters; None when nothing or too much does."""
    columns = list(zip(*([n.value for n in _constants(_function(tool)[1])] for tool in tools), strict=True))
    differing = [place for place, values in enumerate(columns) if len(set(map(repr, values))) > 1]
    distinct = list(dict.fromkeys(columns[place] for place in differing))
    if not 1 <= len(distinct) <= _MOST_CONSTANTS or not all(tool.width for tool in tools):
        return None
    tree, function = _function(tools[0])
    if (
        function.args.defaults
        or function.args.vararg
        or any(isinstance(n, ast.JoinedStr) for n in ast.walk(function))
    ):
        return None
    taken = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)} | {a.arg for a in function.args.args}
    words = [_word(values[0], taken) for values in distinct]
    nodes = _constants(function)
    for place in differing:
        _become_name(nodes[place], words[distinct.index(columns[place])])
    for word, values in zip(words, distinct, strict=True):
        function.args.args.append(ast.arg(word, ast.Name(type(values[0]).__name__, ast.Load())))
    constants = tuple(tuple(values[number] for values in distinct) for number in range(len(tools)))
    calls = tuple(
        Recorded((*call.arguments, *given), call.result, call.raises, call.where)
        for tool, given in zip(tools, constants, strict=True)
        for call in tool.calls
    )
    code = ast.unparse(ast.fix_missing_locations(tree)) + "\n"
    return General(code, tools[0].name, tuple(members), constants, calls)


def _word(value: Any, taken: set[str]) -> str:
    word = "text" if isinstance(value, str) else "number"
    for number in itertools.count(1):
        name = word if number == 1 else f"{word}_{number}"
        if name not in taken:
            taken.add(name)
            return name
    raise AssertionError("unreachable: names do not run out")


def _become_name(node: Any, name: str) -> None:
    node.__class__ = ast.Name
    node.__dict__.clear()
    node.id, node.ctx = name, ast.Load()


def _keeps(general: General, lab: Lab) -> bool:
    """Whether the new tool gives what every part recorded."""
    sendable = [call for call in general.calls if encoded([call.arguments])]
    sent = encoded([call.arguments for call in sendable])
    (report,) = lab.run([Program(general.code, general.name)], sent)
    pairs = zip(report.outcomes, sendable, strict=True)
    return bool(sent) and not report.error and all(same_result(out, call) for out, call in pairs)
