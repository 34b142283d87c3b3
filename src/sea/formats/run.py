"""What every trace format is read into: one run that collects calls, commands and programs, then becomes a `Trace`.

Nothing here knows a format. The order is that of the records, or of their start times where all have one.
"""

import ast
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from sea.trace import Action, Step, Trace, task_of

Record = dict[str, Any]
SHELL = "bash"
"""The name that commands of a shell go by."""
_PYTHON = frozenset(
    ("python", "ipython", "python_interpreter", "code_interpreter", "run_python", "run_ipython")
)
_CODE = ("code", "source", "script", "program")


@dataclass(frozen=True)
class Format:
    """One trace format."""

    name: str
    matches: Callable[[Record], bool]
    """Told by keys, never by a file's name."""
    feed: Callable[["Run", Record], None]
    """Add a record to its run; raises KeyError, TypeError, ValueError, AttributeError, IndexError when malformed."""
    group: Callable[[Record], str | None] | None = None
    """The run a record belongs to (None: no run; "": that of its file); without it a record is a run of its own."""


@dataclass
class Entry:
    """A call, command or program, not yet in its place."""

    name: str
    arguments: Record
    output: Any = None
    error: bool = False
    code: str | None = None
    key: str | None = None
    """What its result will name."""
    at: str = ""
    span: str = ""
    leaf: bool = False
    """Counts only when nothing was called below it."""
    known: bool = False
    """Whether its result has come."""


@dataclass
class Run:
    """One run on one task, as far as it has been read."""

    where: str
    id: str = ""
    task: str = ""
    problem: str = ""
    status: str = "ok"
    correct: bool | None = None
    entries: list[Entry] = field(default_factory=list)
    spare: list[Entry] = field(default_factory=list)
    """Used only when `entries` stays empty: what a model asked for, when no tool says that it ran."""
    parents: set[str] = field(default_factory=set)

    def about(self, text: Any) -> None:
        """The task's text; the first that is not empty counts."""
        self.problem = self.problem or text_of(text).strip()

    def call(self, name: Any, arguments: Any, **more: Any) -> Entry:
        """A call; calls of a Python interpreter are programs."""
        given = mapping(arguments)
        entry = Entry(str(name), given, **more)
        code = next((given[word] for word in _CODE if isinstance(given.get(word), str)), None)
        if entry.name.lower() in _PYTHON and code is not None:
            entry.code = code
        self.entries.append(entry)
        return entry

    def shell(self, command: Any, output: Any = None, **more: Any) -> Entry:
        """A command of a shell."""
        return self.call(SHELL, {"command": text_of(command)}, output=output, **more)

    def program(self, code: Any, output: Any = None, **more: Any) -> Entry:
        """A program."""
        entry = Entry("python", {"code": text_of(code)}, output, code=text_of(code), **more)
        self.entries.append(entry)
        return entry

    def result(self, key: Any, output: Any, error: bool = False) -> bool:
        """What the call with this key gave, without one what the latest call gave; False when there is no such call."""
        for entry in reversed(self.entries):
            if not entry.known and (key is None or entry.key == str(key)):
                entry.output, entry.error, entry.known = output, error, True
                return True
        return False

    def trace(self) -> Trace:
        """The finished trace."""
        entries = [e for e in self.entries if not (e.leaf and e.span in self.parents)] or self.spare
        if all(entry.at for entry in entries):
            entries = sorted(entries, key=lambda entry: entry.at)
        steps: list[Step] = []
        actions: list[Action] = []
        for index, entry in enumerate(entries):
            if entry.code is not None and (parses(entry.code) or len(entries) == 1):
                output = None if entry.output is None else text_of(entry.output).rstrip()
                steps.append(Step(entry.code, output, index=index, prelude=_imports(steps)))
            else:
                actions.append(Action(entry.name, entry.arguments, entry.output, entry.error, index))
        identity = self.id or self.where
        task = self.task or task_of(self.problem or identity)
        return Trace(
            identity, task, self.where, tuple(steps), self.problem, self.status, self.correct, tuple(actions)
        )


def parses(code: str) -> bool:
    """Whether a text is Python."""
    try:
        ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _imports(steps: list[Step]) -> tuple[str, ...]:
    """Import lines of earlier programs, which an interpreter that goes on still has."""
    found = dict.fromkeys(
        ast.unparse(stmt)
        for step in steps
        if parses(step.code)
        for stmt in ast.parse(step.code).body
        if isinstance(stmt, ast.Import | ast.ImportFrom)
    )
    return tuple(found)


def text_of(value: Any) -> str:
    """Text of a message's content: itself, or the text parts of a list."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, list) and all(isinstance(part, str | dict) for part in value):
        parts = [part if isinstance(part, str) else part.get("text", part.get("content")) for part in value]
        return "\n".join(text_of(part) for part in parts if part is not None)
    return json.dumps(value, sort_keys=True, default=str)


def mapping(arguments: Any) -> Record:
    """Arguments as names and values; JSON text is read, anything else is the argument `input`."""
    if isinstance(arguments, str):
        arguments = parsed(arguments)
    if isinstance(arguments, dict):
        return {str(name): value for name, value in arguments.items()}
    return {} if arguments is None or arguments == "" else {"input": arguments}


def parsed(value: Any) -> Any:
    """A JSON text's value; anything else as it is."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return value


def right(reward: Any) -> bool | None:
    """Whether a reward says that the task was solved; None when there is none."""
    return float(reward) >= 1 if isinstance(reward, int | float) else None


def dicts(value: Any) -> Iterable[Record]:
    """The mappings of a list.

    Raises:
        TypeError: It is no list.
    """
    if not isinstance(value, list):
        raise TypeError(f"a list was expected, not {type(value).__name__}")
    return [item for item in value if isinstance(item, dict)]
