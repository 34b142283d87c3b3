"""The client SDK: `Daytona` and `AsyncDaytona`, named and called as the official ones.

With no API URL configured it finds or starts a local server. Importing it loads no HTTP client, and the async
client only when one of its names is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from daytona_sdk._sync.daytona import Daytona
from daytona_sdk._sync.filesystem import FileSystem
from daytona_sdk._sync.process import CommandStream, Process
from daytona_sdk._sync.sandbox import Sandbox
from daytona_sdk.common.errors import (
    DaytonaAuthenticationError,
    DaytonaAuthorizationError,
    DaytonaBadGatewayError,
    DaytonaBadRequestError,
    DaytonaConflictError,
    DaytonaConnectionError,
    DaytonaConnectionTimeoutError,
    DaytonaError,
    DaytonaFileAccessDeniedError,
    DaytonaFileNotFoundError,
    DaytonaFileReadFailedError,
    DaytonaForbiddenError,
    DaytonaGoneError,
    DaytonaInternalServerError,
    DaytonaInvalidFilePathError,
    DaytonaNotFoundError,
    DaytonaProcessExecutionTimeoutError,
    DaytonaProcessNotFoundError,
    DaytonaRateLimitError,
    DaytonaServiceUnavailableError,
    DaytonaTimeoutError,
    DaytonaUnprocessableEntityError,
    DaytonaValidationError,
)
from daytona_sdk.common.params import (
    CodeRunParams,
    CreateSandboxFromSnapshotParams,
    CreateSandboxParams,
    DaytonaConfig,
    FileDownloadRequest,
    FileUpload,
    Resources,
)
from daytona_sdk.common.results import (
    ExecuteResponse,
    ExecutionArtifacts,
    FileDownloadResponse,
    FileInfo,
    Isolation,
    OutputChunk,
    SandboxState,
    TestCase,
    TestReport,
)
from tidepool import __version__

if TYPE_CHECKING:
    from daytona_sdk._async.daytona import AsyncDaytona
    from daytona_sdk._async.filesystem import AsyncFileSystem
    from daytona_sdk._async.process import AsyncCommandStream, AsyncProcess
    from daytona_sdk._async.sandbox import AsyncSandbox

__all__ = [
    "AsyncCommandStream",
    "AsyncDaytona",
    "AsyncFileSystem",
    "AsyncProcess",
    "AsyncSandbox",
    "CodeRunParams",
    "CommandStream",
    "CreateSandboxFromSnapshotParams",
    "CreateSandboxParams",
    "Daytona",
    "DaytonaAuthenticationError",
    "DaytonaAuthorizationError",
    "DaytonaBadGatewayError",
    "DaytonaBadRequestError",
    "DaytonaConfig",
    "DaytonaConflictError",
    "DaytonaConnectionError",
    "DaytonaConnectionTimeoutError",
    "DaytonaError",
    "DaytonaFileAccessDeniedError",
    "DaytonaFileNotFoundError",
    "DaytonaFileReadFailedError",
    "DaytonaForbiddenError",
    "DaytonaGoneError",
    "DaytonaInternalServerError",
    "DaytonaInvalidFilePathError",
    "DaytonaNotFoundError",
    "DaytonaProcessExecutionTimeoutError",
    "DaytonaProcessNotFoundError",
    "DaytonaRateLimitError",
    "DaytonaServiceUnavailableError",
    "DaytonaTimeoutError",
    "DaytonaUnprocessableEntityError",
    "DaytonaValidationError",
    "ExecuteResponse",
    "ExecutionArtifacts",
    "FileDownloadRequest",
    "FileDownloadResponse",
    "FileInfo",
    "FileSystem",
    "FileUpload",
    "Isolation",
    "OutputChunk",
    "Process",
    "Resources",
    "Sandbox",
    "SandboxState",
    "TestCase",
    "TestReport",
    "__version__",
]

_ASYNC = {
    "AsyncCommandStream": "process",
    "AsyncDaytona": "daytona",
    "AsyncFileSystem": "filesystem",
    "AsyncProcess": "process",
    "AsyncSandbox": "sandbox",
}


def __getattr__(name: str) -> object:
    """Load the async client when one of its names is first used."""
    if name not in _ASYNC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}._async.{_ASYNC[name]}"), name)
