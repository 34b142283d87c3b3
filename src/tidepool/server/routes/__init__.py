"""One file per wire file; handlers parse, call and translate."""

from starlette.requests import Request

from tidepool.engine import Engine, Sandbox
from tidepool.server.config import ServerConfig
from tidepool.wire import paths


def engine_of(request: Request) -> Engine:
    """The engine this server fronts."""
    engine: Engine = request.app.state.engine
    return engine


def config_of(request: Request) -> ServerConfig:
    """How this server is set up."""
    config: ServerConfig = request.app.state.config
    return config


def tenant_of(request: Request) -> str:
    """Who is asking, as `auth` found."""
    return str(request.state.tenant)


def sandbox_of(request: Request) -> Sandbox:
    """The sandbox the URL names.

    Raises:
        NotFound: The tenant has none of this id or name.
    """
    return engine_of(request).get(request.path_params["sandbox"], tenant_of(request))


def toolbox_url(request: Request) -> str:
    """The toolbox's base by which this very client reached us."""
    scheme = request.headers.get("x-forwarded-proto", request.url.scheme)
    host = request.headers.get("x-forwarded-host") or request.headers.get("host", "localhost")
    return f"{scheme}://{host}{paths.TOOLBOX}"
