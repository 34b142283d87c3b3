"""Toolbox: terminals over REST, and over a WebSocket what is typed at them and shown (protocol section 7.2)."""

import asyncio
import contextlib
from collections.abc import Iterator

import msgspec
from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from tidepool.engine import Sandbox
from tidepool.engine.errors import Unavailable
from tidepool.server.answers import json_answer, read_json, timestamp
from tidepool.server.routes import sandbox_of
from tidepool.toolbox import terminals as toolbox
from tidepool.wire import paths
from tidepool.wire import pty as wire

SEND_S = 60.0
"""How long a client may take to take a message."""
_REASON_BYTES = 123
"""Of a closing frame (RFC 6455, section 5.5)."""
_encode = msgspec.json.Encoder().encode


async def create(request: Request) -> Response:
    """`POST /process/pty`."""
    asked = await read_json(request, wire.Create)
    size = asked.cols, asked.rows
    made = await _terminals(request).create(asked.id, asked.cwd, asked.envs, size, asked.lazy_start)
    return json_answer(wire.Created(made.id), 201)


async def list_all(request: Request) -> Response:
    """`GET /process/pty`: those that have not ended."""
    return json_answer(wire.Terminals([_body(found) for found in _terminals(request).list()]))


async def get(request: Request) -> Response:
    """`GET /process/pty/{terminal}`."""
    return json_answer(_body(_terminal(request)))


async def delete(request: Request) -> Response:
    """`DELETE /process/pty/{terminal}`: ends all that was started at it."""
    await _terminals(request).delete(_terminal(request).id)
    return json_answer(wire.Message("PTY session deleted"))


async def resize(request: Request) -> Response:
    """`POST /process/pty/{terminal}/resize`."""
    asked = await read_json(request, wire.Resize)
    terminal = _terminal(request)
    with _ended_is_gone():
        await terminal.resize(asked.cols, asked.rows)
    return json_answer(_body(terminal))


async def create_connect(socket: WebSocket) -> None:
    """`GET /process/pty/create-connect`, a WebSocket: `create` and `connect` in one."""
    query = socket.query_params
    try:
        envs = wire.envs_of(socket.scope.get("subprotocols") or [])
    except ValueError as error:
        raise HTTPException(400, f"the terminal cannot be made: {error}") from None
    size = _number(query, "cols"), _number(query, "rows")
    sandbox = sandbox_of(socket)
    terminals = toolbox.terminals_of(sandbox)
    made = await terminals.create(query.get("id", ""), query.get("cwd"), envs, size)
    try:
        watching = await terminals.watch(made.id)
    except BaseException:
        await terminals.delete(made.id)
        raise
    await _serve(socket, sandbox, *watching)


def _number(query: QueryParams, name: str) -> int | None:
    text = query.get(name)
    if text and not (text.isascii() and text.isdigit() and len(text) < 10):
        raise HTTPException(400, f"{name} is {text[:20]!r}; it must be a number of characters")
    return int(text) if text else None


async def connect(socket: WebSocket) -> None:
    """`GET /process/pty/{terminal}/connect`, a WebSocket: what nobody has seen yet, then what is shown."""
    sandbox = sandbox_of(socket)
    with _ended_is_gone():
        watching = await toolbox.terminals_of(sandbox).watch(socket.path_params["terminal"])
    await _serve(socket, sandbox, *watching)


async def _serve(
    socket: WebSocket, sandbox: Sandbox, terminal: toolbox.Terminal, watcher: toolbox.Watcher
) -> None:
    """Until the shell's end or the client's; the terminal stays when the client goes."""
    offered = socket.scope.get("subprotocols") or []
    told = wire.EXIT_CONTROL in offered
    sandbox.busy += 1  # somebody sits at it
    try:
        await socket.accept(wire.EXIT_CONTROL if told else next(iter(offered), None))
        await _send(socket, wire.Connected())
        tasks = [
            asyncio.create_task(_show(socket, watcher, told)),
            asyncio.create_task(_type(socket, sandbox, terminal)),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    except WebSocketDisconnect:
        return
    except Unavailable as error:
        with contextlib.suppress(RuntimeError, WebSocketDisconnect):  # it may have closed first
            await socket.close(wire.CLOSE_FAILED, str(error))
    finally:
        terminal.leave(watcher)
        sandbox.busy -= 1
        sandbox.touch()


async def _show(socket: WebSocket, watcher: toolbox.Watcher, told: bool) -> None:
    with contextlib.suppress(RuntimeError, WebSocketDisconnect):  # it may have closed first
        while isinstance(item := await watcher.next(), bytes):
            await _send(socket, item)
        if item is None:
            await socket.close(wire.CLOSE_FAILED, "what was shown was not taken in time")
            return
        if told:
            await _send(socket, wire.Exited(item.exit_code, _reason(item)))
        code = wire.CLOSE_FAILED if item.exit_code else wire.CLOSE_EXITED
        await socket.close(code, _encode(wire.Exit(item.exit_code, _reason(item))).decode()[:_REASON_BYTES])


async def _send(socket: WebSocket, message: bytes | wire.Connected | wire.Exited) -> None:
    try:
        async with asyncio.timeout(SEND_S):
            if isinstance(message, bytes):
                await socket.send_bytes(message)
            else:
                await socket.send_text(_encode(message).decode())
    except TimeoutError:  # who does not read for so long will not read any more
        raise WebSocketDisconnect from None


def _reason(end: toolbox.End) -> str | msgspec.UnsetType:
    return end.reason[:80] or msgspec.UNSET


async def _type(socket: WebSocket, sandbox: Sandbox, terminal: toolbox.Terminal) -> None:
    while (message := await socket.receive())["type"] != "websocket.disconnect":
        sandbox.touch()
        await terminal.write(message.get("bytes") or (message.get("text") or "").encode())


def _terminals(request: HTTPConnection) -> toolbox.Terminals:
    return toolbox.terminals_of(sandbox_of(request))


def _terminal(request: HTTPConnection) -> toolbox.Terminal:
    """The terminal that the URL names.

    Raises:
        HTTPException: 410, it has ended.
    """
    with _ended_is_gone():
        return _terminals(request).get(request.path_params["terminal"])


@contextlib.contextmanager
def _ended_is_gone() -> Iterator[None]:
    try:
        yield
    except toolbox.TerminalEnded as error:
        raise HTTPException(410, str(error)) from None


def _body(terminal: toolbox.Terminal) -> wire.Terminal:
    return wire.Terminal(
        id=terminal.id,
        cwd=terminal.cwd,
        envs=terminal.envs,
        cols=terminal.cols,
        rows=terminal.rows,
        created_at=timestamp(terminal.created_at),
        active=terminal.active,
        lazy_start=terminal.lazy_start,
    )


routes: list[BaseRoute] = [
    Route(paths.TERMINALS, create, methods=["POST"]),
    Route(paths.TERMINALS, list_all, methods=["GET"]),
    WebSocketRoute(paths.TERMINAL_CREATE_CONNECT, create_connect),
    WebSocketRoute(paths.TERMINAL_CONNECT, connect),
    Route(paths.TERMINAL_RESIZE, resize, methods=["POST"]),
    Route(paths.TERMINAL, get, methods=["GET"]),
    Route(paths.TERMINAL, delete, methods=["DELETE"]),
]
