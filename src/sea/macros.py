"""Call sequences that recur in tool-calling conversations, with where each argument comes from. Pure.

A macro is some calls in a row; a call that may come several times in a row is a loop. An argument after the macro's
first call is bound when it equals what stands at a path of an earlier output (there, in the next element of a list, or
in some fields of all its records), or is a literal of the macro. What is not bound must be passed and counts as
unbound, as does how often a loop runs when it does not run to the end of its list. Support counts distinct tasks.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

MAX_LENGTH = 6
"""Calls of a macro; a loop is one."""
LEAST = 2
"""Distinct tasks that a sequence, and where an argument comes from, must be seen in."""
_ONE_IN = 10
"""Of so many arguments one may be passed."""
LEAST_BOUND = 1 - 1 / _ONE_IN
MOST_SOURCES = 64
"""Places an argument may come from: macros of the same tools that differ in it are told apart by their names."""
_MAX_VALUES = 4000
"""Places of one output that are looked at."""

Binding = tuple[Any, ...]
"""("last", tool, key, …): a place of the last output that a tool gave; ("where", argument, key, …): a place of the
latest record in any output that has, under the argument's name, what this call gives it; or ("literal", text). A key
may be `_NEXT`, the element of a list that no call of this tool has had yet, and last a tuple of names: these fields of
each record of the list there."""
_KINDS = ("where", "last", "literal")
_NEXT = None


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a tool, and what it gave."""

    name: str
    arguments: dict[str, Any]
    output: Any = None
    before: dict[str, Any] = field(default_factory=dict)
    """Last output of each tool before this call."""
    turn: dict[str, int] = field(default_factory=dict)
    """How many calls of this tool there were since that output."""
    earlier: tuple[Any, ...] = ()
    """All outputs before this call, the latest first."""

    @cached_property
    def possible(self) -> dict[str, frozenset[Binding]]:
        """For each argument everything it could come from."""
        found: dict[str, set[Binding]] = {n: {("literal", _text(v))} for n, v in self.arguments.items()}
        for tool, output in self.before.items():
            for name, path in _equal(output, self.arguments, self.turn.get(tool, 0)):
                found[name].add(("last", tool, *path))
        for known, value in self.arguments.items():
            for name, path in _equal(_record(self.earlier, known, _text(value)), self.arguments, -1):
                if name != known:
                    found[name].add(("where", known, *path))
        return {name: frozenset(bindings) for name, bindings in found.items()}


@dataclass(frozen=True)
class Conversation:
    """The calls of one run on one task."""

    task: str
    calls: tuple[Call, ...]


@dataclass(frozen=True)
class Macro:
    """Calls in a row that are made as one; those that differ in where an argument comes from are told apart by name."""

    names: tuple[str, ...]
    loops: frozenset[str]
    """Those of the tools that may be called several times in a row."""
    sources: tuple[tuple[tuple[str, tuple[Binding, ...]], ...], ...]
    """For each tool its arguments that need not be passed, each with where it may come from, the commonest first."""
    support: int
    """Distinct tasks."""

    def unbound(self, calls: Sequence[Call]) -> tuple[int, int]:
        """Of these calls' arguments after the first call: how many are not bound, and how many there are."""
        missing = count = 0
        runs = _runs(calls)
        for number, (run, sources) in enumerate(zip(runs, self.sources, strict=True)):
            lost, all_of_them = _run_unbound(run, run if number else run[1:], dict(sources))
            missing, count = missing + lost, count + all_of_them
        return missing, count


def _runs(calls: Sequence[Call]) -> list[list[Call]]:
    """Calls of one tool in a row together."""
    found: list[list[Call]] = []
    for call in calls:
        if found and found[-1][0].name == call.name:
            found[-1].append(call)
        else:
            found.append([call])
    return found


