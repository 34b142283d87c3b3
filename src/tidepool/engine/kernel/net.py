"""Network namespaces from outside: sockets made inside one that live on outside (network_namespaces(7), setns(2))."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from tidepool.engine.guest import syscalls


@contextmanager
def _inside(pidfd: int) -> Iterator[None]:
    """In the network namespace of a process. The caller must be single-threaded: it enters and comes back."""
    home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        syscalls.setns(pidfd, syscalls.CLONE_NEWNET)
        try:
            yield
        finally:
            syscalls.setns(home, syscalls.CLONE_NEWNET)
    finally:
        os.close(home)


def socket_inside(pidfd: int, family: socket.AddressFamily) -> socket.socket:
    """A TCP socket of the network namespace of a process: whatever it connects to is in there.

    Raises:
        OSError: The process is gone, or its namespace has no such addresses.
    """
    with _inside(pidfd):
        return socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)


def listener_inside(pidfd: int, port: int) -> socket.socket:
    """A TCP socket listening on 127.0.0.1:`port` inside the network namespace of a process.

    Raises:
        OSError: The process is gone or the port is taken.
    """
    listener = socket_inside(pidfd, socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(64)
    except OSError:
        listener.close()
        raise
    return listener
