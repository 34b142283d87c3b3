"""Small JSON frames with file descriptors over a SOCK_SEQPACKET socket: how host, zygote and init talk.

One frame is one packet of at most `MAX_FRAME` bytes and `MAX_FDS` descriptors. A frame that is longer, not JSON, not an
object or cut off by the kernel raises `BadFrame`; descriptors that came with it are closed.
"""

import array
import json
import os
import socket
from typing import Any

MAX_FRAME = 128 * 1024  # below the default socket buffer, so that one packet always fits
MAX_FDS = 24


class BadFrame(Exception):
    """The peer broke the protocol."""


def send(sock: socket.socket, message: dict[str, Any], fds: tuple[int, ...] = ()) -> None:
    """Send one frame; blocks while the peer's buffer is full unless the socket does not block.

    Raises:
        BadFrame: The frame is longer than MAX_FRAME.
        OSError: The peer is gone, or a non-blocking socket is full.
    """
    data = json.dumps(message, separators=(",", ":"), ensure_ascii=True).encode()
    if len(data) > MAX_FRAME:
        raise BadFrame(f"a frame of {len(data)} bytes; at most {MAX_FRAME} are allowed")
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    sock.sendmsg([data], ancillary, socket.MSG_NOSIGNAL)


def receive(sock: socket.socket, flags: int = 0) -> tuple[dict[str, Any], list[int]] | None:
    """The next frame and its descriptors (close-on-exec), or None when the peer has closed.

    Raises:
        BadFrame: The packet is no frame.
        BlockingIOError: The socket does not block and nothing is there.
    """
    data, ancillary, message_flags, _ = sock.recvmsg(
        MAX_FRAME + 1, socket.CMSG_SPACE(MAX_FDS * 4), flags | socket.MSG_CMSG_CLOEXEC
    )
    fds: list[int] = []
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            numbers = array.array("i")
            numbers.frombytes(payload[: len(payload) - len(payload) % numbers.itemsize])
            fds.extend(numbers)
    if not data:
        close_all(fds)
        return None
    try:
        if message_flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
            raise BadFrame("a frame was cut off: too long or too many descriptors")
        message = json.loads(data)
        if not isinstance(message, dict):
            raise BadFrame("a frame is not an object")
    except (ValueError, RecursionError) as error:
        close_all(fds)
        raise BadFrame(f"a frame is not JSON: {error}") from None
    except BadFrame:
        close_all(fds)
        raise
    return message, fds


def write_filters(fd: int, sandbox: bytes, zygote: bytes) -> None:
    """Put both filters of system calls into a file."""
    os.write(fd, len(sandbox).to_bytes(4, "little") + sandbox + zygote)


def read_filters(fd: int) -> tuple[bytes, bytes]:
    """What `write_filters` has put there: a sandbox's filter, and that of a zygote with packages."""
    data = os.pread(fd, os.fstat(fd).st_size, 0)
    end = 4 + int.from_bytes(data[:4], "little")
    return data[4:end], data[end:]


def close_all(fds: list[int]) -> None:
    """Close every descriptor."""
    for fd in fds:
        os.close(fd)


def rehearse(message: dict[str, Any]) -> dict[str, Any]:
    """Send and receive it for nothing, with a descriptor, as orders come.

    Raises:
        OSError: There are no more descriptors.
        BadFrame: It is too long.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        send(ours, message, (ours.fileno(),))
        received, fds = receive(theirs) or ({}, [])
        close_all(fds)
        return received
