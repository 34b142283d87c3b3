"""The whole application on one screen: routes, middleware in order, errors."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Mount

from tidepool.engine import Engine
from tidepool.engine.errors import TidepoolError
from tidepool.server import events, openapi, parts
from tidepool.server.auth import Auth, Judge
from tidepool.server.config import ServerConfig
from tidepool.server.connection import UnderWay
from tidepool.server.errors import on_engine_error, on_fault, on_http_error
from tidepool.server.gate import Gate
from tidepool.server.keeper import Keeper
from tidepool.server.keys import Identity, Keys
from tidepool.server.preview import SignedPreviews
from tidepool.server.routes import (
    elsewhere,
    files,
    git,
    info,
    interpreter,
    keys,
    lifecycle,
    lsp,
    network,
    object_storage,
    organization,
    preview,
    process,
    pty,
    sandboxes,
    secrets,
    sessions,
    signing,
    snapshots,
    ssh,
    system,
    volumes,
    warm_pools,
)
from tidepool.wire import paths

log = logging.getLogger("tidepool.server")


def routes() -> list[BaseRoute]:
    """Every route: first the more exact of two that fit, last what is not served."""
    toolbox = [
        *process.routes,
        *interpreter.routes,
        *sessions.routes,
        *pty.routes,
        *lsp.routes,
        *files.routes,
        *git.routes,
        *info.toolbox_routes,
        *system.routes,
        *elsewhere.toolbox_routes,
    ]
    control = [
        *info.control_routes,
        *organization.routes,  # has /sandbox/regions, which is no sandbox
        *ssh.routes,  # has /sandbox/ssh-access, which is no sandbox either
        *sandboxes.routes,
        *lifecycle.routes,
        *system.control_routes,
        *network.routes,
        *snapshots.routes,
        *object_storage.control_routes,
        *keys.routes,
        *secrets.routes,
        *volumes.routes,
        *warm_pools.routes,
        *signing.routes,
        *preview.routes,
        *events.routes,
        *elsewhere.control_routes,
        Mount(paths.OLD_TOOLBOX_ONE, routes=toolbox),
    ]
    return [
        *openapi.routes,
        *object_storage.storage_routes,
        Mount(paths.TOOLBOX_ONE, routes=toolbox),
        Mount(paths.API, routes=control),
    ]


def build_app(
    engine: Engine, config: ServerConfig, stop: Callable[[], None], ssh_listener: socket.socket | None = None
) -> Starlette:
    """The application for one engine; `stop` ends the server. The engine is closed by who started it.

    SSH is served on `ssh_listener`, a bound socket, where there is one.
    """
    keeper = Keeper(engine, config.idle_s, stop)

    async def find_key(key: str) -> Identity | None:
        made: Keys = app.state.keys
        return await made.find(key)

    judge = Judge(config, find_key)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with parts.opened(app.state, judge) as tasks:
            for task in tasks:
                task.add_done_callback(ended)
            yield

    def ended(watching: asyncio.Task[None]) -> None:
        if not watching.cancelled():  # without it sandboxes would be left behind: better no server
            log.critical("the keeper failed; the server ends", exc_info=watching.exception())
            stop()

    app = Starlette(
        routes=routes(),
        middleware=[
            Middleware(UnderWay, enter=keeper.enter, leave=keeper.leave),
            Middleware(Gate, judge=judge, domain=config.preview_domain),
            Middleware(Auth, judge=judge),
        ],
        exception_handlers={
            TidepoolError: on_engine_error,
            HTTPException: on_http_error,
            Exception: on_fault,
        },
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    app.state.engine, app.state.config, app.state.keeper = engine, config, keeper
    app.state.started_at, app.state.previews = datetime.now(UTC), SignedPreviews()
    app.state.ssh_listener = ssh_listener
    return app
