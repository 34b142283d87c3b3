"""The whole application on one screen: routes, middleware in order, errors."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import Mount
from starlette.types import ASGIApp, Receive, Scope, Send

from tidepool.engine import Engine
from tidepool.engine.errors import TidepoolError
from tidepool.server.auth import Auth
from tidepool.server.config import ServerConfig
from tidepool.server.errors import on_engine_error, on_fault, on_http_error
from tidepool.server.keeper import Keeper
from tidepool.server.routes import files, info, process, sandboxes
from tidepool.wire import paths


class Counted:
    """Middleware: tells the keeper how many requests are under way."""

    def __init__(self, app: ASGIApp, keeper: Keeper) -> None:
        self._app = app
        self._keeper = keeper

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request; the lifespan is none, though it comes the same way."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        self._keeper.enter()
        try:
            await self._app(scope, receive, send)
        finally:
            self._keeper.leave()


def build_app(engine: Engine, config: ServerConfig, stop: Callable[[], None]) -> Starlette:
    """The application for one engine; `stop` ends the server."""
    toolbox = [*process.routes, *files.routes, *info.toolbox_routes]
    control = [*info.control_routes, *sandboxes.routes, Mount(paths.OLD_TOOLBOX_ONE, routes=toolbox)]
    keeper = Keeper(engine, config.idle_s, stop)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        watching = asyncio.create_task(keeper.run())
        yield
        watching.cancel()
        await engine.close()

    app = Starlette(
        routes=[Mount(paths.API, routes=control), Mount(paths.TOOLBOX_ONE, routes=toolbox)],
        middleware=[Middleware(Counted, keeper=keeper), Middleware(Auth, config=config)],
        exception_handlers={
            TidepoolError: on_engine_error,
            HTTPException: on_http_error,
            Exception: on_fault,
        },
        lifespan=lifespan,
    )
    app.state.engine, app.state.config, app.state.keeper = engine, config, keeper
    return app
