"""What a zygote says to the spawner: decoded strictly, because a package that was preloaded there can speak for it.

Frames are bounded, and a pidfd comes with a fork and nothing with anything else. What does not fit ends the zygote;
descriptors that came with that are kept until it is dead (`kernel.strays` says why).
"""

import socket
from typing import Annotated

import msgspec

from tidepool.engine.kernel import pidfd, strays

MAX_FRAME = 64 << 10
"""Half of what the engine takes: with a few words around it, it is handed on."""
_Number = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]


class Ready(msgspec.Struct, tag="ready", tag_field="ev"):
    """All is preloaded; said once."""

    loaded: _Number
    failed: dict[str, str]
    refused: str


class Forked(msgspec.Struct, tag="forked", tag_field="ev"):
    """The init of a sandbox has begun; its pidfd comes along."""

    slot: _Number


class Failed(msgspec.Struct, tag="failed", tag_field="ev"):
    """A sandbox could not be forked."""

    slot: _Number
    why: str


Report = Ready | Forked | Failed

_decode = msgspec.json.Decoder(Report).decode


class NotFitting(Exception):
    """The zygote broke the protocol."""


def receive(sock: socket.socket, kept: list[int]) -> tuple[Report, int] | None:
    """The next report and the pidfd that came with it, else -1; None when the zygote has closed.

    Any other descriptor is added to `kept`.

    Raises:
        NotFitting: It is no report.
        OSError: The connection failed.
    """
    asked = socket.MSG_CMSG_CLOEXEC | socket.MSG_DONTWAIT
    data, ancillary, flags, _ = sock.recvmsg(MAX_FRAME, socket.CMSG_SPACE(4), asked)
    fds = strays.passed(ancillary)
    if not data and not fds:
        return None
    try:
        if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
            raise NotFitting("a report was cut off: too long or too many descriptors")
        report = _decode(data)
        if len(fds) != isinstance(report, Forked) or not all(map(pidfd.is_pidfd, fds)):
            raise NotFitting("a pidfd comes with a fork, and nothing with anything else")
    except (msgspec.MsgspecError, ValueError, RecursionError, NotFitting) as error:
        kept += fds
        raise NotFitting(str(error)) from None
    return report, fds[0] if fds else -1
