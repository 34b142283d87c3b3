"""Reading JSON bodies and writing JSON answers, with msgspec both ways."""

from typing import Any, TypeVar

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from tidepool.server.config import MAX_JSON_BYTES

T = TypeVar("T")
_encode = msgspec.json.Encoder().encode


def json_answer(value: Any, status: int = 200) -> Response:
    """One JSON answer."""
    return Response(_encode(value), status, media_type="application/json")


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
    except (msgspec.DecodeError, RecursionError) as error:
        raise HTTPException(400, f"the request body is not JSON: {error}") from None


async def read_body(request: Request, limit: int) -> bytes:
    """The whole body, refused as soon as it is longer than `limit` bytes.

    Raises:
        HTTPException: 413.
    """
    announced = request.headers.get("content-length", "0")
    parts: list[bytes] = []
    size = 0
    if announced.isdigit() and int(announced) <= limit:
        async for part in request.stream():
            size += len(part)
            if size > limit:
                break
            parts.append(part)
        else:
            return parts[0] if len(parts) == 1 else b"".join(parts)
    raise HTTPException(413, f"the request body is larger than {limit} bytes")
