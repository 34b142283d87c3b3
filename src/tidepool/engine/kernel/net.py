"""Network namespaces from outside: sockets made inside one that live on outside (network_namespaces(7), setns(2)).

A thread enters and ends there: whoever is not root of the host could not come back.
"""

import socket
import threading

from tidepool.engine.guest import syscalls


def socket_inside(pidfd: int, family: socket.AddressFamily) -> socket.socket:
    """A TCP socket of the network namespace of a process: whatever it connects to is in there.

    Raises:
        OSError: The process is gone, or its namespace has no such addresses.
    """
    made: list[socket.socket] = []
    failed: list[OSError] = []

    def make() -> None:
        try:
            syscalls.setns(pidfd, syscalls.CLONE_NEWNET)
            made.append(socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC))
        except OSError as error:
            failed.append(error)

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return made[0]


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
