"""What a sandbox and the server say of themselves."""

import os

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tidepool import __version__
from tidepool.server import translate
from tidepool.server.answers import json_answer
from tidepool.server.keeper import MAX_AUTO_ARCHIVE_MIN
from tidepool.server.routes import engine_of, sandbox_of, tenant_of, toolbox_url
from tidepool.wire import files, paths
from tidepool.wire import info as wire

PROTOCOL = 1


async def home_dir(request: Request) -> Response:
    """`GET /user-home-dir`."""
    return json_answer(files.Directory(sandbox_of(request).home))


async def work_dir(request: Request) -> Response:
    """`GET /work-dir` and the older `/project-dir`."""
    return json_answer(files.Directory(sandbox_of(request).work_dir))


async def version(request: Request) -> Response:
    """`GET /version` of the toolbox."""
    sandbox_of(request)
    return json_answer(wire.Version(__version__))


async def health(request: Request) -> Response:
    """`GET /health`."""
    return json_answer(wire.Health("ok"))


async def config(request: Request) -> Response:
    """`GET /config`."""
    toolbox = toolbox_url(request)
    origin = toolbox.removesuffix(paths.TOOLBOX)
    answer = wire.Configuration(
        version=__version__,
        oidc=wire.Oidc(),
        announcements={},
        proxy_template_url=origin,
        proxy_toolbox_url=toolbox,
        default_snapshot=translate.SNAPSHOT,
        dashboard_url=origin,
        max_auto_archive_interval=MAX_AUTO_ARCHIVE_MIN,
        environment=translate.TARGET,
    )
    return json_answer(answer)


async def handshake(request: Request) -> Response:
    """`GET /tidepool` (ours)."""
    count = len(engine_of(request).list(tenant_of(request)))
    return json_answer(wire.Handshake(__version__, PROTOCOL, os.getpid(), count))


toolbox_routes = [
    Route(paths.HOME_DIR, home_dir, methods=["GET"]),
    Route(paths.WORK_DIR, work_dir, methods=["GET"]),
    Route(paths.PROJECT_DIR, work_dir, methods=["GET"]),
    Route(paths.VERSION, version, methods=["GET"]),
]
control_routes = [
    Route(paths.HEALTH, health, methods=["GET"]),
    Route(paths.CONFIG, config, methods=["GET"]),
    Route(paths.HANDSHAKE, handshake, methods=["GET"]),
]
