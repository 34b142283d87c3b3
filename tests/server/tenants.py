"""A server in this process with two keys and an engine that can be reached: what no server of one's own can show.

It is the same application over a real socket; only root is kept, for it is this process's.
"""

import asyncio
import os
import socket
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from starlette.applications import Starlette

from tidepool.engine import Engine, EngineConfig
from tidepool.server.config import ServerConfig, make_records_dir
from tidepool.server.events import Events
from tidepool.server.listening import listen_tcp, url_of
from tidepool.server.serving import HttpServer

T = TypeVar("T")
KEYS = {"key-of-one": "one", "key-of-two": "two"}


class TwoTenants:
    """Engine and server on a loop of their own."""

    engine: Engine
    _server: HttpServer
    _loop: asyncio.AbstractEventLoop

    def __init__(self, state_dir: Path, runtime_dir: Path) -> None:
        self._config = ServerConfig(state_dir, runtime_dir, KEYS, pool_size=0, realm="two")
        self._listener: socket.socket = listen_tcp("127.0.0.1", 0)
        self.url = url_of(self._listener)
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._thread.start()
        assert self._ready.wait(30), "the server did not start"

    async def _serve(self) -> None:
        config = EngineConfig(
            self._config.state_dir, self._config.runtime_dir, 0, drop_root=False, storage=self._config.storage
        )
        self._loop = asyncio.get_running_loop()
        make_records_dir(self._config.records_dir, os.geteuid())
        self.engine = await Engine.start(config)
        try:
            self._server = HttpServer(self.engine, self._config, self._ready.set)
            await self._server.serve(sockets=[self._listener])
        finally:
            await self.engine.close()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the server's loop and wait for it."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(40)

    @property
    def events(self) -> Events:
        """What tells the server's clients something."""
        found: Events = self._server.config.app.state.events
        return found

    @property
    def app(self) -> Starlette:
        """The application itself."""
        found: Starlette = self._server.config.app
        return found

    def accepted(self) -> list[socket.socket]:
        """The server's ends of the connections that are open."""
        open_ones = self._server.server_state.connections
        return [connection.transport.get_extra_info("socket") for connection in open_ones]

    def close(self) -> None:
        """End it and wait."""
        self._server.stop()
        self._thread.join(30)
        assert not self._thread.is_alive()
