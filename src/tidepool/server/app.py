"""The whole application on one screen: routes, middleware in order, errors."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import Mount

from tidepool.engine import Engine
from tidepool.engine.errors import TidepoolError
from tidepool.server.auth import Auth
from tidepool.server.config import ServerConfig
from tidepool.server.connection import UnderWay
from tidepool.server.errors import on_engine_error, on_fault, on_http_error
from tidepool.server.keeper import Keeper
from tidepool.server.routes import files, info, process, sandboxes
from tidepool.wire import paths

log = logging.getLogger("tidepool.server")


def build_app(engine: Engine, config: ServerConfig, stop: Callable[[], None]) -> Starlette:
    """The application for one engine; `stop` ends the server. The engine is closed by who started it."""
    toolbox = [*process.routes, *files.routes, *info.toolbox_routes]
    control = [*info.control_routes, *sandboxes.routes, Mount(paths.OLD_TOOLBOX_ONE, routes=toolbox)]
    keeper = Keeper(engine, config.idle_s, stop)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        watching = asyncio.create_task(keeper.run())
        watching.add_done_callback(ended)
        yield
        watching.cancel()

    def ended(watching: asyncio.Task[None]) -> None:
        if not watching.cancelled():  # without it sandboxes would be left behind: better no server
            log.critical("the keeper failed; the server ends", exc_info=watching.exception())
            stop()

    app = Starlette(
        routes=[Mount(paths.TOOLBOX_ONE, routes=toolbox), Mount(paths.API, routes=control)],
        middleware=[
            Middleware(UnderWay, enter=keeper.enter, leave=keeper.leave),
            Middleware(Auth, config=config),
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
    return app
