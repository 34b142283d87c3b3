"""The OpenAPI document of this very application, made from its routes, its rows in `operations`, and the models.

Nothing is written down twice: a route that exists is in the document, and one that does not is not. What is only
answered with 501 is left out.
"""

import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Mount, Route, WebSocketRoute
from starlette.types import Scope

from tidepool import __version__
from tidepool.server import operations
from tidepool.server.answers import json_answer
from tidepool.server.auth import OPEN
from tidepool.server.operations import FORM, JSON, Operation
from tidepool.server.routes.elsewhere import NAME
from tidepool.wire import paths, protocol

_PARAMETER = re.compile(r"{(?P<name>[^}:]*)(:[^}]*)?}")
_TITLE = re.compile(r"^`[^`]*`(?P<more>[^:.]*)[:.] *(?P<sentence>.*)", re.DOTALL)
_REF = "#/components/schemas/{name}"
_OLD = paths.API + paths.OLD_TOOLBOX_ONE
_ERROR = {
    "type": "object",
    "required": ["statusCode", "message", "path", "timestamp"],
    "properties": {
        "statusCode": {"type": "integer"},
        "message": {"type": "string"},
        "path": {"type": "string"},
        "timestamp": {"type": "string"},
        "error": {"type": "string"},
        "code": {"type": "string"},
        "source": {"type": "string"},
        "method": {"type": "string"},
    },
}


@dataclass(frozen=True)
class Served:
    """One method of one route."""

    method: str
    path: str
    """From the root, as OpenAPI writes templates."""
    area: str
    """control, toolbox, or root."""
    below: str
    """The path below its area's base."""
    handler: Any
    is_websocket: bool = False

    @property
    def key(self) -> tuple[str, str, str]:
        """What it is compared by: names of parameters in the path do not matter."""
        return self.area, self.method, protocol.shape(self.below)


def served(routes: Sequence[BaseRoute], base: str = "") -> Iterator[Served]:
    """Every method of every route that does something, in the order in which they are tried."""
    for route in routes:
        if isinstance(route, Mount) and route.routes:
            yield from served(route.routes, base + route.path)
        elif isinstance(route, Route) and not route.name.startswith(NAME):
            for method in sorted((route.methods or set()) - {"HEAD"}):
                yield _one(method, base + route.path, route.endpoint)
        elif isinstance(route, WebSocketRoute):
            yield _one("GET", base + route.path, route.endpoint, True)


def _one(method: str, path: str, handler: Any, is_websocket: bool = False) -> Served:
    bases = (("toolbox", _OLD), ("toolbox", paths.TOOLBOX_ONE), ("control", paths.API), ("root", ""))
    area, base = next(pair for pair in bases if path.startswith(pair[1]))
    template = _PARAMETER.sub(r"{\g<name>}", path)
    return Served(method, template, area, path[len(base) :], handler, is_websocket)


def row_of(one: Served) -> Operation | None:
    """What is declared of a route; None: nothing."""
    return _rows().get(one.key)


@functools.cache
def _rows() -> dict[tuple[str, str, str], Operation]:
    tables = (("control", operations.CONTROL), ("toolbox", operations.TOOLBOX), ("root", operations.ROOT))
    return {
        (area, method, protocol.shape(path)): row
        for area, table in tables
        for (method, path), row in table.items()
    }


def document(routes: Sequence[BaseRoute]) -> dict[str, Any]:
    """The whole document, OpenAPI 3.1."""
    every = list(served(routes))
    rows = [row_of(one) or Operation() for one in every]
    models = [model for row in rows for model in (row.request, row.answer) if model is not None]
    schemas, components = msgspec.json.schema_components(models, ref_template=_REF)
    schema_of = dict(zip(map(repr, models), schemas, strict=True))
    known = {endpoint.shape: endpoint for endpoint in reversed(protocol.endpoints())}
    items: dict[str, dict[str, Any]] = {}
    for one, row in zip(every, rows, strict=True):
        item = _operation(one, row, known.get(one.key), schema_of)
        items.setdefault(one.path, {}).setdefault(one.method.lower(), item)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Tidepool", "version": __version__},
        "paths": items,
        "components": {
            "schemas": {**components, "Refusal": _ERROR},
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer"},
                "signature": {"type": "apiKey", "in": "header", "name": "Authorization"},
            },
        },
        "security": [{"key": []}],
    }


