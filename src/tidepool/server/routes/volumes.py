"""Control API: volumes (protocol section 5.5): directories that several sandboxes of one tenant can have at once.

The engine knows a volume by its id, which is nobody else's; its name is the tenant's and stands in the store.
"""

import uuid
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tidepool.engine.errors import NotFound
from tidepool.server import translate
from tidepool.server.answers import json_answer, read_json, timestamp
from tidepool.server.routes import engine_of, tenant_of
from tidepool.server.store import Store
from tidepool.wire import paths
from tidepool.wire import volumes as wire

KIND = "volume"


async def create(request: Request) -> Response:
    """`POST /volumes`."""
    asked = await read_json(request, wire.CreateVolume)
    now = timestamp(datetime.now(UTC))
    body = {"id": str(uuid.uuid4()), "name": asked.name, "created_at": now, "updated_at": now}
    await _store(request).put(KIND, tenant_of(request), body["id"], asked.name, body)
    try:
        await engine_of(request).make_volume(body["id"])
    except BaseException:
        await _store(request).delete(KIND, tenant_of(request), body["id"])
        raise
    return json_answer(_body(body))


async def list_all(request: Request) -> Response:
    """`GET /volumes`; deleted ones leave nothing to be listed."""
    return json_answer([_body(found) for found in await _store(request).list(KIND, tenant_of(request))])


async def get(request: Request) -> Response:
    """`GET /volumes/{volume}`."""
    return json_answer(_body(await volume_of(_store(request), tenant_of(request), _ref(request))))


async def get_by_name(request: Request) -> Response:
    """`GET /volumes/by-name/{name}`."""
    name = request.path_params["name"]
    found = await _store(request).get(KIND, tenant_of(request), name)
    if found is None or found["name"] != name:
        raise NotFound(f"Volume with name {name[:200]} not found")  # clients look for these very words
    return json_answer(_body(found))


async def delete(request: Request) -> Response:
    """`DELETE /volumes/{volume}`: 409 while a sandbox has it."""
    store, tenant = _store(request), tenant_of(request)
    found = await volume_of(store, tenant, _ref(request))
    await engine_of(request).delete_volume(found["id"])
    await store.delete(KIND, tenant, found["id"])
    return json_answer(_body(found))


async def volume_of(store: Store, tenant: str, ref: str) -> dict[str, Any]:
    """A tenant's volume by id or name: `id` is what the engine calls it.

    Raises:
        NotFound: The tenant has none such.
    """
    found = await store.get(KIND, tenant, ref)
    if found is None:
        raise NotFound(f"Volume with ID or name {ref[:200]} not found")
    return found


def _store(request: Request) -> Store:
    store: Store = request.app.state.store
    return store


def _ref(request: Request) -> str:
    return str(request.path_params["volume"])


def _body(found: dict[str, Any]) -> wire.Volume:
    return wire.Volume(
        id=found["id"],
        name=found["name"],
        organization_id=translate.ORGANIZATION,
        state=wire.READY,
        created_at=found["created_at"],
        updated_at=found["updated_at"],
        error_reason=None,
    )


routes = [
    Route(paths.VOLUMES, create, methods=["POST"]),
    Route(paths.VOLUMES, list_all, methods=["GET"]),
    Route(paths.VOLUME_BY_NAME, get_by_name, methods=["GET"]),
    Route(paths.VOLUME, get, methods=["GET"]),
    Route(paths.VOLUME, delete, methods=["DELETE"]),
]
