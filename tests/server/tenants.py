"""A server in this process with two keys: what a tenant can see of another cannot be asked of a server with one."""

import asyncio
import socket
import threading
from pathlib import Path

from tidepool.engine import Engine, EngineConfig
from tidepool.server.config import ServerConfig
from tidepool.server.listening import HttpServer, listen_tcp, url_of

KEYS = {"key-of-one": "one", "key-of-two": "two"}


class TwoTenants:
    """Engine and server on a loop of their own; root is kept, for it is this process's."""

    def __init__(self, state_dir: Path, runtime_dir: Path) -> None:
        self._config = ServerConfig(state_dir, runtime_dir, KEYS, idle_s=3600, pool_size=0)
        self._listener: socket.socket = listen_tcp("127.0.0.1", 0)
        self.url = url_of(self._listener)
        self._ready = threading.Event()
        self._server: HttpServer | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._thread.start()
        assert self._ready.wait(30), "the server did not start"

    async def _serve(self) -> None:
        config = EngineConfig(self._config.state_dir, self._config.runtime_dir, 0, drop_root=False)
        engine = await Engine.start(config)
        try:
            self._server = HttpServer(engine, self._config, self._ready.set)
            await self._server.serve(sockets=[self._listener])
        finally:
            await engine.close()

    def close(self) -> None:
        """End it and wait."""
        assert self._server is not None
        self._server.stop()
        self._thread.join(30)
        assert not self._thread.is_alive()
