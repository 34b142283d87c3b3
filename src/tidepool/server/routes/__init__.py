"""One file per wire file; handlers parse, call and translate."""

from starlette.exceptions import HTTPException
from starlette.requests import Request

from tidepool.engine import Engine, Sandbox
from tidepool.engine.errors import NotFound
from tidepool.server.auth import TENANT
from tidepool.server.config import ServerConfig
from tidepool.server.keeper import Keeper
from tidepool.wire import paths


def engine_of(request: Request) -> Engine:
    """The engine this server fronts."""
    engine: Engine = request.app.state.engine
    return engine


def config_of(request: Request) -> ServerConfig:
    """How this server is set up."""
    config: ServerConfig = request.app.state.config
    return config


def keeper_of(request: Request) -> Keeper:
    """Who knows when a sandbox's time is over."""
    keeper: Keeper = request.app.state.keeper
    return keeper


def tenant_of(request: Request) -> str:
    """Who is asking, as `auth` found."""
    return str(request.scope["state"][TENANT])


def sandbox_of(request: Request) -> Sandbox:
    """The sandbox the URL names.

    Raises:
        HTTPException: 404, the tenant has none of this id or name.
    """
    try:
        return engine_of(request).get(request.path_params["sandbox"], tenant_of(request))
    except NotFound as error:  # not the engine's own answer: below /files that would be a missing file
        raise HTTPException(404, str(error)) from None


def toolbox_url(request: Request) -> str:
    """The toolbox's base by which this very client reached us."""
    scheme = request.headers.get("x-forwarded-proto", "").partition(",")[0].strip().lower()
    scheme = scheme if scheme in ("http", "https") else request.scope["scheme"]
    return f"{scheme}://{request.headers.get('host', 'localhost')}{paths.TOOLBOX}"
