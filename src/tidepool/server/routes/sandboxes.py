"""Control API: sandboxes (protocol section 5.1 to 5.3)."""

import json
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tidepool.engine import Sandbox
from tidepool.server import translate
from tidepool.server.answers import json_answer, read_json
from tidepool.server.routes import config_of, engine_of, sandbox_of, tenant_of, toolbox_url
from tidepool.wire import paths
from tidepool.wire.sandbox import CreateSandbox, Labels

_MAX_LIMIT = 200


def _body(request: Request, sandbox: Sandbox) -> Any:
    engine = engine_of(request)
    return translate.sandbox_body(sandbox, toolbox_url(request), engine.enforced, engine.not_enforced)


async def create(request: Request) -> Response:
    """`POST /sandbox`: answers when it is started."""
    asked = await read_json(request, CreateSandbox)
    spec = translate.sandbox_spec(asked, tenant_of(request), config_of(request).default_network)
    sandbox = await engine_of(request).create(spec)
    request.app.state.keeper.watch(sandbox, asked)
    return json_answer(_body(request, sandbox))


async def get(request: Request) -> Response:
    """`GET /sandbox/{sandbox}`."""
    return json_answer(_body(request, sandbox_of(request)))


async def delete(request: Request) -> Response:
    """`DELETE /sandbox/{sandbox}`: answers when its processes are verified dead."""
    sandbox = sandbox_of(request)
    await engine_of(request).delete(sandbox)
    return json_answer(_body(request, sandbox))


async def list_all(request: Request) -> Response:
    """`GET /sandbox`: a page with a cursor, or a plain array for clients that know no cursor."""
    found = _selected(request)
    if _version(request) < (0, 180) and "cursor" not in request.query_params:
        return json_answer([_body(request, sandbox) for sandbox in found])
    start, limit = _number(request, "cursor", 0), min(_number(request, "limit", 100), _MAX_LIMIT)
    items = [_body(request, sandbox) for sandbox in found[start : start + limit]]
    after = start + limit
    return json_answer({"items": items, "nextCursor": str(after) if after < len(found) else None})


async def list_pages(request: Request) -> Response:
    """`GET /sandbox/paginated`: numbered pages for older clients."""
    found, limit = _selected(request), max(1, _number(request, "limit", 100))
    page = max(1, _number(request, "page", 1))
    items = [_body(request, sandbox) for sandbox in found[(page - 1) * limit : page * limit]]
    pages = -(-len(found) // limit)
    return json_answer({"items": items, "total": len(found), "page": page, "totalPages": pages})


async def set_labels(request: Request) -> Response:
    """`PUT /sandbox/{sandbox}/labels`: replaces all of them."""
    sandbox = sandbox_of(request)
    sandbox.labels = (await read_json(request, Labels)).labels
    return json_answer({"labels": sandbox.labels})


async def touch(request: Request) -> Response:
    """`POST /sandbox/{sandbox}/last-activity`."""
    sandbox_of(request).touch()
    return json_answer({}, 201)


async def proxy_url(request: Request) -> Response:
    """`GET /sandbox/{sandbox}/toolbox-proxy-url`."""
    sandbox_of(request)
    return json_answer({"url": toolbox_url(request)})


async def logs(request: Request) -> Response:
    """`GET /sandbox/{sandbox}/logs` (ours): the newest output of its runs."""
    return Response(bytes(sandbox_of(request).log), media_type="text/plain; charset=utf-8")


def _selected(request: Request) -> list[Sandbox]:
    query = request.query_params
    wanted = _labels(query.get("labels"))
    states = query.getlist("states")
    return [
        sandbox
        for sandbox in engine_of(request).list(tenant_of(request))
        if wanted.items() <= sandbox.labels.items()
        and sandbox.id.startswith(query.get("id", ""))
        and sandbox.name.startswith(query.get("name", ""))
        and (not states or sandbox.state.value in states)
    ]


def _labels(text: str | None) -> dict[str, str]:
    try:
        found = json.loads(text or "null")
    except ValueError:
        raise HTTPException(400, "labels must be a JSON object") from None
    if found is not None and not isinstance(found, dict):
        raise HTTPException(400, "labels must be a JSON object")
    return found or {}


def _number(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name, str(default))
    if not text.isdigit() or len(text) > 9:
        raise HTTPException(400, f"{name} must be a number of 0 or more")
    return int(text)


def _version(request: Request) -> tuple[int, ...]:
    """The client's version; the newest when it names none."""
    text = request.headers.get("x-daytona-sdk-version", "999")
    numbers = [int(part) for part in text.split(".")[:2] if part.isdigit()]
    return tuple(numbers) or (999,)


routes = [
    Route(paths.SANDBOXES, create, methods=["POST"]),
    Route(paths.SANDBOXES, list_all, methods=["GET"]),
    Route(paths.SANDBOXES_PAGINATED, list_pages, methods=["GET"]),
    Route(paths.SANDBOX, get, methods=["GET"]),
    Route(paths.SANDBOX, delete, methods=["DELETE"]),
    Route(paths.LABELS, set_labels, methods=["PUT"]),
    Route(paths.LAST_ACTIVITY, touch, methods=["POST"]),
    Route(paths.TOOLBOX_URL, proxy_url, methods=["GET"]),
    Route(paths.LOGS, logs, methods=["GET"]),
]
