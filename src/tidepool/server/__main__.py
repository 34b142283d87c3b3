"""`python -m tidepool.server`: bind, start the engine (which gives root up), serve until a signal or idleness.

Prints one line with its URL on stdout when it is ready. The listening socket is bound first, while the process may
still write where the socket stands; a failure to start is one sentence on stderr and exit status 1.
"""

import argparse
import asyncio
import importlib
import logging
import resource
import signal
import socket
import sys
from pathlib import Path

from tidepool.engine import Engine, EngineConfig
from tidepool.engine.errors import TidepoolError
from tidepool.engine.spawner.protocol import SERVER_UID
from tidepool.server import early
from tidepool.server.config import DEFAULT_NETWORK, ServerConfig, from_environment, make_records_dir
from tidepool.server.listening import listen_fd, listen_tcp, listen_unix, url_of

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_SAID_ELSEWHERE = (
    "upgrade request",  # a client asks for a websocket, is told 404, and goes on without
    "WebSocket library",
    "Application startup failed",
    "tidepool.server.parts.CannotStart",  # a traceback that ends in a sentence which has been said
)


def main(argv: list[str] | None = None) -> int:
    """Run a server; returns its exit status."""
    args = _arguments(argv)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("uvicorn.error").addFilter(_is_worth_a_line)
    try:
        listener = _listen(args)
        config, note = from_environment(
            needs_key=listener.family != socket.AF_UNIX,
            idle_s=args.idle,
            pool_size=args.pool,
            default_network=args.network or _usual_network(listener),
        )
        ssh = listen_tcp(args.host, config.ssh_port) if config.ssh_port is not None else None
    except (OSError, ValueError) as error:
        return _cannot_start(error)
    if note:
        sys.stderr.write(f"tidepool: {note}\n")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with listener:
        return asyncio.run(_run(config, listener, ssh))


def _usual_network(listener: socket.socket) -> str:
    """What sandboxes reach when nobody says: a user's own programs fetch packages; clients of a service expect all."""
    return DEFAULT_NETWORK if listener.family == socket.AF_UNIX else "all"


def _cannot_start(error: Exception) -> int:
    why = error.strerror if isinstance(error, OSError) and not error.filename else error
    sys.stderr.write(f"tidepool: cannot start: {why}\n")
    return 1


async def _run(config: ServerConfig, listener: socket.socket, ssh: socket.socket | None) -> int:
    loop, this = asyncio.get_running_loop(), asyncio.current_task()
    assert this is not None
    for number in _SIGNALS:  # until there is a server that can be told, a signal ends the start
        loop.add_signal_handler(number, this.cancel)
    try:
        make_records_dir(config.records_dir, SERVER_UID)
        engine = await Engine.start(
            EngineConfig(
                config.state_dir,
                config.runtime_dir,
                config.pool_size,
                config.max_sandboxes,
                storage=config.storage,
                egress_options=config.egress_options,
            ),
            meanwhile=lambda: _load(config, listener),
        )
    except asyncio.CancelledError:
        return 0
    except (OSError, TidepoolError) as error:
        return _cannot_start(error)
    from tidepool.server.serving import HttpServer  # loaded by now

    try:
        server = HttpServer(engine, config, lambda: _announce(listener), ssh)
        for number in _SIGNALS:
            loop.add_signal_handler(number, server.end, number)
        await server.serve(sockets=[listener])
        return 0 if server.started or server.was_told else 1
    except SystemExit:  # uvicorn's word for an application that did not start; the reason has been said
        return 1
    finally:
        await engine.close()


def _load(config: ServerConfig, listener: socket.socket) -> None:
    """What takes long to load, while the spawner starts; with root still, which may be needed to read it."""
    importlib.import_module("tidepool.server.serving")
    if listener.family != socket.AF_UNIX:  # who comes that way speaks no socket.io
        early.load(config.database_url)


def _announce(listener: socket.socket) -> None:
    print(url_of(listener), flush=True)  # noqa: T201 (the one line)


def _is_worth_a_line(record: logging.LogRecord) -> bool:
    """Whether a line of uvicorn's says something that is not said elsewhere."""
    return not any(words in record.getMessage() for words in _SAID_ELSEWHERE)


def _listen(args: argparse.Namespace) -> socket.socket:
    if args.fd is not None:
        return listen_fd(args.fd)
    if args.uds is not None:
        return listen_unix(Path(args.uds).absolute())
    return listen_tcp(args.host, args.port)


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
        choices=("none", "packages", "all"),
        help="for sandboxes whose request names none (default all over TCP, packages over a Unix socket)",
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
