"""Control API: API keys (protocol section 5.6). A key's value is in the answer to its making and nowhere else."""

from datetime import datetime

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tidepool.server import translate
from tidepool.server.answers import json_answer, read_json, timestamp
from tidepool.server.keys import Identity, Keys, Record
from tidepool.server.routes import identity_of, tenant_of
from tidepool.wire import keys as wire
from tidepool.wire import paths


def _keys(request: Request) -> Keys:
    keys: Keys = request.app.state.keys
    return keys


async def create(request: Request) -> Response:
    """`POST /api-keys`."""
    asked = await read_json(request, wire.CreateKey)
    record, value = await _keys(request).create(asked, identity_of(request))
    answer = wire.NewKey(
        name=record.name,
        value=value,
        created_at=timestamp(record.created_at),
        permissions=record.permissions,
        expires_at=_moment(record.expires_at),
    )
    return json_answer(answer, 201)


async def list_all(request: Request) -> Response:
    """`GET /api-keys`."""
    return json_answer([_body(record) for record in await _keys(request).list(tenant_of(request))])


async def current(request: Request) -> Response:
    """`GET /api-keys/current`: the key of this very request."""
    identity = identity_of(request)
    if identity.key:
        return json_answer(_body(await _keys(request).get(identity.tenant, identity.key)))
    return json_answer(_configured(identity, request.app.state.started_at))


async def get(request: Request) -> Response:
    """`GET /api-keys/{name}`."""
    return json_answer(_body(await _keys(request).get(tenant_of(request), request.path_params["name"])))


async def delete(request: Request) -> Response:
    """`DELETE /api-keys/{name}`."""
    await _keys(request).delete(tenant_of(request), request.path_params["name"])
    return Response(status_code=204)


async def delete_of_user(request: Request) -> Response:
    """`DELETE /api-keys/{user}/{name}`: a tenant has one user, itself."""
    user = request.path_params["user"]
    if user != identity_of(request).user:
        raise HTTPException(
            404, f"user {user[:200]} not found; this key's user is {identity_of(request).user}"
        )
    return await delete(request)


def _moment(moment: datetime | None) -> str | None:
    return timestamp(moment) if moment is not None else None


def _body(record: Record) -> wire.Key:
    return wire.Key(
        name=record.name,
        value=record.masked,
        created_at=timestamp(record.created_at),
        permissions=record.permissions,
        last_used_at=_moment(record.last_used_at),
        expires_at=_moment(record.expires_at),
        user_id=record.tenant,
        organization_id=translate.ORGANIZATION,
    )


def _configured(identity: Identity, started_at: datetime) -> wire.Key:
    """Who came with a key of the configuration, or over a Unix socket: known since the server started."""
    return wire.Key(
        name="configured" if identity.masked else "unix-socket",
        value=identity.masked,
        created_at=timestamp(started_at),
        permissions=list(wire.PERMISSIONS),
        last_used_at=None,
        expires_at=None,
        user_id=identity.user,
        organization_id=translate.ORGANIZATION,
    )


routes = [
    Route(paths.KEYS, create, methods=["POST"]),
    Route(paths.KEYS, list_all, methods=["GET"]),
    Route(paths.KEY_CURRENT, current, methods=["GET"]),
    Route(paths.KEY, get, methods=["GET"]),
    Route(paths.KEY, delete, methods=["DELETE"]),
    Route(paths.KEY_OF_USER, delete_of_user, methods=["DELETE"]),
]
