"""Toolbox: runs (protocol section 6.1). Each ends with the client that waits for it."""

import struct
from collections.abc import AsyncGenerator

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tidepool.engine import CodeRun, Command, ExecResult, Sandbox
from tidepool.server import translate
from tidepool.server.answers import StreamAnswer, json_answer, read_json, refusal
from tidepool.server.connection import ends_with_client
from tidepool.server.envelope import hint, unwrap
from tidepool.server.routes import sandbox_of
from tidepool.wire import errors, paths
from tidepool.wire import process as wire

_KINDS = {"stdout": wire.STDOUT, "stderr": wire.STDERR}
_PARTIAL_IN_MESSAGE = 2000


@ends_with_client
async def execute(request: Request) -> Response:
    """`POST /process/execute`; program text in an old client's envelope runs as such."""
    asked = await read_json(request, wire.Execute)
    return await _run(request, translate.execute(asked, unwrap(asked.command)))


@ends_with_client
async def code_run(request: Request) -> Response:
    """`POST /process/code-run`."""
    return await _run(request, translate.code_run(await read_json(request, wire.CodeRun)))


async def _run(request: Request, run: Command | CodeRun) -> Response:
    sandbox = sandbox_of(request)
    if isinstance(run, Command):
        return _answer(request, await sandbox.exec(run))
    result = await sandbox.run_code(run)
    return _answer(request, result, hint(run.code, run.language, result.exit_code))


def _answer(request: Request, result: ExecResult, note: str = "") -> Response:
    """A result, or at a deadline 408 with the partial result beside the error (nothing that was written is lost)."""
    body = translate.run_body(result, note)
    if not translate.timed_out(result):
        return json_answer(body)
    message = "request timeout: command execution timeout"
    if body.result:
        message += f"; output so far: {body.result[-_PARTIAL_IN_MESSAGE:]}"
    return refusal(request.scope, 408, message, errors.PROCESS_EXECUTION_TIMEOUT, partial=body)


@ends_with_client
async def tests(request: Request) -> Response:
    """`POST /process/tests` (ours): a timeout is a verdict here, hence 200."""
    asked = await read_json(request, wire.Tests)
    report = await sandbox_of(request).run_tests(translate.test_run(asked))
    return json_answer(translate.tests_body(report))


@ends_with_client
async def stream(request: Request) -> Response:
    """`POST /process/stream` (ours): output in frames as it comes, the closing one with the result."""
    run = translate.stream_run(await read_json(request, wire.Stream))
    sandbox = sandbox_of(request)
    _ = sandbox.files  # refuses a sandbox that is not started while that can still be said with a status
    return StreamAnswer(_frames(sandbox, run), "application/octet-stream")


async def _frames(sandbox: Sandbox, run: Command | CodeRun) -> AsyncGenerator[bytes, None]:
    items = sandbox.stream(run)
    try:
        async for item in items:
            if isinstance(item, ExecResult):
                yield _frame(wire.CLOSING, msgspec.json.encode(translate.ended(item)))
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
