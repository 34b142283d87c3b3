"""Control API: what clients read about where they are (protocol section 5.6): one organization, one user, one region.

Nothing here can be changed: accounts are keys, and who may have one is the operator's business.
"""

import os
from datetime import datetime

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tidepool.engine.errors import Unavailable
from tidepool.server import translate
from tidepool.server.answers import json_answer, timestamp
from tidepool.server.routes import identity_of, toolbox_url
from tidepool.server.store import Store
from tidepool.server.vault import MOST_SECRETS
from tidepool.wire import organization as wire
from tidepool.wire import paths

_NAME = "Tidepool"


def _started(request: Request) -> str:
    started_at: datetime = request.app.state.started_at
    return timestamp(started_at)


def _host_gib(name: str) -> int:
    """What this host has, in whole GiB."""
    return int(os.sysconf("SC_PAGE_SIZE") * os.sysconf(name) / translate.GIB) or 1


def _organization(request: Request) -> wire.Organization:
    at = _started(request)
    place = os.statvfs(request.app.state.config.state_dir)
    return wire.Organization(
        id=translate.ORGANIZATION,
        name=_NAME,
        created_by=identity_of(request).user,
        created_at=at,
        updated_at=at,
        suspended_at=at,
        suspended_until=at,
        max_cpu_per_sandbox=os.cpu_count() or 1,
        max_memory_per_sandbox=_host_gib("SC_PHYS_PAGES"),
        max_disk_per_sandbox=place.f_frsize * place.f_blocks // translate.GIB or 1,
        secret_quota=MOST_SECRETS,
        max_secrets_per_sandbox=MOST_SECRETS,
        sandbox_limited_network_egress=request.app.state.config.default_network != "all",
        default_region_id=translate.TARGET,
    )


async def organizations(request: Request) -> Response:
    """`GET /organizations`."""
    return json_answer([_organization(request)])


async def organization(request: Request) -> Response:
    """`GET /organizations/{organization}`."""
    _known(request.path_params["organization"], translate.ORGANIZATION, "Organization")
    return json_answer(_organization(request))


async def me(request: Request) -> Response:
    """`GET /users/me`."""
    user = identity_of(request).user
    return json_answer(wire.User(id=user, name=user, email=f"{user}@localhost", created_at=_started(request)))


def _region(request: Request) -> wire.Region:
    at, proxy = _started(request), toolbox_url(request).removesuffix(paths.TOOLBOX)
    return wire.Region(
        id=translate.TARGET, name=translate.TARGET, created_at=at, updated_at=at, proxy_url=proxy
    )


async def regions(request: Request) -> Response:
    """`GET /regions`, `/shared-regions` and the older `/sandbox/regions`."""
    return json_answer([_region(request)])


async def region(request: Request) -> Response:
    """`GET /regions/{region}`."""
    _known(request.path_params["region"], translate.TARGET, "Region")
    return json_answer(_region(request))


async def ready(request: Request) -> Response:
    """`GET /health/ready`: 503 when a sandbox could not be made or recorded now."""
    store: Store = request.app.state.store
    parts = {"engine": "up"}  # without it this process would have ended
    try:
        await store.check()
        parts["database"] = "up"
    except Unavailable:
        parts["database"] = "down"
    up = {name: wire.Part(status) for name, status in parts.items() if status == "up"}
    down = {name: wire.Part(status) for name, status in parts.items() if status != "up"}
    answer = wire.Readiness("error" if down else "ok", up, down, {**up, **down})
    return json_answer(answer, 503 if down else 200)


def _known(asked: str, only: str, kind: str) -> None:
    if asked != only:
        raise HTTPException(404, f"{kind} {asked[:200]} not found; the only one there is is {only}")


routes = [
    Route(paths.ORGANIZATIONS, organizations, methods=["GET"]),
    Route(paths.ORGANIZATION, organization, methods=["GET"]),
    Route(paths.ME, me, methods=["GET"]),
    Route(paths.REGIONS, regions, methods=["GET"]),
    Route(paths.REGION, region, methods=["GET"]),
    Route(paths.SANDBOX_REGIONS, regions, methods=["GET"]),
    Route(paths.SHARED_REGIONS, regions, methods=["GET"]),
    Route(paths.READY, ready, methods=["GET"]),
]
