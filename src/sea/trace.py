"""What happened: immutable records of solver runs, whatever format they came in."""

import hashlib
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Step:
    """One step of a trace that holds code, and what running it gave."""

    code: str
    output: str | None = None
    """What it printed, without trailing white space; None when nothing was recorded."""
    answer: str | None = None
    """The recorded value of the variable `ans`, as its `repr`, for programs that leave their result there."""
    result_name: str | None = None
    """The variable that holds the program's result, where it is not printed."""
    index: int = 0
    prelude: tuple[str, ...] = ()
    """Import lines and helpers that the solver's runtime had in scope."""


@dataclass(frozen=True)
class Action:
    """One call of a tool or command of a shell in a trace, and what it gave."""

    name: str
    arguments: dict[str, Any]
    output: Any = None
    """As recorded: text or a JSON value; None when nothing was recorded."""
    error: bool = False
    index: int = 0
    """Place among the trace's steps and actions, counted together."""


@dataclass(frozen=True)
class Trace:
    """One solver run on one task."""

    id: str
    task_id: str
    """What support and splits are counted on; two traces of one task share it."""
    source: str
    """File and line it came from."""
    steps: tuple[Step, ...]
    problem: str = ""
    status: str = "ok"
    correct: bool | None = None
    """Whether the answer was right, when the trace says."""
    actions: tuple[Action, ...] = ()
    """Calls and commands in order; programs are in `steps`."""


@dataclass
class Intake:
    """What was read, and what was not."""

    traces: list[Trace] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    """One sentence a record, with file and line."""
    files: int = 0

    @property
    def tasks(self) -> int:
        """How many distinct tasks."""
        return len({trace.task_id for trace in self.traces})


def task_of(text: str) -> str:
    """A task id for a record that has none: the hash of its problem's text."""
    return "t-" + hashlib.sha256(" ".join(text.split()).encode()).hexdigest()[:16]
