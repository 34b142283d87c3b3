"""JSON of sessions (protocol section 6.1)."""

import msgspec
from msgspec import UNSET, UnsetType

SESSION_ENDED = "SESSION_ENDED"
COMMAND_ALREADY_COMPLETED = "COMMAND_ALREADY_COMPLETED"
STDOUT, STDERR = b"\x01\x01\x01", b"\x02\x02\x02"
"""What stands before what was written to each stream, where both travel in one."""


class CreateSession(msgspec.Struct, rename="camel"):
    """`POST /process/session`."""

    session_id: str


class Execute(msgspec.Struct, rename="camel"):
    """`POST /process/session/{session}/exec`; `async` is the older name of `runAsync`."""

    command: str
    run_async: bool | None = None
    is_async: bool | None = msgspec.field(default=None, name="async")
    suppress_input_echo: bool | None = None


class Input(msgspec.Struct):
    """`POST /process/session/{session}/command/{command}/input`."""

    data: str


class Command(msgspec.Struct, rename="camel"):
    """One command; without exit code while it runs."""

    id: str
    command: str
    exit_code: int | UnsetType = UNSET


class Session(msgspec.Struct, rename="camel"):
    """One session."""

    session_id: str
    commands: list[Command]


class Executed(msgspec.Struct, rename="camel"):
    """Answer of exec: of an asynchronous one only the id."""

    cmd_id: str
    exit_code: int | UnsetType = UNSET
    output: str | UnsetType = UNSET
    stdout: str | UnsetType = UNSET
    stderr: str | UnsetType = UNSET


class Logs(msgspec.Struct):
    """What a command wrote, for clients since 0.167."""

    output: str
    stdout: str
    stderr: str
