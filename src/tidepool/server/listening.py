"""The sockets a server can listen on, and uvicorn set up for this application.

What is answered is in `app`. A Unix socket is its owner's alone; one that nobody listens on any more is replaced.
"""

import contextlib
import encodings.idna  # noqa: F401 - used by wsproto, once root is gone and files may be out of reach
import errno
import os
import socket
from collections.abc import Callable, Generator
from pathlib import Path

import uvicorn
from uvicorn.protocols.websockets.wsproto_impl import WSProtocol

from tidepool.engine import Engine
from tidepool.server.app import build_app
from tidepool.server.config import ServerConfig
from tidepool.server.connection import Protocol

_BACKLOG = 2048
_KEEP_ALIVE_S = 75
_GRACE_S = 3
"""How long requests under way may take when the server is told to end."""


class HttpServer(uvicorn.Server):
    """uvicorn with this application; signals are its caller's business."""

    def __init__(
        self,
        engine: Engine,
        config: ServerConfig,
        on_ready: Callable[[], None],
        ssh: socket.socket | None = None,
    ) -> None:
        settings = uvicorn.Config(
            build_app(engine, config, self.stop, ssh),
            http=Protocol,
            ws=WSProtocol,
            ws_per_message_deflate=False,
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            backlog=_BACKLOG,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=_GRACE_S,
        )
        super().__init__(settings)
        self._on_ready = on_ready
        self.was_told = False
        """Whether a signal has told it to end."""

    def end(self, number: int) -> None:
        """Do as a signal says."""
        self.was_told = True
        self.handle_exit(number, None)

    def stop(self) -> None:
        """End as soon as requests under way are answered, or their time is over."""
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then say so."""
        await super().startup(sockets)
        if self.started:
            self._on_ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Not here: uvicorn would raise them again at its end, before the engine is closed."""
        yield


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
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise OSError(error.errno, f"cannot listen on {host} port {port}: {error.strerror}") from None


def listen_fd(fd: int) -> socket.socket:
    """A bound stream socket that the parent process has opened.

    Raises:
        OSError: It is none.
    """
    try:
        listener = socket.socket(fileno=fd)
        listener.listen(_BACKLOG)
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
    listener.listen(_BACKLOG)
    return listener


def _is_stale(path: Path) -> bool:
    """Whether a socket stands there that nobody listens on any more."""
    if not path.is_socket():
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        return probe.connect_ex(str(path)) == errno.ECONNREFUSED
