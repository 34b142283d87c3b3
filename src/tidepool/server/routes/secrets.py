"""Control API: secrets (protocol section 5.6). No answer has a value."""

import re

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tidepool.server.answers import json_answer, read_json, timestamp
from tidepool.server.routes import tenant_of
from tidepool.server.routes.network import check_usable, pass_on
from tidepool.server.vault import Record, Vault
from tidepool.wire import paths
from tidepool.wire import secrets as wire

_MAX_LIMIT = 200
_NUMBER = re.compile("[0-9]{1,9}")
_SORTS = {"name": "name", "createdAt": "created_at", "updatedAt": "updated_at"}


def _vault(request: Request) -> Vault:
    vault: Vault = request.app.state.vault
    return vault


async def create(request: Request) -> Response:
    """`POST /secret`."""
    asked = await read_json(request, wire.CreateSecret)
    check_usable(asked.value, asked.hosts)
    return json_answer(_body(await _vault(request).create(tenant_of(request), asked)), 201)


async def list_all(request: Request) -> Response:
    """`GET /secret`."""
    return json_answer([_body(record) for record in await _vault(request).list(tenant_of(request))])


async def list_pages(request: Request) -> Response:
    """`GET /secret/paginated`: those whose name has the text `name`."""
    query = request.query_params
    found = [
        record
        for record in await _vault(request).list(tenant_of(request))
        if query.get("name", "").lower() in record.name.lower()
    ]
    sort = query.get("sort") or "createdAt"
    if sort not in _SORTS:
        raise HTTPException(400, f"sort is {sort[:40]!r}; allowed are {', '.join(_SORTS)}")
    found.sort(
        key=lambda record: getattr(record, _SORTS[sort]), reverse=query.get("order", "").lower() == "desc"
    )
    start, limit = _number(request, "cursor", 0), max(1, min(_number(request, "limit", 100), _MAX_LIMIT))
    after = start + limit
    items = [_body(record) for record in found[start:after]]
    return json_answer(wire.SecretPage(items, len(found), str(after) if after < len(found) else None))


async def get(request: Request) -> Response:
    """`GET /secret/{secret}`."""
    return json_answer(_body(await _vault(request).get(tenant_of(request), _ref(request))))


async def update(request: Request) -> Response:
    """`PATCH /secret/{secret}`."""
    asked = await read_json(request, wire.UpdateSecret)
    check_usable(asked.value, asked.hosts)
    record = await _vault(request).update(tenant_of(request), _ref(request), asked)
    await pass_on(request, {record.id, record.name})
    return json_answer(_body(record))


async def delete(request: Request) -> Response:
    """`DELETE /secret/{secret}`."""
    record = await _vault(request).get(tenant_of(request), _ref(request))
    await _vault(request).delete(tenant_of(request), record.id)
    await pass_on(request, {record.id, record.name}, is_gone=True)
    return Response(status_code=204)


def _ref(request: Request) -> str:
    return str(request.path_params["secret"])


def _number(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name) or str(default)
    if not _NUMBER.fullmatch(text):
        raise HTTPException(400, f"{name} is {text[:20]!r}; it must be a number of 0 or more")
    return int(text)


def _body(record: Record) -> wire.Secret:
    return wire.Secret(
        id=record.id,
        name=record.name,
        description=msgspec.UNSET if record.description is None else record.description,
        created_at=timestamp(record.created_at),
        updated_at=timestamp(record.updated_at),
        placeholder=record.placeholder,
        hosts=record.hosts,
    )


routes = [
    Route(paths.SECRETS, create, methods=["POST"]),
    Route(paths.SECRETS, list_all, methods=["GET"]),
    Route(paths.SECRETS_PAGINATED, list_pages, methods=["GET"]),
    Route(paths.SECRET, get, methods=["GET"]),
    Route(paths.SECRET, update, methods=["PATCH"]),
    Route(paths.SECRET, delete, methods=["DELETE"]),
]
