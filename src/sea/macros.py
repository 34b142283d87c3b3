"""Call sequences that recur in tool-calling conversations, with where each argument comes from. Pure.

A macro is some calls in a row; a call that may come several times in a row is a loop. An argument after the macro's
first call is bound when it equals what stands at a path of the last output that one tool gave so far (or the next
element of a list there, or some fields of all its records), or is a literal of the macro. What is not bound must be
passed and counts as unbound, as does how often a loop runs when it does not run to the end of its list. Support
counts distinct tasks.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

MAX_LENGTH = 6
"""Calls of a macro; a loop is one."""
LEAST = 2
"""Distinct tasks that a sequence, and where an argument comes from, must be seen in."""
_SOURCES = 2
"""Places an argument may come from: macros of the same tools that differ in it are told apart by their names."""
LEAST_BOUND = 0.9
_FOLDS = 8
_MAX_VALUES = 4000
"""Places of one output that are looked at."""
_PRICES = (0.0, 0.3, 0.6, 0.9, 1.1, 1.2, 1.3, 1.5, 2.0, 4.0)
"""Steps that one unbound argument too many is weighed with."""

Binding = tuple[Any, ...]
"""("path", tool whose last output it is, key, key, …), ("next", tool, key, …): the element of the list there that no
call of this tool has had yet, ("fields", tool, names, key, …): these fields of each record of the list there, or
("literal", text)."""
_KINDS = ("next", "path", "fields", "literal")


@dataclass(frozen=True)
class Call:
    """One call of a tool, and what it gave."""

    name: str
    arguments: dict[str, Any]
    output: Any = None
    before: dict[str, Any] = field(default_factory=dict)
    """Last output of each tool before this call."""
    turn: dict[str, int] = field(default_factory=dict)
    """How many calls of this tool there were since that output."""


@dataclass(frozen=True)
class Conversation:
    """The calls of one run on one task."""

    task: str
    calls: tuple[Call, ...]


@dataclass(frozen=True)
class Macro:
    """Calls in a row that are made as one."""

    names: tuple[str, ...]
    loops: frozenset[str]
    """Those of the tools that may be called several times in a row."""
    sources: tuple[tuple[tuple[str, tuple[Binding, ...]], ...], ...]
    """For each tool its arguments that need not be passed, each with where it may come from."""
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
    missing, whole = 0, False
    values: dict[str, list[Call]] = defaultdict(list)
    for call in counted:
        for name in call.arguments:
            values[name].append(call)
    for name, calls in values.items():
        lost, best = len(calls), None
        for binding in sources.get(name, ()):
            wrong = sum(not _holds(binding, call.arguments[name], call) for call in calls)
            lost, best = (wrong, binding) if wrong < lost else (lost, best)
        missing += lost
        whole = whole or (best is not None and not lost and _is_last(best, run[-1]))
    how_often = int(len(run) > 1 and not whole)
    return missing + how_often, sum(map(len, values.values())) + how_often


def _is_last(binding: Binding, call: Call) -> bool:
    """Whether the call took the last element of the list that a loop goes over."""
    if binding[0] != "next":
        return False
    found = _at(call.before.get(binding[1]), binding[2:])
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
    turns: dict[str, Counter[str]] = defaultdict(Counter)
    for made in (made for message in messages for made in message.get("tool_calls") or ()):
        name, given = str(made["function"]["name"]), json.loads(made["function"]["arguments"] or "{}")
        turn = {tool: count[name] for tool, count in turns.items()}
        calls.append(Call(name, dict(given), outputs.get(made["id"]), dict(before), turn))
        before[name] = outputs.get(made["id"])
        for count in turns.values():
            count[name] += 1
        turns[name] = Counter()
    return Conversation(str(record["task_id"]), tuple(calls))


def _parsed(content: Any) -> Any:
    try:
        return json.loads(content) if isinstance(content, str) else content
    except ValueError:
        return content


def mine(conversations: Iterable[Conversation], least: int = LEAST) -> list[Macro]:
    """Macros with support of at least `least` distinct tasks, the longest first."""
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
    sources = _best_sources(conversations, least)
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
    return any(binding[0] == "next" for _, bindings in sources for binding in bindings)


def _best_sources(
    conversations: Iterable[Conversation], least: int
) -> dict[str, tuple[tuple[str, tuple[Binding, ...]], ...]]:
    """For each tool the places its arguments come from in most tasks."""
    votes: dict[str, dict[str, dict[Binding, set[str]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(set))
    )
    for one in conversations:
        for call in one.calls[1:]:
            for name, possible in _sources(call).items():
                for binding in possible:
                    votes[call.name][name][binding].add(one.task)
    found: dict[str, tuple[tuple[str, tuple[Binding, ...]], ...]] = {}
    for tool, arguments in votes.items():
        best = []
        for name, tasks in sorted(arguments.items()):
            ranked = sorted(
                (-len(of), _KINDS.index(binding[0]), len(binding), repr(binding), binding)
                for binding, of in tasks.items()
                if len(of) >= least
            )
            best.append((name, tuple(binding for *_, binding in ranked[:_SOURCES])))
        found[tool] = tuple(best)
    return found


def _sources(call: Call) -> dict[str, set[Binding]]:
    """For each argument everything it could come from."""
    wanted = {name: _text(value) for name, value in call.arguments.items()}
    names_of: dict[str, list[str]] = defaultdict(list)
    for name, text in wanted.items():
        names_of[text].append(name)
    found: dict[str, set[Binding]] = {name: {("literal", text)} for name, text in wanted.items()}
    for tool, output in call.before.items():
        turn = call.turn.get(tool, 0)
        for path, value in _walk(output, ()):
            for name in names_of.get(_text(value), ()) if value is not None else ():
                found[name].add(("path", tool, *path))
                if path and path[-1] == turn and isinstance(path[-1], int):
                    found[name].add(("next", tool, *path[:-1]))
            for name, given in call.arguments.items():
                fields = _fields(given)
                if fields and isinstance(value, list) and _picked(value, fields) == given:
                    found[name].add(("fields", tool, fields, *path))
    return found


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


def _holds(binding: Binding, value: Any, call: Call) -> bool:
    kind, *where = binding
    if kind == "literal":
        return bool(where[0] == _text(value))
    output = call.before.get(where[0])
    if kind == "fields":
        records = _at(output, where[2:])
        found = _picked(records, where[1]) if isinstance(records, list) else None
    elif kind == "next":
        elements = _at(output, where[1:])
        found = _at(elements, [call.turn.get(where[0], 0)]) if isinstance(elements, list) else None
    else:
        found = _at(output, where[1:])
    return found is not None and _text(found) == _text(value)


@dataclass
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

    def add(self, other: "Covered") -> None:
        """Count another's conversations too."""
        self.calls += other.calls
        self.steps += other.steps
        self.arguments += other.arguments
        self.unbound += other.unbound


