"""`python -m tidepool.server`: bind, start the engine (which gives root up), serve until a signal or idleness.

Prints one line with its URL on stdout when it is ready. The listening socket is bound first, while the process may
still write where the socket stands; a failure to start is one sentence on stderr and exit status 1.
"""

import argparse
import asyncio
import dataclasses
import logging
import os
import socket
import sys
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from tidepool.engine import Engine, EngineConfig
from tidepool.engine.errors import TidepoolError
from tidepool.server.app import build_app
from tidepool.server.auth import PEER_UID, peer_uid
from tidepool.server.config import ServerConfig, api_keys, directories

_BACKLOG = 2048
_KEEP_ALIVE_S = 75


class Protocol(AutoHTTPProtocol):  # type: ignore[valid-type,misc]  # chosen at run time by uvicorn
    """uvicorn's own, which also notes who is at the other end of a Unix socket."""

    def connection_made(self, transport: Any) -> None:
        """A client has connected."""
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family == socket.AF_UNIX:
            self.app_state: dict[str, Any] = {**self.app_state, PEER_UID: peer_uid(sock)}
        super().connection_made(transport)


def main(argv: list[str] | None = None) -> int:
    """Run a server; returns its exit status."""
    args = _arguments(argv)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        config, note = _config(args)
        listener, url = _listen(args)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"tidepool: cannot start: {error}\n")
        return 1
    if note:
        sys.stderr.write(f"tidepool: {note}\n")
    try:
        return asyncio.run(_serve(config, listener, url))
    except TidepoolError as error:
        sys.stderr.write(f"tidepool: cannot start: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        listener.close()


async def _serve(config: ServerConfig, listener: socket.socket, url: str) -> int:
    engine = await Engine.start(EngineConfig(config.state_dir, config.runtime_dir, config.pool_size))
    servers: list[uvicorn.Server] = []

    def stop() -> None:
        servers[0].should_exit = True

    app = build_app(engine, config, stop)
    settings = uvicorn.Config(
        app,
        http=Protocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=3,
    )
    server = _Announcing(settings, url)
    servers.append(server)
    await server.serve(sockets=[listener])
    return 0 if server.announced else 1


class _Announcing(uvicorn.Server):
    """Says where it is as soon as it listens."""

    def __init__(self, config: uvicorn.Config, url: str) -> None:
        super().__init__(config)
        self._url = url
        self.announced = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then print the line."""
        await super().startup(sockets)
        if self.started:
            sys.stdout.write(f"{self._url}\n")
            sys.stdout.flush()
            self.announced = True


def _config(args: argparse.Namespace) -> tuple[ServerConfig, str]:
    state_dir, runtime_dir = directories(os.environ, os.geteuid())
    config = ServerConfig(
        state_dir,
        runtime_dir,
        allowed_uids=frozenset({0, os.geteuid()}),
        idle_s=args.idle,
        pool_size=args.pool,
    )
    if args.uds:
        return config, ""
    keys, note = api_keys(os.environ, state_dir)
    return dataclasses.replace(config, api_keys=keys), note


def _listen(args: argparse.Namespace) -> tuple[socket.socket, str]:
    if args.uds:
        path = Path(args.uds).absolute()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        old = os.umask(0o177)
        try:
            listener.bind(str(path))
        finally:
            os.umask(old)
        listener.listen(_BACKLOG)
        return listener, f"unix:{path}"
    family = socket.AF_INET6 if ":" in args.host else socket.AF_INET
    listener = socket.create_server((args.host, args.port), family=family, backlog=_BACKLOG)
    host, port = listener.getsockname()[:2]
    return listener, f"http://{f'[{host}]' if ':' in host else host}:{port}/api"


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tidepool.server", description="Daytona's API on this host."
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    parser.add_argument(
        "--port", type=int, default=3986, help="TCP port; 0 takes a free one (default %(default)s)"
    )
    parser.add_argument("--uds", metavar="PATH", help="listen on a Unix socket instead")
    parser.add_argument("--idle", type=float, metavar="SECONDS", help="exit after so long without work")
    parser.add_argument(
        "--pool", type=int, default=2, metavar="N", help="warm sandboxes kept (default %(default)s)"
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
