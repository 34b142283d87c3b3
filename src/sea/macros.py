"""Call sequences that recur in tool-calling conversations, with where each argument comes from. Pure.

A macro is some calls in a row. An argument after its first call is bound when it equals what stands at a fixed path of
the last output that one tool gave so far, or is a literal of the macro; what is not bound must be passed and counts as
unbound. Support counts distinct tasks.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

MAX_LENGTH = 8
_VARIANTS = 6
"""Macros of the same tools that differ in where arguments come from."""
_LEAST_BOUND = 0.9
_MAX_VALUES = 4000
"""Places of one output that are looked at."""
_PRICES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9, 1.5, 3.0)
"""Steps that one unbound argument is weighed with; the cheapest that keeps enough bound is taken."""

Binding = tuple[Any, ...]
"""("path", tool whose last output it is, key, key, …) or ("literal", text)."""


@dataclass(frozen=True)
class Call:
    """One call of a tool, and what it gave."""

    name: str
    arguments: dict[str, Any]
    output: Any = None
    before: dict[str, Any] = field(default_factory=dict)
    """Last output of each tool before this call."""


@dataclass(frozen=True)
class Conversation:
    """The calls of one run on one task."""

    task: str
    calls: tuple[Call, ...]


@dataclass(frozen=True)
class Macro:
    """Calls in a row that are made as one."""

    names: tuple[str, ...]
    bindings: tuple[tuple[int, str, Binding], ...]
    """(number of the call, argument, where it comes from)."""
    support: int
    """Distinct tasks."""

    def unbound(self, calls: Sequence[Call]) -> tuple[int, int]:
        """Of these calls' arguments after the first call: how many are not bound, and how many there are."""
        known = {(number, name): binding for number, name, binding in self.bindings}
        missing = count = 0
        for number, call in enumerate(calls[1:], 1):
            for name, value in call.arguments.items():
                binding = known.get((number, name))
                count += 1
                missing += binding is None or not _holds(binding, value, call)
        return missing, count


def conversation(record: dict[str, Any]) -> Conversation:
    """The calls of a record with messages in the chat format of OpenAI.

    Raises:
        KeyError, TypeError, ValueError: It has another shape.
    """
    messages = record["messages"]
    outputs = {m["tool_call_id"]: _parsed(m.get("content")) for m in messages if m.get("role") == "tool"}
    calls: list[Call] = []
    before: dict[str, Any] = {}
    for made in (made for message in messages for made in message.get("tool_calls") or ()):
        name, given = str(made["function"]["name"]), json.loads(made["function"]["arguments"] or "{}")
        calls.append(Call(name, dict(given), outputs.get(made["id"]), dict(before)))
        before[name] = outputs.get(made["id"])
    return Conversation(str(record["task_id"]), tuple(calls))


def _parsed(content: Any) -> Any:
    try:
        return json.loads(content) if isinstance(content, str) else content
    except ValueError:
        return content


def mine(conversations: Iterable[Conversation], least: int = 3) -> list[Macro]:
    """Macros with support of at least `least` distinct tasks, the longest first."""
    places: dict[tuple[str, ...], list[tuple[str, tuple[Call, ...]]]] = defaultdict(list)
    for one in conversations:
        names = tuple(call.name for call in one.calls)
        for start in range(len(names)):
            for end in range(start + 2, min(len(names), start + MAX_LENGTH) + 1):
                places[names[start:end]].append((one.task, one.calls[start:end]))
    found: list[Macro] = []
    for names, seen in places.items():
        if len({task for task, _ in seen}) >= least:
            found += _variants(names, seen, least)
    return sorted(
        found, key=lambda macro: (-len(macro.names), -macro.support, macro.names, repr(macro.bindings))
    )


