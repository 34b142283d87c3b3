"""The sockets a server can listen on.

Who serves them is in `serving`. A Unix socket is its owner's alone; one that nobody listens on any more is replaced.
"""

import errno
import os
import socket
from pathlib import Path

BACKLOG = 2048
"""Connections that the kernel keeps waiting."""


def url_of(listener: socket.socket) -> str:
    """What a client is given to find this socket."""
    name = listener.getsockname()
    if listener.family == socket.AF_UNIX:
        return f"unix:{name}"
    host = f"[{name[0]}]" if ":" in name[0] else name[0]
    return f"http://{host}:{name[1]}/api"


def listen_tcp(host: str, port: int) -> socket.socket:
    """A TCP socket; port 0 takes a free one.

    Raises:
        OSError: The address cannot be bound.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise OSError(error.errno, f"cannot listen on {host} port {port}: {error.strerror}") from None


def listen_fd(fd: int) -> socket.socket:
    """A bound stream socket that the parent process has opened.

    Raises:
        OSError: It is none.
    """
    try:
        listener = socket.socket(fileno=fd)
        listener.listen(BACKLOG)
    except OSError as error:
        raise OSError(error.errno, f"cannot listen on descriptor {fd}: {error.strerror}") from None
    return listener


def listen_unix(path: Path) -> socket.socket:
    """A Unix socket that only its owner (and root) can connect to.

    Raises:
        OSError: The path is too long or taken, or may not be written.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if _is_stale(path):
            path.unlink()
        listener.bind(str(path))
    except OSError as error:
        listener.close()
        raise OSError(error.errno, f"cannot listen on {path}: {error.strerror or error}") from None
    finally:
        os.umask(before)
    listener.listen(BACKLOG)
    return listener


def _is_stale(path: Path) -> bool:
    """Whether a socket stands there that nobody listens on any more."""
    if not path.is_socket():
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        return probe.connect_ex(str(path)) == errno.ECONNREFUSED
