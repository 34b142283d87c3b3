"""JSON of terminals over REST and of the text messages beside their bytes (protocol section 7.2)."""

import base64
import binascii

import msgspec
from msgspec import UNSET, UnsetType

EXIT_CONTROL = "X-Daytona-Pty-Exit-Control"
"""Subprotocol: the client wants to be told of the end in a message before the closing frame."""
ENVS = "X-Daytona-Pty-Envs~"
"""Subprotocol: what follows is a JSON object of variables in base64url without padding."""
CLOSE_EXITED = 1000
"""The shell ended with 0."""
CLOSE_FAILED = 1011
"""It ended otherwise, or the terminal failed; the reason says how."""


class Create(msgspec.Struct, rename="camel"):
    """`POST /process/pty`."""

    id: str = ""
    cwd: str | None = None
    envs: dict[str, str] | None = None
    cols: int | None = None
    rows: int | None = None
    lazy_start: bool = False
    """Whether the shell begins only when somebody connects."""


class Created(msgspec.Struct, rename="camel"):
    """The terminal that was made."""

    session_id: str


class Resize(msgspec.Struct):
    """`POST /process/pty/{terminal}/resize`."""

    cols: int
    rows: int


class Terminal(msgspec.Struct, rename="camel"):
    """One terminal."""

    id: str
    cwd: str
    envs: dict[str, str]
    cols: int
    rows: int
    created_at: str
    active: bool
    lazy_start: bool


class Terminals(msgspec.Struct):
    """`GET /process/pty`."""

    sessions: list[Terminal]


class Message(msgspec.Struct):
    """What was done, in words."""

    message: str


class Exit(msgspec.Struct, rename="camel"):
    """The reason of the closing frame."""

    exit_code: int
    exit_reason: str | UnsetType = UNSET
    """Why; clients take it for an error, so there is none where the shell ended by itself."""


class Exited(Exit, rename="camel", tag="control", kw_only=True):
    """The last message."""

    status: str = "exited"


class Connected(msgspec.Struct, tag="control"):
    """The first message."""

    status: str = "connected"


def envs_of(subprotocols: list[str]) -> dict[str, str]:
    """The variables that a client sent as a subprotocol; none where it sent none.

    Raises:
        ValueError: They are not as agreed.
    """
    text = next((name[len(ENVS) :] for name in subprotocols if name.startswith(ENVS)), None)
    if text is None:
        return {}
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        return msgspec.json.decode(raw, type=dict[str, str])
    except (binascii.Error, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"the subprotocol {ENVS} does not hold variables: {error}") from None