def _operation(
    one: Served, row: Operation, endpoint: protocol.Endpoint | None, schema_of: dict[str, Any]
) -> dict[str, Any]:
    summary, description = words(one, endpoint)
    status = row.status or (endpoint.statuses[0] if endpoint else 101 if one.is_websocket else 200)
    names = dict.fromkeys((endpoint.query if endpoint else ()) + row.query)
    found: dict[str, Any] = {
        "operationId": f"{one.method} {one.path}",
        "summary": summary,
        "parameters": [
            *(
                {"in": "path", "required": True, **_named(part["name"])}
                for part in _PARAMETER.finditer(one.path)
            ),
            *({"in": "query", **_named(name)} for name in names),
        ],
        "responses": {str(status): _success(row, schema_of), "default": _refusal()},
    }
    if description:
        found["description"] = description
    if row.request is not None:
        found["requestBody"] = {"content": {JSON: {"schema": schema_of[repr(row.request)]}}}
    elif row.body != JSON:
        found["requestBody"] = {"content": {FORM: {"schema": {"type": "object"}}}}
    if one.path in OPEN:
        found["security"] = []
    elif one.area == "root":
        found["security"] = [{"signature": []}]
    if one.path.startswith(_OLD):
        found["deprecated"] = True
    return found


def _named(name: str) -> dict[str, Any]:
    return {"name": name, "schema": {"type": "string"}}


def _success(row: Operation, schema_of: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"description": "Done."}
    if row.answer is not None:
        found["content"] = {row.media: {"schema": schema_of[repr(row.answer)]}}
    elif row.media != JSON:
        found["content"] = {row.media: {}}
    return found


def _refusal() -> dict[str, Any]:
    schema = {"$ref": _REF.format(name="Refusal")}
    return {"description": "Refused, with a sentence.", "content": {JSON: {"schema": schema}}}


def words(one: Served, endpoint: protocol.Endpoint | None) -> tuple[str, str]:
    """Summary and description of a route: the protocol's words, and those of its handler."""
    text = " ".join((one.handler.__doc__ or "").split())
    found = _TITLE.match(text)
    said = (found["sentence"] if found else text).replace("`", "")
    said = said[:1].upper() + said[1:]
    if endpoint is None:
        return said.partition(". ")[0].rstrip(".") or f"{one.method} {one.below}", said
    return endpoint.summary, said


def state_of(endpoint: protocol.Endpoint, routes: Sequence[BaseRoute]) -> str:
    """What becomes of a client that asks for an endpoint: `served`, or how it is answered instead."""
    if endpoint.shape in {one.key for one in served(routes)}:
        return "served"
    base = paths.TOOLBOX_ONE if endpoint.area == "toolbox" else paths.API
    path = _PARAMETER.sub("x", base + endpoint.path)
    scope = {"type": "http", "method": endpoint.method, "path": path, "headers": []}
    return f"answered with {_instead(routes, scope)}"


def _instead(routes: Sequence[BaseRoute], scope: Scope) -> str:
    for route in routes:
        match, more = route.matches(scope)
        if match is Match.FULL and isinstance(route, Mount) and route.routes:
            return _instead(route.routes, {**scope, **more})
        if match is Match.FULL and isinstance(route, Route) and route.name.startswith(NAME):
            return route.name.removeprefix(NAME)
    return "404"


async def serve(request: Request) -> Response:
    """`GET /openapi.json`: this document."""
    state = request.app.state
    if not hasattr(state, "openapi"):
        state.openapi = document(request.app.routes)
    return json_answer(state.openapi)


routes = [Route(paths.OPENAPI, serve, methods=["GET"])]
