"""The error bodies of control API and toolbox, and the toolbox's machine codes (protocol section 8)."""

from http import HTTPStatus
from typing import Any

SOURCE = "DAYTONA_DAEMON"
FILE_NOT_FOUND = "FILE_NOT_FOUND"
FILE_ACCESS_DENIED = "FILE_ACCESS_DENIED"
INVALID_FILE_PATH = "INVALID_FILE_PATH"
FILE_READ_FAILED = "FILE_READ_FAILED"
PROCESS_EXECUTION_TIMEOUT = "PROCESS_EXECUTION_TIMEOUT"


def control_body(status: int, message: str, path: str, timestamp: str) -> dict[str, Any]:
    """What the control API answers when it refuses or fails."""
    reason = HTTPStatus(status).phrase
    return {"statusCode": status, "error": reason, "message": message, "path": path, "timestamp": timestamp}


def toolbox_body(
    status: int, message: str, path: str, timestamp: str, code: str, method: str
) -> dict[str, Any]:
    """What a sandbox's toolbox answers when it refuses or fails; `code` may be empty."""
    body: dict[str, Any] = {"statusCode": status, "message": message, "path": path, "timestamp": timestamp}
    return {**body, "source": SOURCE, "method": method, **({"code": code} if code else {})}