def _run_unbound(
    run: list[Call], counted: list[Call], sources: dict[str, tuple[Binding, ...]]
) -> tuple[int, int]:
    """Unbound arguments of the calls of a run that count, and all of them: one source an argument for the whole run."""
    values = Counter(name for call in counted for name in call.arguments)
    missing = min(_missing(run, counted, values, sources, known) for known in (None, *sorted(values)))
    how_often = int(len(run) > 1 and not missing[1])
    return missing[0] + how_often, values.total() + how_often


def _missing(
    run: list[Call],
    counted: list[Call],
    values: Counter[str],
    sources: dict[str, tuple[Binding, ...]],
    known: str | None,
) -> tuple[int, bool]:
    """Unbound arguments, and whether the list ends the loop; records are looked up by one argument alone.

    Two arguments that were each looked up by the other would come from nowhere.
    """
    missing, whole = 0, False
    for name, count in values.items():
        lost = count
        for binding in sources.get(name, ()):
            if binding[0] == "where" and binding[1] != known:
                continue
            wrong = sum(name in call.arguments and binding not in call.possible[name] for call in counted)
            lost, whole = min(lost, wrong), whole or (not wrong and _is_last(binding, run[-1]))
        missing += lost
    return missing, whole


def _is_last(binding: Binding, call: Call) -> bool:
    """Whether the call took the last element of the list that a loop goes over."""
    if binding[0] != "last" or _NEXT not in binding:
        return False
    found = _at(call.before.get(binding[1]), binding[2 : binding.index(_NEXT)])
    return isinstance(found, list) and call.turn.get(binding[1], 0) + 1 == len(found)


def conversation(record: dict[str, Any]) -> Conversation:
    """The calls of a record with messages in the chat format of OpenAI.

    Raises:
        KeyError, TypeError, ValueError: It has another shape.
    """
    messages = record["messages"]
    outputs = {m["tool_call_id"]: _parsed(m.get("content")) for m in messages if m.get("role") == "tool"}
    calls: list[Call] = []
    before: dict[str, Any] = {}
    earlier: tuple[Any, ...] = ()
    turns: dict[str, Counter[str]] = defaultdict(Counter)
    for made in (made for message in messages for made in message.get("tool_calls") or ()):
        name, given = str(made["function"]["name"]), json.loads(made["function"]["arguments"] or "{}")
        turn = {tool: count[name] for tool, count in turns.items()}
        output = outputs.get(made["id"])
        calls.append(Call(name, dict(given), output, dict(before), turn, earlier))
        before[name], earlier = output, (output, *earlier)
        for count in turns.values():
            count[name] += 1
        turns[name] = Counter()
    return Conversation(str(record["task_id"]), tuple(calls))


def _parsed(content: Any) -> Any:
    try:
        return json.loads(content) if isinstance(content, str) else content
    except ValueError:
        return content


def mine(conversations: Iterable[Conversation], least: int = LEAST, most: int = MOST_SOURCES) -> list[Macro]:
    """Macros with support of at least `least` distinct tasks, the longest first.

    Args:
        most: Places that one argument may come from; with 1 there is one macro of a sequence of tools.
    """
    conversations = list(conversations)
    sequences: dict[tuple[str, ...], set[str]] = defaultdict(set)
    repeated: dict[str, set[str]] = defaultdict(set)
    for one in conversations:
        runs = _runs(one.calls)
        names = tuple(run[0].name for run in runs)
        for start in range(len(names)):
            for end in range(start + 2, min(len(names), start + MAX_LENGTH) + 1):
                sequences[names[start:end]].add(one.task)
        for run in runs:
            if len(run) > 1:
                repeated[run[0].name].add(one.task)
                sequences[run[0].name,].add(one.task)
    sources = _common_sources(conversations, least, most)
    loops = frozenset(
        name for name, tasks in repeated.items() if len(tasks) >= least or _goes_over(sources.get(name, ()))
    )
    found = [
        Macro(names, loops & set(names), tuple(sources.get(name, ()) for name in names), len(tasks))
        for names, tasks in sequences.items()
        if len(tasks) >= least
    ]
    return sorted(found, key=lambda macro: (-len(macro.names), -macro.support, macro.names))


