"""Who is asking: a bearer key over TCP, the peer's uid over a Unix socket. Never a cookie.

A browser page of another origin is refused before its key is looked at, and so is a request without a valid key: no
route is reached without a tenant.
"""

import hashlib
import hmac

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from tidepool.server.answers import refusal
from tidepool.server.config import ServerConfig
from tidepool.server.connection import connection_of
from tidepool.wire import paths

OPEN = (paths.API + paths.HEALTH, paths.API + paths.CONFIG)
"""What answers without a key: nothing in it belongs to anyone."""
TENANT = "tenant"
"""In a request's state: who is asking."""


class Auth:
    """Middleware: puts the tenant into the request's state, or answers 401 or 403 itself."""

    def __init__(self, app: ASGIApp, config: ServerConfig) -> None:
        self._app = app
        self._uids = config.allowed_uids
        # Digests of equal length: comparing them tells nothing about the keys.
        self._tenants = [(_digest(key), tenant) for key, tenant in config.api_keys.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        refused = self._judge(Request(scope), scope)
        if refused is None:
            await self._app(scope, receive, send)
        else:
            await refusal(scope, *refused)(scope, receive, send)

    def _judge(self, request: Request, scope: Scope) -> tuple[int, str] | None:
        origin = request.headers.get("origin")
        if origin and origin.partition("://")[2] != request.headers.get("host"):
            return 403, f"requests from pages of {origin[:200]} are not accepted"
        uid = connection_of(scope).peer_uid
        if uid is not None:
            if uid not in self._uids:
                return 403, f"uid {uid} may not use this server's socket"
            scope["state"][TENANT] = f"uid-{uid}"
            return None
        tenant = self._tenant(request.headers.get("authorization", ""))
        if tenant is None and scope["path"] not in OPEN:
            return 401, "a valid API key is needed: send it as 'Authorization: Bearer KEY'"
        scope["state"][TENANT] = tenant or ""
        return None

    def _tenant(self, header: str) -> str | None:
        scheme, _, key = header.partition(" ")
        if scheme.lower() != "bearer":
            return None
        digest, found = _digest(key.strip()), None
        for known, tenant in self._tenants:  # all of them, always
            if hmac.compare_digest(digest, known):
                found = tenant
        return found


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
