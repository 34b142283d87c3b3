"""Control API: where a port of a sandbox can be seen (protocol section 5.1)."""

import re

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tidepool.server import preview
from tidepool.server.answers import json_answer
from tidepool.server.routes import config_of, sandbox_of, toolbox_url
from tidepool.server.signing import TOOLBOX_PORTS, port_token
from tidepool.wire import paths
from tidepool.wire import preview as wire

_NUMBER = re.compile("[0-9]{1,9}")
_DONE: dict[str, str] = {}


async def preview_url(request: Request) -> Response:
    """`GET /sandbox/{sandbox}/ports/{port}/preview-url`; the toolbox's own port leads to the toolbox."""
    sandbox, port = sandbox_of(request), _number(request.path_params["port"], "port")
    token = port_token(sandbox.signing_key, port)
    if port in TOOLBOX_PORTS:
        url = f"{toolbox_url(request)}/{sandbox.id}"
    else:
        preview.check_port(port)
        url = _url(request, sandbox.id, port)
    return json_answer(wire.PreviewUrl(sandbox.id, url, token))


async def signed_preview_url(request: Request) -> Response:
    """`GET /sandbox/{sandbox}/ports/{port}/signed-preview-url`."""
    sandbox, port = sandbox_of(request), _number(request.path_params["port"], "port")
    preview.check_port(port)
    asked = request.query_params.get("expiresInSeconds") or str(preview.DEFAULT_TTL_S)
    token = request.app.state.previews.make(sandbox.id, port, _number(asked, "expiresInSeconds"))
    return json_answer(wire.SignedPreviewUrl(sandbox.id, port, token, _url(request, token, port)))


async def expire(request: Request) -> Response:
    """`POST /sandbox/{sandbox}/ports/{port}/signed-preview-url/{token}/expire`."""
    sandbox, port = sandbox_of(request), _number(request.path_params["port"], "port")
    if not request.app.state.previews.expire(sandbox.id, port, request.path_params["token"]):
        raise HTTPException(404, f"there is no such signed URL of port {port}, or its time is over")
    return json_answer(_DONE)


def _url(request: Request, ref: str, port: int) -> str:
    """By host name where the server has names for previews, else by path; as this very client reached us."""
    origin, domain = toolbox_url(request).removesuffix(paths.TOOLBOX), config_of(request).preview_domain
    if not domain:
        return f"{origin}{paths.PREVIEW}/{ref}/{port}"
    scheme, _, host = origin.partition("://")
    own_port = re.search(r":[0-9]+\Z", host)
    return f"{scheme}://{port}-{ref}.{domain}{own_port[0] if own_port else ''}"


def _number(text: str, name: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise HTTPException(400, f"{name} is {text[:20]!r}; it must be a number")
    return int(text)


routes = [
    Route(paths.PREVIEW_URL, preview_url, methods=["GET"]),
    Route(paths.SIGNED_PREVIEW_URL, signed_preview_url, methods=["GET"]),
    Route(paths.EXPIRE_PREVIEW_URL, expire, methods=["POST"]),
]