def _variants(
    names: tuple[str, ...], seen: list[tuple[str, tuple[Call, ...]]], least: int
) -> Iterator[Macro]:
    """Macros of these tools: the most usual sources first, then those of the places where they do not hold."""
    sources = [(task, calls, _sources(calls)) for task, calls in seen]
    for _ in range(_VARIANTS):
        tasks = {task for task, _, _ in sources}
        if len(tasks) < least:
            return
        votes: dict[tuple[int, str], Counter[Binding]] = defaultdict(Counter)
        for _, _, possible in _one_a_task(sources):
            for place, bindings in possible.items():
                votes[place].update(bindings)
        bindings = []
        for (number, name), counted in sorted(votes.items()):
            best, count = min(
                counted.items(),
                key=lambda item: (-item[1], item[0][0] == "literal", len(item[0]), repr(item[0])),
            )
            if count >= min(2, least):
                bindings.append((number, name, best))
        macro = Macro(names, tuple(bindings), len(tasks))
        yield macro
        rest = [(task, calls, possible) for task, calls, possible in sources if macro.unbound(calls)[0]]
        if len(rest) == len(sources):
            return
        sources = rest


def _one_a_task(sources: list[tuple[str, tuple[Call, ...], Any]]) -> list[tuple[str, tuple[Call, ...], Any]]:
    """Different places of a task, each counted once: four runs of one task prove no more than one."""
    found: dict[tuple[str, str], tuple[str, tuple[Call, ...], Any]] = {}
    for task, calls, possible in sources:
        found.setdefault((task, repr([call.arguments for call in calls])), (task, calls, possible))
    return list(found.values())


def _sources(calls: tuple[Call, ...]) -> dict[tuple[int, str], list[Binding]]:
    """For each argument after the first call everything it could come from."""
    found: dict[tuple[int, str], list[Binding]] = {}
    for number, call in enumerate(calls[1:], 1):
        wanted = {_text(value) for value in call.arguments.values()}
        known: dict[str, list[Binding]] = defaultdict(list)
        for tool, output in call.before.items():
            for path, value in _walk(output, ("path", tool)):
                if isinstance(value, str | int | float | list | dict) and (text := _text(value)) in wanted:
                    known[text].append(path)
        for name, value in call.arguments.items():
            found[number, name] = [*known[_text(value)], ("literal", _text(value))]
    return found


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


def _holds(binding: Binding, value: Any, call: Call) -> bool:
    if binding[0] == "literal":
        return bool(binding[1] == _text(value))
    found: Any = call.before.get(binding[1])
    for key in binding[2:]:
        try:
            found = found[key]
        except (KeyError, IndexError, TypeError):
            return False
    return _text(found) == _text(value)


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


def cover(conversations: Iterable[Conversation], macros: Sequence[Macro], price: float) -> Covered:
    """The fewest steps, each unbound argument weighed as `price` of one."""
    by_first: dict[str, list[Macro]] = defaultdict(list)
    for macro in macros:
        by_first[macro.names[0]].append(macro)
    result = Covered()
    for one in conversations:
        names = tuple(call.name for call in one.calls)
        best: list[tuple[float, int, int, int]] = [(0.0, 0, 0, 0)] * (len(names) + 1)
        for start in range(len(names) - 1, -1, -1):
            weight, steps, arguments, unbound = best[start + 1]
            best[start] = (weight + 1, steps + 1, arguments, unbound)
            for macro in by_first[names[start]]:
                end = start + len(macro.names)
                if names[start:end] == macro.names:
                    missing, count = macro.unbound(one.calls[start:end])
                    weight, steps, arguments, unbound = best[end]
                    tried = (weight + 1 + price * missing, steps + 1, arguments + count, unbound + missing)
                    best[start] = min(best[start], tried)
        result.calls += len(names)
        result.steps += best[0][1]
        result.arguments += best[0][2]
        result.unbound += best[0][3]
    return result


def fitting_price(conversations: Sequence[Conversation], macros: Sequence[Macro]) -> float:
    """The lowest price at which enough arguments are bound."""
    for price in _PRICES:
        if cover(conversations, macros, price).bound >= _LEAST_BOUND:
            return price
    return _PRICES[-1]
