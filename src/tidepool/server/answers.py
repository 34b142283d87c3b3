"""Reading JSON bodies and writing answers: JSON with msgspec, streams, and refusals in the words of both APIs."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, aclosing
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, TypeVar

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tidepool.server.config import MAX_JSON_BYTES
from tidepool.wire import errors, paths

T = TypeVar("T")
NO_HEADERS: Mapping[str, str] = MappingProxyType({})
_encode = msgspec.json.Encoder().encode


def json_answer(value: Any, status: int = 200) -> Response:
    """One JSON answer."""
    return Response(_encode(value), status, media_type="application/json")


def refusal(scope: Scope, status: int, message: str, code: str = "", **more: Any) -> Response:
    """The answer to a request that was not carried out: a toolbox's body below a toolbox, else the control API's.

    Args:
        scope: The request's.
        status: 400 or more.
        message: A sentence.
        code: The toolbox's machine code; empty: the status in words.
        more: Further members of a toolbox's body.
    """
    path, now = scope["path"], timestamp(datetime.now(UTC))
    if is_toolbox(path):
        body = errors.toolbox_body(
            status, message, path, now, code or errors.general_code(status), scope.get("method", "GET")
        )
        return json_answer({**body, **more}, status)
    return json_answer(errors.control_body(status, message, path, now), status)


def is_toolbox(path: str) -> bool:
    """Whether a request's path lies below a toolbox base, the newer or the older one."""
    return path.removeprefix(paths.API).startswith(paths.TOOLBOX + "/")


def timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC with milliseconds and Z."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class StreamAnswer(Response):
    """An answer that is sent piece by piece.

    Its source, and what the source needs, are closed whatever happens, a lost client included.
    """

    def __init__(
        self,
        source: AsyncGenerator[bytes, None],
        media_type: str,
        headers: Mapping[str, str] = NO_HEADERS,
        held: AsyncExitStack | None = None,
    ) -> None:
        self.status_code, self.background = 200, None
        self.init_headers({**headers, "content-type": media_type})
        self._held = held or AsyncExitStack()
        self._source = source

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        async with self._held, aclosing(self._source) as pieces:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            async for piece in pieces:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def read_json(request: Request, model: type[T]) -> T:
    """The request's body as `model`; an empty body is an empty object.

    Raises:
        HTTPException: 413 when it is too large, 400 naming the field when it does not fit.
    """
    body = await read_body(request, MAX_JSON_BYTES)
    try:
        return msgspec.json.decode(body or b"{}", type=model)
    except msgspec.ValidationError as error:
        raise HTTPException(400, f"the request body does not fit: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise HTTPException(400, f"the request body is not JSON: {error}") from None


async def read_body(request: Request, limit: int) -> bytes:
    """The whole body, refused as soon as it is longer than `limit` bytes.

    Raises:
        HTTPException: 413.
    """
    announced = request.headers.get("content-length", "0")
    parts: list[bytes] = []
    size = 0
    if len(announced) < 20 and int(announced) <= limit:
        async for part in request.stream():
            size += len(part)
            if size > limit:
                break
            parts.append(part)
        else:
            return parts[0] if len(parts) == 1 else b"".join(parts)
    raise HTTPException(413, f"the request body is larger than {limit} bytes")
