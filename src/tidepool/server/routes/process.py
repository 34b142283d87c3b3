"""Toolbox: runs (protocol section 6.1)."""

import struct
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from tidepool.engine import CodeRun, Command, ExecResult, Sandbox
from tidepool.server import envelope, translate
from tidepool.server.answers import json_answer, read_json
from tidepool.server.routes import sandbox_of
from tidepool.wire import errors, paths
from tidepool.wire import process as wire

_KINDS = {"stdout": 1, "stderr": 2}


async def execute(request: Request) -> Response:
    """`POST /process/execute`."""
    asked = await read_json(request, wire.Execute)
    sandbox = sandbox_of(request)
    inside = envelope.unwrap(asked.command)
    env = {**(asked.envs or {}), **inside.env}
    if inside.code is not None:
        run = wire.CodeRun(inside.code, "python", list(inside.argv), env, asked.timeout)
        return await _code(request, sandbox, run)
    plain = wire.Execute(inside.command or "", asked.cwd, asked.timeout, env)
    return _answer(request, await sandbox.exec(translate.command(plain)))


async def code_run(request: Request) -> Response:
    """`POST /process/code-run`."""
    asked = await read_json(request, wire.CodeRun)
    return await _code(request, sandbox_of(request), asked)


async def _code(request: Request, sandbox: Sandbox, asked: wire.CodeRun) -> Response:
    result = await sandbox.run_code(translate.code_run(asked))
    return _answer(request, result, envelope.hint(asked.code, asked.language, result.exit_code))


def _answer(request: Request, result: ExecResult, hint: str = "") -> Response:
    """A result, or at a deadline 408 with the partial result beside the error (nothing that was written is lost)."""
    body = translate.run_body(result, hint)
    if not translate.timed_out(result):
        return json_answer(body)
    message = f"request timeout: command execution timeout; output so far: {body['result'][-2000:]}"
    code, path = errors.PROCESS_EXECUTION_TIMEOUT, request.url.path
    refusal = errors.toolbox_body(408, message, path, "", code, request.method)
    return json_answer({**refusal, "partial": body}, 408)


async def tests(request: Request) -> Response:
    """`POST /process/tests` (ours): a timeout is a verdict here, hence 200."""
    asked = await read_json(request, wire.Tests)
    report = await sandbox_of(request).run_tests(translate.test_run(asked))
    return json_answer(translate.tests_body(report))


async def stream(request: Request) -> Response:
    """`POST /process/stream` (ours): frames as they come, the closing one with the result; a client that goes kills."""
    run = translate.stream_run(await read_json(request, wire.Stream))
    return StreamingResponse(_frames(sandbox_of(request), run), media_type="application/octet-stream")


async def _frames(sandbox: Sandbox, run: Command | CodeRun) -> AsyncIterator[bytes]:
    items = sandbox.stream(run)
    try:
        async for item in items:
            if isinstance(item, ExecResult):
                closing: dict[str, Any] = {"exitCode": item.exit_code, **translate.figures(item)}
                yield _frame(0, msgspec.json.encode(closing))
            else:
                yield _frame(_KINDS[item[0]], item[1])
    finally:
        await items.aclose()  # type: ignore[attr-defined]  # an async generator, typed as its interface


def _frame(kind: int, payload: bytes) -> bytes:
    return struct.pack(">BI", kind, len(payload)) + payload


routes = [
    Route(paths.EXECUTE, execute, methods=["POST"]),
    Route(paths.CODE_RUN, code_run, methods=["POST"]),
    Route(paths.TESTS, tests, methods=["POST"]),
    Route(paths.STREAM, stream, methods=["POST"]),
]
