"""Network namespaces from outside: sockets made inside one that live on outside (network_namespaces(7), setns(2))."""

import os
import socket

from tidepool.engine.guest import syscalls


def listener_inside(pidfd: int, port: int) -> socket.socket:
    """A TCP socket listening on 127.0.0.1:`port` inside the network namespace of a process.

    The caller must be single-threaded: it enters the namespace and comes back.

    Raises:
        OSError: The process is gone or the port is taken.
    """
    home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        syscalls.setns(pidfd, syscalls.CLONE_NEWNET)
        try:
            listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", port))
            listener.listen(64)
        finally:
            syscalls.setns(home, syscalls.CLONE_NEWNET)
    finally:
        os.close(home)
    return listener
