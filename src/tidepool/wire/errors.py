"""The error bodies of control API and toolbox, and the toolbox's machine codes (protocol section 8).

Which exception becomes which status is the server's to say; how a status is worded as JSON is said here.
"""

from http import HTTPStatus
from typing import Any

SOURCE = "DAYTONA_DAEMON"
FILE_NOT_FOUND = "FILE_NOT_FOUND"
FILE_ACCESS_DENIED = "FILE_ACCESS_DENIED"
INVALID_FILE_PATH = "INVALID_FILE_PATH"
FILE_READ_FAILED = "FILE_READ_FAILED"
PROCESS_EXECUTION_TIMEOUT = "PROCESS_EXECUTION_TIMEOUT"


def general_code(status: int) -> str:
    """The code of an error that has none of its own: the status in words, such as NOT_FOUND."""
    return HTTPStatus(status).name


def control_body(status: int, message: str, path: str, timestamp: str) -> dict[str, Any]:
    """What the control API answers when it refuses or fails."""
    reason = HTTPStatus(status).phrase
    return {"statusCode": status, "error": reason, "message": message, "path": path, "timestamp": timestamp}


def toolbox_body(
    status: int, message: str, path: str, timestamp: str, code: str, method: str
) -> dict[str, Any]:
    """What a sandbox's toolbox answers when it refuses or fails."""
    return {
        "statusCode": status,
        "message": message,
        "code": code,
        "source": SOURCE,
        "path": path,
        "method": method,
        "timestamp": timestamp,
    }