def _goes_over(sources: Iterable[tuple[str, tuple[Binding, ...]]]) -> bool:
    """Whether an argument comes from a list's next element in enough tasks: once repeated, it is a loop."""
    return any(_NEXT in binding for _, bindings in sources for binding in bindings)


def _common_sources(
    conversations: Iterable[Conversation], least: int, most: int
) -> dict[str, tuple[tuple[str, tuple[Binding, ...]], ...]]:
    """For each tool the places its arguments come from in enough tasks; the argument's own name there counts as one."""
    votes: dict[str, dict[str, dict[Binding, set[str]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(set))
    )
    for one in conversations:
        for call in one.calls[1:]:
            for name, possible in call.possible.items():
                for binding in possible:
                    votes[call.name][name][binding].add(one.task)
    return {
        tool: tuple((name, _ranked(name, tasks, least, most)) for name, tasks in sorted(arguments.items()))
        for tool, arguments in votes.items()
    }


def _ranked(name: str, tasks: dict[Binding, set[str]], least: int, most: int) -> tuple[Binding, ...]:
    ranked = sorted(
        (-len(of), _NEXT not in binding, _KINDS.index(binding[0]), len(binding), repr(binding), binding)
        for binding, of in tasks.items()
        if len(of) + (binding[0] != "literal" and binding[-1] == name) >= least
    )
    return tuple(binding for *_, binding in ranked[:most])


def _equal(output: Any, arguments: dict[str, Any], turn: int) -> Iterator[tuple[str, Binding]]:
    """Arguments with a path where the same stands, or the same fields of records."""
    names: dict[str, list[str]] = defaultdict(list)
    for name, given in arguments.items():
        names[_text(given)].append(name)
    fields = {name: _fields(given) for name, given in arguments.items()}
    for path, value in _walk(output, ()):
        here = [(name, path) for name in names.get(_text(value), ()) if value is not None]
        if isinstance(value, list):
            picked = ((name, given) for name, given in fields.items() if given)
            here += [(n, (*path, given)) for n, given in picked if _picked(value, given) == arguments[n]]
        for name, found in here:
            yield name, found
            yield from (
                (name, (*found[:at], _NEXT, *found[at + 1 :]))
                for at, key in enumerate(found)
                if isinstance(key, int) and key == turn
            )


def _record(outputs: Iterable[Any], name: str, text: str) -> Any:
    """The first record that has this under the name; None when there is none."""
    for output in outputs:
        for _, value in _walk(output, ()):
            if isinstance(value, dict) and name in value and _text(value[name]) == text:
                return value
    return None


def _fields(value: Any) -> tuple[str, ...]:
    """Names that the records of a list have; none when it is something else."""
    if not isinstance(value, list) or not value or not isinstance(value[0], dict):
        return ()
    return tuple(sorted(value[0]))


def _picked(records: list[Any], fields: tuple[str, ...]) -> list[Any] | None:
    """These fields of each record; None when one lacks some."""
    if not all(isinstance(one, dict) and one.keys() >= set(fields) for one in records):
        return None
    return [{name: one[name] for name in fields} for one in records]


def _walk(value: Any, path: Binding) -> Iterator[tuple[Binding, Any]]:
    """Every value of an output with its path, up to a number of them."""
    pending: list[tuple[Binding, Any]] = [(path, value)]
    for _ in range(_MAX_VALUES):
        if not pending:
            return
        here, found = pending.pop()
        yield here, found
        if isinstance(found, dict):
            pending += [((*here, key), item) for key, item in reversed(found.items())]
        elif isinstance(found, list):
            pending += [((*here, index), item) for index, item in reversed(list(enumerate(found)))]


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _at(value: Any, path: Sequence[Any]) -> Any:
    """What stands there; None when there is no such place."""
    for key in path:
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            return None
    return value


@dataclass(frozen=True)
class Covered:
    """Conversations written with macros."""

    calls: int = 0
    steps: int = 0
    arguments: int = 0
    """After the first call of each macro that is used."""
    unbound: int = 0

    @property
    def compression(self) -> float:
        """Calls per step."""
        return self.calls / self.steps if self.steps else 1.0

    @property
    def bound(self) -> float:
        """Share of the arguments that come from where the macro says."""
        return 1 - self.unbound / self.arguments if self.arguments else 1.0

    @property
    def strict(self) -> float:
        """Calls per step when an argument that is passed counts as a step."""
        return self.calls / (self.steps + self.unbound) if self.steps else 1.0

    @property
    def excess(self) -> int:
        """How many unbound arguments are too many, in parts of one; none when not above 0."""
        return _ONE_IN * self.unbound - self.arguments

    def __add__(self, other: "Covered") -> "Covered":
        return Covered(
            self.calls + other.calls,
            self.steps + other.steps,
            self.arguments + other.arguments,
            self.unbound + other.unbound,
        )


def cover(conversations: Iterable[Conversation], macros: Sequence[Macro], passed: int = 0) -> Covered:
    """The fewest steps of all together with enough arguments bound; one that is not counts as `passed` steps more."""
    by_names = {macro.names: macro for macro in macros}
    whole = [Covered()]
    for one in conversations:
        ways: list[list[Covered]] = [[] for _ in one.calls] + [[Covered()]]
        for start in range(len(one.calls) - 1, -1, -1):
            here = [Covered(1, 1) + way for way in ways[start + 1]]
            for end, macro in _fitting(one.calls, start, by_names):
                unbound, count = macro.unbound(one.calls[start:end])
                here += [Covered(end - start, 1, count, unbound) + way for way in ways[end]]
            ways[start] = _best(here, passed)
        whole = _best([first + second for first in whole for second in ways[0]], passed)
    return next(way for way in reversed(whole) if way.excess <= 0)


def _best(ways: Iterable[Covered], passed: int) -> list[Covered]:
    """Those that no other is at least as good as: ever more excess for ever fewer steps."""
    found: list[Covered] = []
    fewest = float("inf")
    for way in sorted(ways, key=lambda way: (way.excess, way.steps + passed * way.unbound)):
        if way.steps + passed * way.unbound < fewest:
            fewest = way.steps + passed * way.unbound
            found.append(way)
    return found


def _fitting(
    calls: Sequence[Call], start: int, by_names: dict[tuple[str, ...], Macro]
) -> Iterator[tuple[int, Macro]]:
    """Macros that could stand for the calls from here on, each with where it ends."""
    names: tuple[str, ...] = ()
    repeated: set[str] = set()
    for end in range(start, len(calls)):
        name = calls[end].name
        if names and names[-1] == name:
            repeated.add(name)
        else:
            names = (*names, name)
        if len(names) > MAX_LENGTH:
            return
        macro = by_names.get(names)
        if macro is not None and end > start and repeated <= macro.loops:
            yield end + 1, macro


def ceiling(
    conversations: Iterable[Conversation], learnt: Iterable[Conversation], least: int = LEAST
) -> float:
    """Calls per step that no macros can exceed with enough arguments bound, whatever sequences they stand for.

    Every argument that equals any place of any earlier output, some fields of the records there, or a literal that
    `least` tasks of `learnt` give it, is taken as bound, and the calls that bind worst begin the macros.
    """
    literals: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for one in learnt:
        for call in one.calls:
            for name, value in call.arguments.items():
                literals[call.name, name, _text(value)].add(one.task)
    calls, excess = 0, []
    for one in conversations:
        calls += len(one.calls)
        for number, call in enumerate(one.calls[1:], 1):
            outputs = {str(n): earlier.output for n, earlier in enumerate(one.calls[:number])}
            possible = Call(call.name, call.arguments, None, outputs).possible
            missing = sum(
                len(found) == 1 and len(literals[call.name, name, _text(call.arguments[name])]) < least
                for name, found in possible.items()
            )
            excess.append(_ONE_IN * missing - len(call.arguments))
    budget = saved = 0
    for over in sorted(excess):
        budget -= over
        if budget < 0:
            break
        saved += 1
    return calls / (calls - saved) if calls else 1.0
