"""Every exception the SDK raises on purpose, and the one table that chooses the class for an answer's status.

A program's own failure (exit code, signal, out of memory) is never one of these: it is in the result.
Names and choice follow the official client: the toolbox's `code` first, else the HTTP status.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from daytona_sdk.common.results import ExecuteResponse

SOURCE_DAEMON = "DAYTONA_DAEMON"
"""`source` of an error that comes from inside a sandbox; only then does `code` choose the class."""


class DaytonaError(Exception):
    """Base of all: `message` is a sentence; the rest is what the server said, None where it said nothing."""

    def __init__(
        self,
        message: str,
        status_code: int | None = None,
        headers: Mapping[str, str] | None = None,
        code: str | None = None,
        source: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status_code = status_code
        self.headers = dict(headers or {})
        self.code = code
        self.source = source
        self.sandbox_id: str | None = None
        """The sandbox that was made, where `create` failed after it existed."""

    @property
    def error_code(self) -> str | None:
        """The older name of `code`."""
        return self.code


class DaytonaBadRequestError(DaytonaError):
    """400: the request is wrong; the message says where."""


class DaytonaAuthenticationError(DaytonaError):
    """401: no key, or one the server does not know."""


class DaytonaForbiddenError(DaytonaError):
    """403: known, but not allowed."""


class DaytonaNotFoundError(DaytonaError):
    """404: no such sandbox, file or command."""


class DaytonaTimeoutError(DaytonaError):
    """408, 504, or a deadline of this client."""

    partial: ExecuteResponse | None = None
    """What the killed run had produced until then; None where the server did not say."""


class DaytonaConflictError(DaytonaError):
    """409: the name or path is taken, or the state does not allow it."""


class DaytonaGoneError(DaytonaError):
    """410: it existed, and is over."""


class DaytonaUnprocessableEntityError(DaytonaError):
    """422: well-formed, but its meaning is refused."""


class DaytonaRateLimitError(DaytonaError):
    """429: too many requests."""


class DaytonaInternalServerError(DaytonaError):
    """500: the server's fault."""


class DaytonaBadGatewayError(DaytonaError):
    """502: something behind the server failed."""


class DaytonaServiceUnavailableError(DaytonaError):
    """503: no room now; later may work."""


class DaytonaConnectionError(DaytonaError):
    """No server, or the connection broke: no complete answer arrived."""


class DaytonaConnectionTimeoutError(DaytonaConnectionError, DaytonaTimeoutError):
    """The server did not connect or answer in time."""


class DaytonaFileNotFoundError(DaytonaNotFoundError):
    """The path does not exist in the sandbox."""


class DaytonaFileAccessDeniedError(DaytonaForbiddenError):
    """The sandbox's own user may not touch the path."""


class DaytonaInvalidFilePathError(DaytonaBadRequestError):
    """The path is not usable for this."""


class DaytonaFileReadFailedError(DaytonaInternalServerError):
    """The file could not be read to its end."""


class DaytonaProcessExecutionTimeoutError(DaytonaTimeoutError):
    """The run reached its `timeout` and was killed with everything it had started; see `partial`."""


class DaytonaProcessNotFoundError(DaytonaNotFoundError):
    """No such process."""


# The names older programs catch.
DaytonaValidationError = DaytonaBadRequestError
DaytonaAuthorizationError = DaytonaForbiddenError

BY_STATUS: dict[int, type[DaytonaError]] = {
    400: DaytonaBadRequestError,
    401: DaytonaAuthenticationError,
    403: DaytonaForbiddenError,
    404: DaytonaNotFoundError,
    408: DaytonaTimeoutError,
    409: DaytonaConflictError,
    410: DaytonaGoneError,
    422: DaytonaUnprocessableEntityError,
    429: DaytonaRateLimitError,
    500: DaytonaInternalServerError,
    502: DaytonaBadGatewayError,
    503: DaytonaServiceUnavailableError,
    504: DaytonaTimeoutError,
}

BY_CODE: dict[str, type[DaytonaError]] = {
    "FILE_NOT_FOUND": DaytonaFileNotFoundError,
    "FILE_ACCESS_DENIED": DaytonaFileAccessDeniedError,
    "INVALID_FILE_PATH": DaytonaInvalidFilePathError,
    "FILE_READ_FAILED": DaytonaFileReadFailedError,
    "PROCESS_EXECUTION_TIMEOUT": DaytonaProcessExecutionTimeoutError,
    "PROCESS_NOT_FOUND": DaytonaProcessNotFoundError,
}


def error_class(status: int | None, code: str | None = None, source: str | None = None) -> type[DaytonaError]:
    """The class for an answer: by `code` where the toolbox speaks, else by status, else the base."""
    if source == SOURCE_DAEMON and code in BY_CODE:
        return BY_CODE[code]
    return BY_STATUS.get(status or 0, DaytonaError)
