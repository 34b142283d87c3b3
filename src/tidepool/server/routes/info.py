"""What a sandbox and the server say of themselves."""

import os

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tidepool import __version__
from tidepool.server.answers import json_answer
from tidepool.server.routes import engine_of, sandbox_of, tenant_of, toolbox_url
from tidepool.wire import paths

PROTOCOL = 1


async def home_dir(request: Request) -> Response:
    """`GET /user-home-dir`."""
    return json_answer({"dir": sandbox_of(request).home})


async def work_dir(request: Request) -> Response:
    """`GET /work-dir` and the older `/project-dir`."""
    return json_answer({"dir": sandbox_of(request).work_dir})


async def version(request: Request) -> Response:
    """`GET /version` of the toolbox."""
    sandbox_of(request)
    return json_answer({"version": __version__})


async def health(request: Request) -> Response:
    """`GET /health`."""
    return json_answer({"status": "ok"})


async def config(request: Request) -> Response:
    """`GET /config`: what clients between 0.113 and 0.149 ask first."""
    return json_answer(
        {"version": __version__, "proxyToolboxUrl": toolbox_url(request), "maintananceMode": False}
    )


async def handshake(request: Request) -> Response:
    """`GET /tidepool` (ours): whether SDK and local server understand each other."""
    count = len(engine_of(request).list(tenant_of(request)))
    body = {"version": __version__, "protocol": PROTOCOL, "pid": os.getpid(), "sandboxes": count}
    return json_answer(body)


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
