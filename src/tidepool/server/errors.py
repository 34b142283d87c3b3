"""Exceptions to answers: one table, exception class -> status and toolbox code.

The nearest class of the exception's own order of bases counts. What is not in the table is ours: 500, logged.
"""

import logging
from datetime import UTC, datetime

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from tidepool.engine import errors as engine
from tidepool.server.answers import json_answer
from tidepool.wire import errors as wire
from tidepool.wire import paths

log = logging.getLogger("tidepool.server")

TABLE: dict[type[Exception], tuple[int, str]] = {
    engine.Refused: (400, ""),
    engine.InvalidSpec: (400, wire.INVALID_FILE_PATH),
    engine.NotFound: (404, wire.FILE_NOT_FOUND),
    engine.WrongState: (409, ""),
    engine.Conflict: (409, ""),
    engine.AccessDenied: (403, wire.FILE_ACCESS_DENIED),
    engine.NoSpace: (400, ""),
    engine.DependencyFailed: (400, ""),
    engine.Unavailable: (503, ""),
    engine.NoCapacity: (503, ""),
    engine.HostUnsupported: (503, ""),
    engine.Fault: (500, wire.FILE_READ_FAILED),
    engine.SetupFailed: (500, ""),
    engine.SandboxLost: (500, ""),
    engine.TidepoolError: (500, ""),
}
_RETRY_AFTER_S = "1"


def status_of(error: Exception) -> tuple[int, str]:
    """Status and toolbox code for an exception of the engine."""
    for kind in type(error).__mro__:
        if kind in TABLE:
            return TABLE[kind]
    return 500, ""


async def on_engine_error(request: Request, error: Exception) -> Response:
    """The answer to an exception of the engine."""
    status, code = status_of(error)
    if status >= 500 and not isinstance(error, engine.Unavailable):
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return _answer(request, status, str(error), code)


async def on_http_error(request: Request, error: Exception) -> Response:
    """The answer to a refusal made in the server itself."""
    assert isinstance(error, HTTPException)
    return _answer(request, error.status_code, error.detail, "")


async def on_fault(request: Request, error: Exception) -> Response:
    """The answer to an exception nobody expected; its traceback goes to the log, not to the client."""
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return _answer(request, 500, "an internal error; the server's log has the details", "")


def _answer(request: Request, status: int, message: str, code: str) -> Response:
    path, now = request.url.path, datetime.now(UTC).isoformat().replace("+00:00", "Z")
    if "/toolbox/" in path and not path.startswith(paths.API + paths.SANDBOXES):
        body = wire.toolbox_body(status, message, path, now, code, request.method)
    else:
        body = wire.control_body(status, message, path, now)
    answer = json_answer(body, status)
    if status == 503:
        answer.headers["Retry-After"] = _RETRY_AFTER_S
    return answer
