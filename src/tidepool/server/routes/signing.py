"""Control API: the key with which a sandbox's URLs are signed (protocol section 6.2.4)."""

import secrets

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tidepool.server.answers import json_answer
from tidepool.server.routes import registry_of, sandbox_of
from tidepool.wire import paths


async def signing_key(request: Request) -> Response:
    """`GET /sandbox/{sandbox}/signing-key`."""
    return json_answer(sandbox_of(request).signing_key)


async def rotate(request: Request) -> Response:
    """`POST /sandbox/{sandbox}/signing-key/rotate`: ends all signed URLs and tokens of its ports."""
    sandbox = sandbox_of(request)
    sandbox.signing_key = secrets.token_urlsafe(32)
    request.app.state.previews.forget(sandbox.id)
    await registry_of(request).save(sandbox)
    return json_answer(sandbox.signing_key)


routes = [
    Route(paths.SIGNING_KEY, signing_key, methods=["GET"]),
    Route(paths.SIGNING_KEY_ROTATE, rotate, methods=["POST"]),
]
