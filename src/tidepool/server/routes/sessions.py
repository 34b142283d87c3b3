"""Toolbox: sessions and the logs of their commands (protocol sections 6.1, 6.4 and 7.1)."""

import asyncio
import contextlib

from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from tidepool.engine.errors import NotFound
from tidepool.server.answers import json_answer, read_json, refusal
from tidepool.server.routes import client_version, sandbox_of
from tidepool.toolbox import sessions as toolbox
from tidepool.wire import paths
from tidepool.wire import sessions as wire

_PREFIXES_SINCE, _JSON_SINCE = (0, 27), (0, 167)
_SEND_S = 60.0
"""How long a client may take to take a message."""
_MARKS = {"stdout": wire.STDOUT, "stderr": wire.STDERR}


async def create(request: Request) -> Response:
    """`POST /process/session`."""
    asked = await read_json(request, wire.CreateSession)
    sandbox = sandbox_of(request)
    _ = sandbox.files  # refuses a sandbox that is not started
    await toolbox.sessions_of(sandbox).create(asked.session_id)
    return Response(status_code=201)


async def list_all(request: Request) -> Response:
    """`GET /process/session`."""
    return json_answer([_body(found) for found in toolbox.sessions_of(sandbox_of(request)).list()])


async def get(request: Request) -> Response:
    """`GET /process/session/{session}`."""
    return json_answer(_body(_session(request)))


async def delete(request: Request) -> Response:
    """`DELETE /process/session/{session}`: ends everything in it."""
    await toolbox.sessions_of(sandbox_of(request)).delete(request.path_params["session"])
    return Response(status_code=204)


async def entrypoint(request: HTTPConnection) -> Response:
    """`GET /process/session/entrypoint` and its logs: sandboxes here run nothing by themselves."""
    sandbox_of(request)
    raise NotFound("this sandbox has no entrypoint session: nothing runs in it but what clients start")


async def execute(request: Request) -> Response:
    """`POST /process/session/{session}/exec`: 200 when it has ended, 202 at once for an asynchronous one."""
    asked = await read_json(request, wire.Execute)
    sandbox_of(request).touch()
    at_once = bool(asked.run_async or asked.is_async)
    try:
        # Nobody knows the id of one that is waited for: rather an end of input than one that waits for it for ever.
        command = await _session(request).execute(asked.command, not asked.suppress_input_echo, at_once)
    except toolbox.SessionEnded as error:
        return refusal(request.scope, 410, str(error), wire.SESSION_ENDED)
    if at_once:
        return json_answer(wire.Executed(command.id), 202)
    await command.ended.wait()
    assert command.exit_code is not None
    return json_answer(_executed(request, command))


async def command(request: Request) -> Response:
    """`GET /process/session/{session}/command/{command}`."""
    return json_answer(_command(_session(request).command(request.path_params["command"])))


async def logs(request: Request) -> Response:
    """`GET /process/session/{session}/command/{command}/logs`."""
    found = _session(request).command(request.path_params["command"]).log
    version = client_version(request)
    if version is None and request.headers.get("x-daytona-split-output", "").lower() == "true":
        version = _JSON_SINCE
    if version is not None and version >= _JSON_SINCE:
        return json_answer(wire.Logs(found.text(), found.text("stdout"), found.text("stderr")))
    if version is not None and version >= _PREFIXES_SINCE:
        data = b"".join(_MARKS[stream] + data for stream, data in found.since(0)[0])
        return Response(data, media_type="text/plain; charset=utf-8")
    return Response(found.text(), media_type="text/plain; charset=utf-8")


async def follow(socket: WebSocket) -> None:
    """The same path as a WebSocket: everything from the beginning, closed with 1000 at the command's end."""
    session = toolbox.sessions_of(sandbox_of(socket)).get(socket.path_params["session"])
    found = session.command(socket.path_params["command"])
    offered = socket.scope.get("subprotocols") or [None]
    await socket.accept(offered[0])
    sending = asyncio.create_task(_send(socket, session, found))
    leaving = asyncio.create_task(_gone(socket))
    try:
        await asyncio.wait((sending, leaving), return_when=asyncio.FIRST_COMPLETED)
        if sending.done() and sending.exception() is None:
            with contextlib.suppress(RuntimeError, WebSocketDisconnect):  # it may have closed first
                await socket.close(1000)
    finally:
        for task in (sending, leaving):
            task.cancel()
        await asyncio.gather(sending, leaving, return_exceptions=True)


async def _send(socket: WebSocket, session: toolbox.Session, command: toolbox.Command) -> None:
    async with contextlib.aclosing(session.follow(command)) as pieces:
        async for stream, data in pieces:
            async with asyncio.timeout(_SEND_S):
                await socket.send_bytes(_MARKS[stream] + data)


async def _gone(socket: WebSocket) -> None:
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass  # followers say nothing


async def give_input(request: Request) -> Response:
    """`POST /process/session/{session}/command/{command}/input`."""
    asked = await read_json(request, wire.Input)
    session = _session(request)
    try:
        await session.give_input(session.command(request.path_params["command"]), asked.data)
    except toolbox.CommandCompleted as error:
        return refusal(request.scope, 410, str(error), wire.COMMAND_ALREADY_COMPLETED)
    return Response(status_code=204)


def _session(request: Request) -> toolbox.Session:
    return toolbox.sessions_of(sandbox_of(request)).get(request.path_params["session"])


def _body(session: toolbox.Session) -> wire.Session:
    return wire.Session(session.id, [_command(found) for found in session.commands.values()])


def _command(found: toolbox.Command) -> wire.Command:
    answer = wire.Command(found.id, found.text)
    if found.exit_code is not None:
        answer.exit_code = found.exit_code
    return answer


def _executed(request: Request, found: toolbox.Command) -> wire.Executed:
    assert found.exit_code is not None
    answer = wire.Executed(found.id, found.exit_code, found.log.text())
    version = client_version(request)
    if version is not None and _PREFIXES_SINCE <= version < _JSON_SINCE:
        pieces = (
            (_MARKS[stream] + data).decode("utf-8", "replace") for stream, data in found.log.since(0)[0]
        )
        answer.output = "".join(pieces)
    else:
        answer.stdout, answer.stderr = found.log.text("stdout"), found.log.text("stderr")
    return answer


routes: list[BaseRoute] = [
    Route(paths.SESSIONS, create, methods=["POST"]),
    Route(paths.SESSIONS, list_all, methods=["GET"]),
    Route(paths.ENTRYPOINT, entrypoint, methods=["GET"]),
    Route(paths.ENTRYPOINT_LOGS, entrypoint, methods=["GET"]),
    WebSocketRoute(paths.ENTRYPOINT_LOGS, entrypoint),
    Route(paths.SESSION, get, methods=["GET"]),
    Route(paths.SESSION, delete, methods=["DELETE"]),
    Route(paths.SESSION_EXECUTE, execute, methods=["POST"]),
    Route(paths.SESSION_COMMAND, command, methods=["GET"]),
    Route(paths.SESSION_LOGS, logs, methods=["GET"]),
    WebSocketRoute(paths.SESSION_LOGS, follow),
    Route(paths.SESSION_INPUT, give_input, methods=["POST"]),
]
