"""Exceptions to answers: one table, exception class -> status and the code it has where a file was asked for.

The nearest class in the exception's own order of bases counts. What is not in the table is ours: 500, logged.
"""

import logging
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from tidepool.engine import errors as engine
from tidepool.server.answers import is_toolbox, refusal
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
    engine.NotSaved: (507, ""),
    engine.SandboxLost: (500, ""),
    engine.TidepoolError: (500, ""),
}
RETRY_AFTER_S = "1"


def status_of(error: Exception) -> tuple[int, str]:
    """Status, and the toolbox code in a call that is about a file; the code may be empty."""
    return next((TABLE[kind] for kind in type(error).__mro__ if kind in TABLE), (500, ""))


async def on_engine_error(request: Request, error: Exception) -> Response:
    """The answer to an exception of the engine."""
    status, code = status_of(error)
    if status >= 500 and not isinstance(error, engine.Unavailable):
        log.error("%s %s failed", request.scope.get("method", "GET"), request.url.path, exc_info=error)
    answer = refusal(request.scope, status, str(error), code if _is_about_files(request) else "")
    if status == 503:
        answer.headers["Retry-After"] = RETRY_AFTER_S
    return answer


async def on_http_error(request: Request, error: Exception) -> Response:
    """The answer to a refusal made in the server itself, or to a URL that means nothing here."""
    assert isinstance(error, HTTPException)
    message = error.detail
    if (
        message == HTTPStatus(error.status_code).phrase
    ):  # Starlette's own: no such route, or not with this method
        message = f"this server has no {request.scope.get('method', 'GET')} {request.url.path}"
    return refusal(request.scope, error.status_code, message)


async def on_fault(request: Request, error: Exception) -> Response:
    """The answer to an exception nobody expected; its traceback goes to the log, not to the client."""
    return refusal(request.scope, 500, "an internal error; the server's log has the details")


def _is_about_files(request: Request) -> bool:
    path = request.scope["path"]
    return is_toolbox(path) and path.startswith(paths.FILES, len(request.scope["root_path"]))
