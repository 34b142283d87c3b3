"""Control API: sandboxes (protocol sections 5.1 to 5.3)."""

import asyncio
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tidepool.engine import Sandbox, SandboxSpec, Volume
from tidepool.server import translate
from tidepool.server.answers import json_answer, read_json
from tidepool.server.connection import connection_of, ends_with_client
from tidepool.server.keeper import Terms
from tidepool.server.routes import (
    client_version,
    config_of,
    described,
    engine_of,
    registry_of,
    sandbox_of,
    tenant_of,
    toolbox_url,
)
from tidepool.server.routes.network import bound
from tidepool.server.routes.snapshots import snapshots_of
from tidepool.server.routes.volumes import volume_of
from tidepool.server.snapshots import Building, ImageRef
from tidepool.wire import paths
from tidepool.wire import sandbox as wire

_MAX_LIMIT = 200
_QUICK_BUILD_S = 2.0
"""A build that is over by then needs no second question."""
_CURSORS_SINCE = (0, 180)
_NEWEST = (999,)
_NUMBER = re.compile("[0-9]{1,9}")
_DONE: dict[str, str] = {}
_SORTS: dict[str, Callable[[Sandbox], Any]] = {
    "name": lambda sandbox: sandbox.name,
    "cpu": lambda sandbox: sandbox.spec.limits.cpu,
    "memoryGib": lambda sandbox: sandbox.spec.limits.memory_bytes,
    "diskGib": lambda sandbox: sandbox.spec.limits.disk_bytes,
    "lastActivityAt": lambda sandbox: sandbox.last_activity_at,
    "createdAt": lambda sandbox: sandbox.created_at,
}


@ends_with_client
async def create(request: Request) -> Response:
    """`POST /sandbox`: answers when it is started; of a client that has gone meanwhile nothing is left.

    While its image takes long to build it is answered as pending_build, and goes on without the client.
    """
    asked = await read_json(request, wire.CreateSandbox)
    engine, snapshots = engine_of(request), snapshots_of(request)
    terms = translate.terms(asked, is_local=config_of(request).idle_s is not None)
    spec_on = partial(
        translate.sandbox_spec,
        asked,
        tenant_of(request),
        config_of(request).default_network,
        volumes=await _volumes(request, asked),
        secrets=await bound(request, asked.secrets or ()),
    )
    if asked.build_info:
        spec_on(ImageRef())  # what is wrong besides the image is said before it is built
        building = snapshots.build(asked.build_info, tenant_of(request))
        await asyncio.wait([building.task], timeout=_QUICK_BUILD_S)
        if not building.task.done():
            return await _announce(request, building, spec_on, terms)
        base = await snapshots.image_of(building)
    else:
        base = await snapshots.image_for(asked, tenant_of(request))
    sandbox = await engine.create(spec_on(base))
    connection_of(request.scope).task = None  # from here on it exists, whoever hears of it
    await _made(request, sandbox, base, terms)
    return json_answer(described(request, sandbox))


async def _made(request: Request, sandbox: Sandbox, base: ImageRef, terms: Terms) -> None:
    sandbox.source = base.snapshot
    snapshots_of(request).remember(sandbox.id, base.build)
    await registry_of(request).add(sandbox, terms)


async def _announce(
    request: Request, building: Building, spec_on: Callable[[ImageRef], SandboxSpec], terms: Terms
) -> Response:
    engine, snapshots = engine_of(request), snapshots_of(request)
    sandbox = engine.announce(spec_on(ImageRef()))
    await _made(request, sandbox, ImageRef(build=building.id), terms)
    answer = json_answer(described(request, sandbox))

    async def spec() -> SandboxSpec:
        base = await snapshots.image_of(building)
        sandbox.source = base.snapshot
        return spec_on(base)

    registry_of(request).spawn(engine.complete(sandbox, spec()))
    return answer


async def _volumes(request: Request, asked: wire.CreateSandbox) -> tuple[Volume, ...]:
    store, tenant = request.app.state.store, tenant_of(request)
    return tuple(
        [
            Volume((await volume_of(store, tenant, one.volume_id))["id"], one.mount_path, one.subpath or "")
            for one in asked.volumes or ()
        ]
    )


async def make_snapshot(request: Request) -> Response:
    """`POST /sandbox/{sandbox}/snapshot`: a snapshot of its files as they are now."""
    asked = await read_json(request, wire.SnapshotOf)
    sandbox = sandbox_of(request)
    await snapshots_of(request).of_sandbox(sandbox, asked.name, tenant_of(request))
    return json_answer(described(request, sandbox))


