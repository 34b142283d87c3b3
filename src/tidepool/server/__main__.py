"""`python -m tidepool.server`: bind, start the engine (which gives root up), serve until a signal or idleness.

Prints one line with its URL on stdout when it is ready. The listening socket is bound first, while the process may
still write where the socket stands; a failure to start is one sentence on stderr and exit status 1.
"""

import argparse
import asyncio
import concurrent.futures.thread  # noqa: F401 (asyncio imports it late, when this process may not read it any more)
import contextlib
import errno
import logging
import os
import signal
import socket
import sys
from collections.abc import Generator
from pathlib import Path

import uvicorn

from tidepool.engine import Engine, EngineConfig
from tidepool.engine.errors import TidepoolError
from tidepool.server.app import build_app
from tidepool.server.config import DEFAULT_NETWORK, ServerConfig, from_environment
from tidepool.server.connection import Protocol

_BACKLOG = 2048
_KEEP_ALIVE_S = 75
_GRACE_S = 3
"""How long requests under way may take when the server is told to end."""
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def main(argv: list[str] | None = None) -> int:
    """Run a server; returns its exit status."""
    args = _arguments(argv)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("uvicorn.error").addFilter(_is_worth_a_line)
    try:
        listener, url = _listen(args)
    except (OSError, ValueError) as error:
        return _cannot_start(error)
    with listener:
        try:
            config, note = from_environment(
                needs_key=listener.family != socket.AF_UNIX,
                idle_s=args.idle,
                pool_size=args.pool,
                default_network=args.network,
            )
            if note:
                sys.stderr.write(f"tidepool: {note}\n")
            return asyncio.run(_serve(config, listener, url))
        except (OSError, ValueError, TidepoolError) as error:
            return _cannot_start(error)


def _cannot_start(error: Exception) -> int:
    sys.stderr.write(f"tidepool: cannot start: {error}\n")
    return 1


async def _serve(config: ServerConfig, listener: socket.socket, url: str) -> int:
    loop, this = asyncio.get_running_loop(), asyncio.current_task()
    assert this is not None
    for number in _SIGNALS:  # until the server can be told, a signal ends the start
        loop.add_signal_handler(number, this.cancel)
    try:
        engine = await Engine.start(EngineConfig(config.state_dir, config.runtime_dir, config.pool_size))
        try:
            return await _serve_engine(engine, config, listener, url)
        finally:
            await asyncio.shield(engine.close())
    except asyncio.CancelledError:
        return 0


async def _serve_engine(engine: Engine, config: ServerConfig, listener: socket.socket, url: str) -> int:
    def stop() -> None:
        server.should_exit = True

    settings = uvicorn.Config(
        build_app(engine, config, stop),
        http=Protocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_GRACE_S,
    )
    server = _Server(settings, url)
    for number in _SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, server.handle_exit, number, None)
    await server.serve(sockets=[listener])
    return 0 if server.started else 1


class _Server(uvicorn.Server):
    """Says where it is as soon as it listens; a signal ends it with exit status 0."""

    def __init__(self, config: uvicorn.Config, url: str) -> None:
        super().__init__(config)
        self._url = url

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then print the line."""
        await super().startup(sockets)
        if self.started:
            sys.stdout.write(f"{self._url}\n")
            sys.stdout.flush()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Signals are handled by the loop: uvicorn would raise them again at the end, before the engine is closed."""
        yield


def _is_worth_a_line(record: logging.LogRecord) -> bool:
    """Whether a line of uvicorn's says something: clients ask for a websocket, are told 404, and go on without."""
    return "upgrade request" not in record.getMessage() and "WebSocket library" not in record.getMessage()


def _listen(args: argparse.Namespace) -> tuple[socket.socket, str]:
    """The listening socket and the URL to be printed.

    Raises:
        OSError: It cannot be bound.
    """
    if args.fd is not None:
        listener = socket.socket(fileno=args.fd)
        listener.listen(_BACKLOG)
    elif args.uds is not None:
        listener = _listen_unix(Path(args.uds).absolute())
    else:
        family = socket.AF_INET6 if ":" in args.host else socket.AF_INET
        listener = socket.create_server((args.host, args.port), family=family, backlog=_BACKLOG)
    name = listener.getsockname()
    if listener.family == socket.AF_UNIX:
        return listener, f"unix:{name}"
    host = f"[{name[0]}]" if ":" in name[0] else name[0]
    return listener, f"http://{host}:{name[1]}/api"


def _listen_unix(path: Path) -> socket.socket:
    """A Unix socket that only its owner (and root) can connect to; a stale one of that name is replaced."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
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


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tidepool.server", description="Daytona's API on this host.", allow_abbrev=False
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    where.add_argument("--uds", metavar="PATH", help="listen on a Unix socket instead")
    where.add_argument("--fd", type=int, metavar="N", help="take a bound socket from the parent instead")
    parser.add_argument(
        "--port", type=int, default=3986, help="TCP port; 0 takes a free one (default %(default)s)"
    )
    parser.add_argument("--idle", type=float, metavar="SECONDS", help="exit after so long without work")
    parser.add_argument(
        "--pool", type=int, default=2, metavar="N", help="warm sandboxes kept (default %(default)s)"
    )
    parser.add_argument(
        "--network",
        choices=("none", "packages"),
        default=DEFAULT_NETWORK,
        help="for sandboxes whose request names none (default %(default)s)",
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
