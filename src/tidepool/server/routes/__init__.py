"""One file per wire file; handlers parse, call and translate."""

from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request

from tidepool.engine import Engine, Sandbox
from tidepool.engine.errors import NotFound
from tidepool.server import translate
from tidepool.server.auth import IDENTITY, TENANT
from tidepool.server.config import ServerConfig
from tidepool.server.keeper import Keeper
from tidepool.server.keys import Identity
from tidepool.server.records import Registry
from tidepool.wire import paths
from tidepool.wire import sandbox as wire


def engine_of(request: HTTPConnection) -> Engine:
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


def registry_of(request: Request) -> Registry:
    """Who writes sandboxes down."""
    registry: Registry = request.app.state.registry
    return registry


def described(request: Request, sandbox: Sandbox) -> wire.Sandbox:
    """A sandbox as this client sees it."""
    engine, terms = engine_of(request), keeper_of(request).terms_of(sandbox)
    return translate.sandbox_body(sandbox, terms, toolbox_url(request), engine.enforced, engine.not_enforced)


def tenant_of(request: HTTPConnection) -> str:
    """Who is asking, as `auth` found."""
    return str(request.scope["state"][TENANT])


def identity_of(request: Request) -> Identity:
    """Who is asking, with what it may do."""
    identity: Identity = request.scope["state"][IDENTITY]
    return identity


def sandbox_of(request: HTTPConnection) -> Sandbox:
    """The sandbox the URL names.

    Raises:
        HTTPException: 404, the tenant has none of this id or name.
    """
    try:
        return engine_of(request).get(request.path_params["sandbox"], tenant_of(request))
    except NotFound as error:  # not the engine's own answer: below /files that would be a missing file
        raise HTTPException(404, str(error)) from None


def client_version(request: HTTPConnection) -> tuple[int, ...] | None:
    """Major and minor version of an official client; None when it names none."""
    numbers = request.headers.get("x-daytona-sdk-version", "").split(".")[:2]
    if not all(number.isascii() and number.isdigit() and len(number) < 10 for number in numbers):
        return None
    return tuple(map(int, numbers))


def toolbox_url(request: HTTPConnection) -> str:
    """The toolbox's base by which this very client reached us."""
    scheme = request.headers.get("x-forwarded-proto", "").partition(",")[0].strip().lower()
    scheme = scheme if scheme in ("http", "https") else request.scope["scheme"]
    return f"{scheme}://{request.headers.get('host', 'localhost')}{paths.TOOLBOX}"