async def get(request: Request) -> Response:
    """`GET /sandbox/{sandbox}`."""
    return json_answer(described(request, sandbox_of(request)))


async def delete(request: Request) -> Response:
    """`DELETE /sandbox/{sandbox}`: answers when its processes are verified dead."""
    sandbox = sandbox_of(request)
    await engine_of(request).delete(sandbox)
    await registry_of(request).save(sandbox)
    return json_answer(described(request, sandbox))


async def list_all(request: Request) -> Response:
    """`GET /sandbox`: a page with a cursor, or a plain array for clients that know no cursor."""
    found = _selected(request)
    if (client_version(request) or _NEWEST) < _CURSORS_SINCE and not {
        "cursor",
        "limit",
    } & request.query_params.keys():
        return json_answer([described(request, sandbox) for sandbox in found])
    start, limit = _number(request, "cursor", 0), _limit(request)
    items = [described(request, sandbox) for sandbox in found[start : start + limit]]
    after = start + limit
    return json_answer(wire.SandboxPage(items, str(after) if after < len(found) else None))


async def list_pages(request: Request) -> Response:
    """`GET /sandbox/paginated`: numbered pages for older clients."""
    found, limit, page = _selected(request), _limit(request), max(1, _number(request, "page", 1))
    items = [described(request, sandbox) for sandbox in found[(page - 1) * limit : page * limit]]
    return json_answer(wire.NumberedPage(items, len(found), page, total_pages=-(-len(found) // limit)))


async def set_labels(request: Request) -> Response:
    """`PUT /sandbox/{sandbox}/labels`: replaces all of them."""
    asked = await read_json(request, wire.Labels)
    sandbox = sandbox_of(request)
    sandbox.labels = translate.labels(asked.labels)
    await registry_of(request).save(sandbox)
    return json_answer(wire.Labels(sandbox.labels))


async def touch(request: Request) -> Response:
    """`POST /sandbox/{sandbox}/last-activity`."""
    sandbox_of(request).touch()
    return json_answer(_DONE, 201)


async def proxy_url(request: Request) -> Response:
    """`GET /sandbox/{sandbox}/toolbox-proxy-url`."""
    sandbox_of(request)
    return json_answer(wire.ToolboxUrl(toolbox_url(request)))


async def logs(request: Request) -> Response:
    """`GET /sandbox/{sandbox}/logs` (ours): the newest output of its runs."""
    return Response(bytes(sandbox_of(request).log), media_type="text/plain; charset=utf-8")


def _selected(request: Request) -> list[Sandbox]:
    query = request.query_params
    wanted, states = _labels(query.get("labels")), query.getlist("states")
    found = [
        sandbox
        for sandbox in engine_of(request).list(tenant_of(request))
        if wanted.items() <= sandbox.labels.items()
        and sandbox.id.startswith(query.get("id", ""))
        and sandbox.name.startswith(query.get("name", ""))
        and (not states or sandbox.state.value in states)
    ]
    sort = query.get("sort") or "createdAt"
    if sort not in _SORTS:
        raise HTTPException(400, f"sort is {sort[:40]!r}; allowed are {', '.join(_SORTS)}")
    return sorted(found, key=_SORTS[sort], reverse=query.get("order", "asc").lower() == "desc")


def _labels(text: str | None) -> dict[str, str]:
    try:
        return msgspec.json.decode(text or "null", type=dict[str, str] | None) or {}
    except (msgspec.DecodeError, RecursionError) as error:
        raise HTTPException(400, f"labels must be a JSON object of texts: {error}") from None


def _limit(request: Request) -> int:
    return min(max(1, _number(request, "limit", 100)), _MAX_LIMIT)


def _number(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name) or str(default)
    if not _NUMBER.fullmatch(text):
        raise HTTPException(400, f"{name} is {text[:20]!r}; it must be a number of 0 or more")
    return int(text)


routes = [
    Route(paths.SANDBOXES, create, methods=["POST"]),
    Route(paths.SANDBOXES, list_all, methods=["GET"]),
    Route(paths.SANDBOXES_PAGINATED, list_pages, methods=["GET"]),
    Route(paths.SNAPSHOT_OF, make_snapshot, methods=["POST"]),
    Route(paths.SANDBOX, get, methods=["GET"]),
    Route(paths.SANDBOX, delete, methods=["DELETE"]),
    Route(paths.LABELS, set_labels, methods=["PUT"]),
    Route(paths.LAST_ACTIVITY, touch, methods=["POST"]),
    Route(paths.TOOLBOX_URL, proxy_url, methods=["GET"]),
    Route(paths.LOGS, logs, methods=["GET"]),
]
