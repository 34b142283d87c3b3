"""Control API: snapshots and the logs of builds (protocol section 5.4)."""

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tidepool.server import snapshots as model
from tidepool.server import translate
from tidepool.server.answers import StreamAnswer, json_answer, read_json, timestamp
from tidepool.server.routes import sandbox_of, tenant_of, toolbox_url
from tidepool.server.snapshot_record import Snapshot
from tidepool.wire import paths
from tidepool.wire import snapshots as wire

_MAX_LIMIT = 200
_CPU, _MEMORY_GIB, _DISK_GIB = 1, 1, 3  # shown where a snapshot says nothing: clients insist on numbers
_SORTS = {
    "name": lambda found: found.name,
    "state": lambda found: found.state,
    "createdAt": lambda found: found.created_at,
    "lastUsedAt": lambda found: found.last_used_at or found.created_at,
}


def snapshots_of(request: Request) -> model.Snapshots:
    """This server's snapshots."""
    found: model.Snapshots = request.app.state.snapshots
    return found


def body(found: Snapshot) -> wire.Snapshot:
    """A snapshot as clients read it."""
    answer = wire.Snapshot(
        id=found.id,
        organization_id=translate.ORGANIZATION,
        general=found.general,
        name=found.name,
        state=found.state,
        size=None if found.bytes is None else round(found.bytes / 2**30, 9),
        entrypoint=found.entrypoint or (list(found.config.entrypoint) if found.config.entrypoint else None),
        cpu=_up(found.cpu or _CPU),
        mem=_up(found.memory or _MEMORY_GIB),
        disk=_up(found.disk or _DISK_GIB),
        error_reason=found.error_reason,
        created_at=timestamp(found.created_at),
        updated_at=timestamp(found.updated_at),
        last_used_at=timestamp(found.last_used_at) if found.last_used_at else None,
        region_ids=[translate.TARGET],
        source_sandbox_id=found.source_sandbox_id,
    )
    if found.image_name:
        answer.image_name = found.image_name
    if found.image:
        answer.ref = found.image
    if found.dockerfile and not found.image_name:
        answer.build_info = wire.BuildInfo(
            dockerfile_content=found.dockerfile,
            context_hashes=found.context_hashes,
            created_at=answer.created_at,
            updated_at=answer.updated_at,
            snapshot_ref=found.image or found.id,
        )
    return answer


def _up(number: float) -> int:
    return -int(-number // 1)


async def list_all(request: Request) -> Response:
    """`GET /snapshots`."""
    query = request.query_params
    limit = min(max(1, _number(request, "limit", 100)), _MAX_LIMIT)
    page = max(1, _number(request, "page", 1))
    sort = query.get("sort") or "createdAt"
    if sort not in _SORTS:
        raise HTTPException(400, f"sort is {sort[:40]!r}; allowed are {', '.join(_SORTS)}")
    found = [
        one
        for one in await snapshots_of(request).all_of(tenant_of(request))
        if query.get("name", "").lower() in one.name.lower()
        and query.get("sourceSandboxId") in (None, "", one.source_sandbox_id)
    ]
    found.sort(key=_SORTS[sort], reverse=query.get("order", "asc").lower() == "desc")
    items = [body(one) for one in found[(page - 1) * limit : page * limit]]
    return json_answer(wire.SnapshotPage(items, len(found), page, -(-len(found) // limit)))


async def create(request: Request) -> Response:
    """`POST /snapshots`: active when nothing has to be built, else building."""
    asked = await read_json(request, wire.CreateSnapshot)
    return json_answer(body(await snapshots_of(request).create(asked, tenant_of(request))))


async def get(request: Request) -> Response:
    """`GET /snapshots/{snapshot}`."""
    return json_answer(body(await _found(request)))


async def delete(request: Request) -> Response:
    """`DELETE /snapshots/{snapshot}`."""
    found = await snapshots_of(request).remove(request.path_params["snapshot"], tenant_of(request))
    return json_answer(body(found))


async def activate(request: Request) -> Response:
    """`POST /snapshots/{snapshot}/activate`."""
    ref = request.path_params["snapshot"]
    return json_answer(body(await snapshots_of(request).set_active(ref, tenant_of(request), True)))


async def deactivate(request: Request) -> Response:
    """`POST /snapshots/{snapshot}/deactivate`."""
    await snapshots_of(request).set_active(request.path_params["snapshot"], tenant_of(request), False)
    return Response(status_code=204)


async def logs_url(request: Request) -> Response:
    """`GET /snapshots/{snapshot}/build-logs-url`."""
    found = await _found(request)
    return json_answer(wire.Url(_here(request) + paths.SNAPSHOT_LOGS.replace("{snapshot:path}", found.id)))


async def logs(request: Request) -> Response:
    """`GET /snapshots/{snapshot}/build-logs`: text; with `follow=true` until the build has ended."""
    return _log(request, (await _found(request)).id)


async def sandbox_logs_url(request: Request) -> Response:
    """`GET /sandbox/{sandbox}/build-logs-url`."""
    sandbox = sandbox_of(request)
    snapshots_of(request).build_of(sandbox.id)
    return json_answer(wire.Url(_here(request) + paths.SANDBOX_BUILD_LOGS.replace("{sandbox}", sandbox.id)))


async def sandbox_logs(request: Request) -> Response:
    """`GET /sandbox/{sandbox}/build-logs`."""
    return _log(request, snapshots_of(request).build_of(sandbox_of(request).id))


def _log(request: Request, number: str) -> Response:
    follow = request.query_params.get("follow", "").lower() == "true"
    source = snapshots_of(request).logs.read(number, follow)
    return StreamAnswer(source, "text/plain; charset=utf-8")


async def _found(request: Request) -> Snapshot:
    return await snapshots_of(request).get(request.path_params["snapshot"], tenant_of(request))


def _here(request: Request) -> str:
    """The base of the control API by which this very client reached us."""
    return toolbox_url(request).removesuffix(paths.TOOLBOX) + paths.API


def _number(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name) or str(default)
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise HTTPException(400, f"{name} is {text[:20]!r}; it must be a number of 0 or more")
    return int(text)


routes = [
    Route(paths.SNAPSHOTS, list_all, methods=["GET"]),
    Route(paths.SNAPSHOTS, create, methods=["POST"]),
    Route(paths.SNAPSHOT_LOGS_URL, logs_url, methods=["GET"]),
    Route(paths.SNAPSHOT_LOGS, logs, methods=["GET"]),
    Route(paths.SNAPSHOT_ACTIVATE, activate, methods=["POST"]),
    Route(paths.SNAPSHOT_DEACTIVATE, deactivate, methods=["POST"]),
    Route(paths.SNAPSHOT, get, methods=["GET"]),
    Route(paths.SNAPSHOT, delete, methods=["DELETE"]),
    Route(paths.SANDBOX_BUILD_LOGS_URL, sandbox_logs_url, methods=["GET"]),
    Route(paths.SANDBOX_BUILD_LOGS, sandbox_logs, methods=["GET"]),
]
