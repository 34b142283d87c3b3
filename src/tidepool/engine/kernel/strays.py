"""Descriptors that an untrusted process passed over a socket: taken in, and closed so that nobody waits for it.

The last close of a TCP socket with SO_LINGER waits for its peer, for hours if its owner likes (socket(7)); descriptors
in a frame that nobody has read are closed with the socket they came over. Whoever closes takes the option back first.
"""

import array
import contextlib
import os
import socket
import stat
import struct
from collections.abc import Sequence

_NO_LINGER = struct.pack("ii", 0, 0)
_AT_ONCE = 256
"""Above what one frame can carry (SCM_MAX_FD is 253)."""


def passed(ancillary: Sequence[tuple[int, int, bytes]]) -> list[int]:
    """The descriptors that came with a frame, from recvmsg(2)'s second answer."""
    numbers = array.array("i")
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            numbers.frombytes(payload[: len(payload) - len(payload) % numbers.itemsize])
    return list(numbers)


def is_plain(fd: int) -> bool:
    """Whether it is a regular file: closing that waits for nobody."""
    return stat.S_ISREG(os.fstat(fd).st_mode)


def drain(sock: socket.socket) -> list[int]:
    """Take what the peer has sent, and see to it that it can send no more; returns the descriptors that came.

    The socket is left open; it is still to be closed.
    """
    found: list[int] = []
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RD)  # unix(7) sockets: the peer's next send fails
        flags = socket.MSG_CMSG_CLOEXEC | socket.MSG_DONTWAIT
        while True:
            data, ancillary, _, _ = sock.recvmsg(1, socket.CMSG_SPACE(_AT_ONCE * 4), flags)
            if not data and not ancillary:
                break
            found += passed(ancillary)
    return found


def shed(fds: list[int]) -> None:
    """Close descriptors of any kind and empty the list.

    Never waits as long as none of the processes that passed them lives: such a one could set the option again.
    """
    for fd in fds:
        try:
            sock = socket.socket(fileno=fd)
        except OSError:  # no socket
            os.close(fd)
            continue
        with sock, contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    fds.clear()
