"""Toolbox: interpreter contexts, and code run in them over a WebSocket (protocol section 7.3)."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Any, cast

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from tidepool.engine.errors import Refused, TidepoolError
from tidepool.server.answers import json_answer, read_json, timestamp
from tidepool.server.routes import sandbox_of
from tidepool.toolbox import interpreter as toolbox
from tidepool.wire import interpreter as wire
from tidepool.wire import paths

FIRST_MESSAGE_S = 30.0
"""How long a client may take to say what is to be run."""
SEND_S = 60.0
"""How long a client may take to take a message."""
_REASON_BYTES = 123
"""Of a closing frame (RFC 6455, section 5.5)."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(wire.Execute).decode


async def create(request: Request) -> Response:
    """`POST /process/interpreter/context`."""
    asked = await read_json(request, wire.CreateContext)
    made = await toolbox.contexts_of(sandbox_of(request)).create(asked.cwd, asked.language)
    return json_answer(_body(made))


async def list_all(request: Request) -> Response:
    """`GET /process/interpreter/context`."""
    found = toolbox.contexts_of(sandbox_of(request)).list()
    return json_answer(wire.Contexts([_body(context) for context in found]))


async def delete(request: Request) -> Response:
    """`DELETE /process/interpreter/context/{context}`."""
    await toolbox.contexts_of(sandbox_of(request)).delete(request.path_params["context"])
    return json_answer(wire.Message("Context deleted successfully"))


def _body(context: toolbox.Context) -> wire.Context:
    return wire.Context(
        context.id, context.cwd, timestamp(context.created_at), context.active, context.language
    )


async def execute(socket: WebSocket) -> None:
    """`GET /process/interpreter/execute`, a WebSocket: one run, which is interrupted when the client goes."""
    sandbox = sandbox_of(socket)
    _ = sandbox.files  # refuses a sandbox that is not started while that can still be said with a status
    offered = socket.scope.get("subprotocols") or [None]
    await socket.accept(offered[0])
    try:
        asked = await _first_message(socket)
        context = toolbox.contexts_of(sandbox).get(asked.context_id)
        timeout_s = toolbox.DEFAULT_TIMEOUT_S if asked.timeout is None else asked.timeout or None
        events = context.execute(asked.code, asked.envs or {}, timeout_s)
        code, reason = await _forward(socket, cast("AsyncGenerator[toolbox.Event]", events))
    except WebSocketDisconnect:
        return
    except Refused as error:
        code, reason = wire.CLOSE_REFUSED, str(error)
    except TidepoolError as error:
        code, reason = wire.CLOSE_FAULT, str(error)
    with contextlib.suppress(RuntimeError, WebSocketDisconnect):  # it may have closed first
        await socket.close(code, reason.encode()[:_REASON_BYTES].decode("utf-8", "ignore"))


async def _first_message(socket: WebSocket) -> wire.Execute:
    try:
        async with asyncio.timeout(FIRST_MESSAGE_S):
            message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message["code"])
        asked = _decode(message.get("text") or message.get("bytes") or b"")
    except TimeoutError:
        raise Refused(f"no message came within {FIRST_MESSAGE_S:g} s") from None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(f"the message does not fit: {error}") from None
    if asked.timeout is not None and not 0 <= asked.timeout <= toolbox.MAX_TIMEOUT_S:
        raise Refused(f"timeout is {asked.timeout:g} s; allowed is 0 (none) to {toolbox.MAX_TIMEOUT_S:g}")
    return asked


async def _forward(socket: WebSocket, events: AsyncGenerator[toolbox.Event]) -> tuple[int, str]:
    """Send the run's events until its end or the client's; close code and reason."""
    sending = asyncio.create_task(_send_all(socket, events))
    leaving = asyncio.create_task(_gone(socket))
    try:
        await asyncio.wait((sending, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not sending.done():
            raise WebSocketDisconnect
        return sending.result()
    finally:
        for task in (sending, leaving):
            task.cancel()
        await asyncio.gather(sending, leaving, return_exceptions=True)
        await events.aclose()


async def _gone(socket: WebSocket) -> None:
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass  # a run takes no input


async def _send_all(socket: WebSocket, events: AsyncGenerator[toolbox.Event]) -> tuple[int, str]:
    async for event in events:
        if isinstance(event, toolbox.Ended):
            return await _end(socket, event)
        await _send(socket, _message(event))
    raise AssertionError("a run's last event is its end")


def _message(event: toolbox.Output | toolbox.Shown | toolbox.Failure) -> Any:
    if isinstance(event, toolbox.Output):
        return wire.Output(event.stream, event.text)
    if isinstance(event, toolbox.Shown):
        return wire.Shown(event.chart)
    return wire.Error(event.name, event.value, event.traceback)


async def _end(socket: WebSocket, event: toolbox.Ended) -> tuple[int, str]:
    if event.reason:
        await _send(socket, wire.Error("ContextDied", event.reason, ""))
    if event.how == "timeout":
        return wire.CLOSE_TIMEOUT, "the run's time was over"
    await _send(socket, wire.Control("interrupted" if event.how == "interrupted" else "completed"))
    return wire.CLOSE_DONE, ""


async def _send(socket: WebSocket, message: Any) -> None:
    try:
        async with asyncio.timeout(SEND_S):
            await socket.send_text(_encode(message).decode())
    except TimeoutError:  # who does not read for so long will not read any more
        raise WebSocketDisconnect from None


routes: list[BaseRoute] = [
    Route(paths.CONTEXTS, create, methods=["POST"]),
    Route(paths.CONTEXTS, list_all, methods=["GET"]),
    Route(paths.CONTEXT, delete, methods=["DELETE"]),
    WebSocketRoute(paths.INTERPRETER, execute),
]