def cover(conversations: Iterable[Conversation], macros: Sequence[Macro], price: float) -> Covered:
    """The fewest steps, each unbound argument more than are allowed weighed as `price` of one."""
    by_names = {macro.names: macro for macro in macros}
    result = Covered()
    for one in conversations:
        best: list[tuple[float, int, int, int]] = [(0.0, 0, 0, 0)] * (len(one.calls) + 1)
        for start in range(len(one.calls) - 1, -1, -1):
            weight, steps, arguments, unbound = best[start + 1]
            best[start] = (weight + 1, steps + 1, arguments, unbound)
            for end, macro in _fitting(one.calls, start, by_names):
                missing, count = macro.unbound(one.calls[start:end])
                weight, steps, arguments, unbound = best[end]
                price_here = price * (missing - (1 - LEAST_BOUND) * count)
                tried = (weight + 1 + price_here, steps + 1, arguments + count, unbound + missing)
                best[start] = min(best[start], tried)
        result.add(Covered(len(one.calls), *best[0][1:]))
    return result


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


def fitting_price(conversations: Sequence[Conversation]) -> float:
    """The price with which macros of other tasks take most steps off and keep enough arguments bound."""
    order = {task: n for n, task in enumerate(sorted({one.task for one in conversations}))}
    totals = {price: Covered() for price in _PRICES}
    for fold in range(_FOLDS):
        held = [one for one in conversations if order[one.task] % _FOLDS == fold]
        macros = mine([one for one in conversations if order[one.task] % _FOLDS != fold])
        for price, total in totals.items():
            total.add(cover(held, macros, price))
    enough = [(total.compression, price) for price, total in totals.items() if total.bound >= LEAST_BOUND]
    return max(enough)[1] if enough else _PRICES[-1]


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
            possible = _sources(Call(call.name, call.arguments, None, outputs))
            missing = sum(
                len(found) == 1 and len(literals[call.name, name, _text(call.arguments[name])]) < least
                for name, found in possible.items()
            )
            excess.append(missing - (1 - LEAST_BOUND) * len(call.arguments))
    budget, saved = 1e-9, 0
    for over in sorted(excess):
        budget -= over
        if budget < 0:
            break
        saved += 1
    return calls / (calls - saved) if calls else 1.0
