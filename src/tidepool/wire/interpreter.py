"""JSON of interpreter contexts and of the messages while code runs in one (protocol section 7.3)."""

import msgspec

from tidepool.wire.charts import Chart

CLOSE_DONE = 1000
CLOSE_REFUSED = 1008
"""No such context, or a first message that does not fit."""
CLOSE_FAULT = 1011
CLOSE_TIMEOUT = 4008


class CreateContext(msgspec.Struct):
    """`POST /process/interpreter/context`."""

    cwd: str | None = None
    language: str | None = None


class Context(msgspec.Struct, rename="camel"):
    """One context."""

    id: str
    cwd: str
    created_at: str
    active: bool
    language: str


class Contexts(msgspec.Struct):
    """`GET /process/interpreter/context`."""

    contexts: list[Context]


class Message(msgspec.Struct):
    """What was done, in words."""

    message: str


class Execute(msgspec.Struct, rename="camel"):
    """A client's first message."""

    code: str
    context_id: str | None = None
    """None is the shared default context."""
    envs: dict[str, str] | None = None
    timeout: float | None = None
    """Seconds; None is 600, 0 is no limit."""


class Output(msgspec.Struct):
    """A piece of what the code wrote."""

    type: str
    """stdout or stderr."""
    text: str


class Error(msgspec.Struct, tag="error"):
    """The exception that ended the code."""

    name: str
    value: str
    traceback: str


class Control(msgspec.Struct, tag="control"):
    """How the run ended."""

    text: str
    """completed or interrupted."""


class Shown(msgspec.Struct, tag="chart"):
    """A figure that the code showed (ours; official clients pass over it)."""

    chart: Chart
