"""Middleware before `auth`: takes the requests that are for a port of a sandbox, by path or by host name.

They never reach the application's own routes, and requests of the application never get here. What is decided is in
`preview`, what is moved in `relay`.
"""

import asyncio
from collections import Counter
from http import HTTPStatus

from starlette.requests import HTTPConnection
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from tidepool.engine import Engine, Sandbox
from tidepool.engine.errors import InvalidSpec, TidepoolError, Unavailable
from tidepool.server import preview, relay
from tidepool.server.answers import refusal
from tidepool.server.auth import Judge
from tidepool.server.connection import connection_of
from tidepool.server.errors import status_of
from tidepool.server.keys import Identity
from tidepool.server.preview import Headers, SignedPreviews, Target
from tidepool.server.signing import TOKEN_HEADER, TOKEN_QUERY

MAX_AT_ONCE = 256
"""For one sandbox: each holds a descriptor of this process."""
NO_RIGHT = (
    f"there is no such preview, or it needs its token: in the header {TOKEN_HEADER}, in the query as {TOKEN_QUERY}, "
    "or a signed URL"
)


class Gate:
    """Serves previews; passes everything else on."""

    def __init__(self, app: ASGIApp, judge: Judge, domain: str) -> None:
        self._app = app
        self._judge = judge
        self._domain = domain
        """Below which host names are previews; empty: none are."""
        self._under_way: Counter[str] = Counter()
        """Requests and WebSockets by sandbox."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request or WebSocket."""
        target = None
        if scope["type"] in ("http", "websocket"):
            host = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
            target = preview.target_of(scope["raw_path"], host, self._domain)
        if target is None:
            await self._app(scope, receive, send)
            return
        connection = connection_of(scope)
        if connection.lost:
            raise asyncio.CancelledError
        connection.task = asyncio.current_task()
        answer = _preflight(target, scope) or await self._serve(target, scope, receive, send)
        if answer is not None:
            await answer(scope, receive, send)

    async def _serve(self, target: Target, scope: Scope, receive: Receive, send: Send) -> Response | None:
        """Serve it; an answer of our own where that cannot be."""
        try:
            preview.check_port(target.port)
        except InvalidSpec as error:
            return refusal(scope, 400, str(error))
        request = HTTPConnection(scope)
        identity = await self._identity(request, scope)
        sandbox, query_token = self._find(target, request, identity)
        if sandbox is None:
            return refusal(scope, 401, NO_RIGHT)
        query = scope["query_string"]
        if not target.path and scope.get("method") in ("GET", "HEAD"):  # relative links need the slash
            return RedirectResponse(
                f"{target.prefix}/" + (f"?{query.decode('latin-1')}" if query else ""), 307
            )
        return await self._relay(sandbox, target, (identity, query_token), (scope, receive, send))

    async def _relay(
        self,
        sandbox: Sandbox,
        target: Target,
        shown: tuple[Identity | None, str],
        asgi: tuple[Scope, Receive, Send],
    ) -> Response | None:
        scope, receive, send = asgi
        identity, query_token = shown
        is_secure = _is_secure(scope)
        query = preview.without_token(scope["query_string"])
        path = (target.path or b"/") + (b"?" + query if query else b"")
        key = dict(scope["headers"]).get(b"authorization", b"")
        keep_key = identity is None and not key.lower().startswith(b"bearer dtn_")
        scheme = "https" if is_secure else "http"
        headers = preview.headers_in(target, scope["headers"], scheme, keep_key)
        extra: Headers = []
        if query_token:
            extra = [(b"set-cookie", preview.cookie_for(target, query_token, is_secure))]
        move = relay.http if scope["type"] == "http" else relay.websocket
        if self._under_way[sandbox.id] >= MAX_AT_ONCE:
            return refusal(
                scope, 503, f"{MAX_AT_ONCE} requests for this sandbox are under way; try again later"
            )
        self._under_way[sandbox.id] += 1
        try:
            await move(relay.Request(sandbox, target, headers, path), scope, receive, send, extra)
        except (Unavailable, relay.BadGuest) as error:
            sentence = str(error) if isinstance(error, Unavailable) else f"port {target.port} {error}"
            return refusal(scope, HTTPStatus.BAD_GATEWAY, sentence)
        except TidepoolError as error:
            return refusal(scope, status_of(error)[0], str(error))
        finally:
            self._under_way[sandbox.id] -= 1
            self._under_way += Counter()  # forgets those that are at 0
        return None

    async def _identity(self, request: HTTPConnection, scope: Scope) -> Identity | None:
        uid = connection_of(scope).peer_uid
        if uid is not None:
            return self._judge.peer(uid)
        return await self._judge.bearer(request.headers.get("authorization", ""))

    def _find(
        self, target: Target, request: HTTPConnection, identity: Identity | None
    ) -> tuple[Sandbox | None, str]:
        """The sandbox, if this request may see the port, and the token that a cookie shall keep."""
        engine: Engine = request.app.state.engine
        previews: SignedPreviews = request.app.state.previews
        signed = previews.find(target.ref, target.port)
        sandbox = engine.find(signed or target.ref)
        if sandbox is None or signed is not None:
            return sandbox, ""
        query = request.query_params.get(TOKEN_QUERY, "")
        if preview.opens(sandbox, target.port, request.headers, request.headers.get(TOKEN_HEADER, ""), query):
            return sandbox, "" if sandbox.public else query
        is_owner = identity is not None and identity.tenant == sandbox.spec.tenant
        if is_owner and identity is not None and identity.may("write:sandboxes"):
            return sandbox, ""
        return None, ""


def _preflight(target: Target, scope: Scope) -> Response | None:
    """The answer to a browser's question on behalf of a page by path; a guest need not know of it."""
    names = {name for name, _ in scope["headers"]}
    if not target.prefix or scope.get("method") != "OPTIONS" or b"access-control-request-method" not in names:
        return None
    headers = {name.decode(): value.decode() for name, value in preview.PREFLIGHT}
    return Response(status_code=204, headers=headers)


def _is_secure(scope: Scope) -> bool:
    forwarded = dict(scope["headers"]).get(b"x-forwarded-proto", b"").partition(b",")[0].strip().lower()
    return (forwarded.decode("latin-1") or scope["scheme"]) in ("https", "wss")
