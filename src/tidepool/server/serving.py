"""uvicorn set up for this application.

What is answered is in `app`, where it listens in `listening`. Importing this takes as long as a sandbox takes to be
ready for the first time: a server does it while its spawner starts.
"""

import asyncio
import contextlib
import encodings.idna  # noqa: F401 - used by wsproto, once root is gone and files may be out of reach
import errno
import logging
import socket
from collections.abc import Callable, Generator
from typing import Any

import uvicorn
from uvicorn.protocols.websockets.wsproto_impl import WSProtocol

from tidepool.engine import Engine
from tidepool.server.app import build_app
from tidepool.server.config import ServerConfig
from tidepool.server.connection import Protocol
from tidepool.server.listening import BACKLOG

log = logging.getLogger("tidepool.server")
_ACCEPTED_AT_ONCE = 16
"""Connections taken in one turn of the loop. asyncio uses the number for both, and without descriptors to spare fails,
logs and tries again so many times a second."""
_KEEP_ALIVE_S = 75
_GRACE_S = 3
"""How long requests under way may take when the server is told to end."""


def _on_loop_error(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Say in a line what asyncio says in tracebacks: no descriptor is left to take a connection with."""
    error = context.get("exception")
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE) and "socket" in context:
        log.warning("no descriptor is left for a new connection; it is tried again in a second")
        return
    # asyncio tries to accept again on a socket that has been closed meanwhile.
    if "_start_serving" not in repr(context.get("handle", "")):
        loop.default_exception_handler(context)


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
            http=type("Patient", (Protocol,), {"head_s": config.head_s}),
            ws=WSProtocol,
            ws_per_message_deflate=False,
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            backlog=_ACCEPTED_AT_ONCE,
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
        asyncio.get_running_loop().set_exception_handler(_on_loop_error)
        await super().startup(sockets)
        for sock in sockets or ():
            sock.listen(BACKLOG)
        if self.started:
            self._on_ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Not here: uvicorn would raise them again at its end, before the engine is closed."""
        yield
