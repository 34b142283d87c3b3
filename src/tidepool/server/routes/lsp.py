"""Toolbox: language servers (protocol section 6.3)."""

import functools
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tidepool.server.answers import json_answer, read_json, refusal
from tidepool.server.routes import sandbox_of
from tidepool.toolbox.lsp import LanguageServer, NotStarted, servers_of
from tidepool.wire import lsp as wire
from tidepool.wire import paths

T = TypeVar("T")
Handler = Callable[[Request], Awaitable[Response]]


def _started(handler: Handler) -> Handler:
    """A handler that needs a server that runs."""

    @functools.wraps(handler)
    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except NotStarted as error:
            return refusal(request.scope, 400, str(error), wire.LSP_SERVER_NOT_INITIALIZED)

    return answer


async def start(request: Request) -> Response:
    """`POST /lsp/start`."""
    asked = await read_json(request, wire.Server)
    await servers_of(sandbox_of(request)).start(asked.language_id, asked.path_to_project)
    return Response(status_code=200)


@_started
async def stop(request: Request) -> Response:
    """`POST /lsp/stop`."""
    asked = await read_json(request, wire.Server)
    await servers_of(sandbox_of(request)).stop(asked.language_id, asked.path_to_project)
    return Response(status_code=200)


@_started
async def did_open(request: Request) -> Response:
    """`POST /lsp/did-open`."""
    asked = await read_json(request, wire.Document)
    await _server(request, asked).open_document(asked.uri)
    return Response(status_code=200)


@_started
async def did_close(request: Request) -> Response:
    """`POST /lsp/did-close`."""
    asked = await read_json(request, wire.Document)
    await _server(request, asked).close_document(asked.uri)
    return Response(status_code=200)


@_started
async def document_symbols(request: Request) -> Response:
    """`GET /lsp/document-symbols`."""
    asked = _query(request, wire.Document)
    return json_answer(await _server(request, asked).document_symbols(asked.uri))


@_started
async def workspace_symbols(request: Request) -> Response:
    """`GET /lsp/workspacesymbols` and the older `/lsp/workspace-symbols`."""
    asked = _query(request, wire.Search)
    return json_answer(await _server(request, asked).workspace_symbols(asked.query))


@_started
async def completions(request: Request) -> Response:
    """`POST /lsp/completions`."""
    asked = await read_json(request, wire.Completions)
    return json_answer(await _server(request, asked).completions(asked))


def _server(request: Request, asked: wire.Server) -> LanguageServer:
    return servers_of(sandbox_of(request)).get(asked.language_id, asked.path_to_project)


def _query(request: Request, model: type[T]) -> T:
    try:
        return msgspec.convert(dict(request.query_params), model)
    except msgspec.ValidationError as error:
        raise HTTPException(400, f"the query does not fit: {error}") from None


routes = [
    Route(paths.LSP_START, start, methods=["POST"]),
    Route(paths.LSP_STOP, stop, methods=["POST"]),
    Route(paths.LSP_DID_OPEN, did_open, methods=["POST"]),
    Route(paths.LSP_DID_CLOSE, did_close, methods=["POST"]),
    Route(paths.LSP_DOCUMENT_SYMBOLS, document_symbols, methods=["GET"]),
    Route(paths.LSP_WORKSPACE_SYMBOLS, workspace_symbols, methods=["GET"]),
    Route(paths.LSP_OLD_WORKSPACE_SYMBOLS, workspace_symbols, methods=["GET"]),
    Route(paths.LSP_COMPLETIONS, completions, methods=["POST"]),
]
