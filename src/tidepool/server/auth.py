"""Who is asking: a bearer key over TCP, the peer's uid over a Unix socket. Never a cookie.

A browser page of another origin is refused before its key is looked at, and so is a request without a valid key: no
route is reached without a tenant, and none whose permission the key does not have.
"""

import hmac
from collections.abc import Awaitable, Callable

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from tidepool.server.answers import refusal
from tidepool.server.config import ServerConfig
from tidepool.server.connection import connection_of
from tidepool.server.keys import Identity, digest, masked
from tidepool.server.permissions import needed
from tidepool.server.signing import right_of
from tidepool.wire import paths

OPEN = (paths.API + paths.HEALTH, paths.API + paths.READY, paths.API + paths.CONFIG, paths.OPENAPI)
"""What answers without a key: nothing in it belongs to anyone."""
LATER = paths.API + paths.EVENTS
"""Where the key comes in the first message instead of a header (see `events`)."""
SIGNED = paths.STORAGE + "/"
"""Where requests are signed with credentials that this server gave out (see `routes.object_storage`)."""
TENANT = "tenant"
"""In a request's state: who is asking."""
IDENTITY = "identity"
"""In a request's state: the same, with what it may do."""
NO_KEY = "a valid API key is needed: send it as 'Authorization: Bearer KEY'"

Find = Callable[[str], Awaitable[Identity | None]]
"""Whose a key is that clients made."""


class Judge:
    """Tells who is asking: keys of the configuration first, then those in the store."""

    def __init__(self, config: ServerConfig, find: Find) -> None:
        self._uids = config.allowed_uids
        self._find = find
        # Digests of equal length: comparing them tells nothing about the keys.
        self._configured = [
            (digest(key), Identity(tenant, user=tenant, masked=masked(key)))
            for key, tenant in config.api_keys.items()
        ]

    def peer(self, uid: int) -> Identity | None:
        """Who is at the other end of a Unix socket; None: somebody who may not."""
        return Identity(f"uid-{uid}", user=f"uid-{uid}") if uid in self._uids else None

    async def bearer(self, header: str) -> Identity | None:
        """Whose the key of an Authorization header is."""
        scheme, _, key = header.partition(" ")
        return await self.key(key.strip()) if scheme.lower() == "bearer" else None

    async def key(self, key: str) -> Identity | None:
        """Whose a key is; None: nobody's."""
        found, number = None, digest(key)
        for known, identity in self._configured:  # all of them, always
            if hmac.compare_digest(number, known):
                found = identity
        return found or (await self._find(key) if key else None)


class Auth:
    """Middleware: puts who is asking into the request's state, or answers 401 or 403 itself."""

    def __init__(self, app: ASGIApp, judge: Judge) -> None:
        self._app = app
        self._judge = judge

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        refused = await self._refused(HTTPConnection(scope), scope)
        if refused is None:
            await self._app(scope, receive, send)
        else:
            await refusal(scope, *refused)(scope, receive, send)

    async def _refused(self, request: HTTPConnection, scope: Scope) -> tuple[int, str] | None:
        origin = request.headers.get("origin")
        if origin and origin.partition("://")[2] != request.headers.get("host"):
            return 403, f"requests from pages of {origin[:200]} are not accepted"
        uid, path = connection_of(scope).peer_uid, scope["path"]
        if uid is not None:
            identity = self._judge.peer(uid)
            if identity is None:
                return 403, f"uid {uid} may not use this server's socket"
        else:
            identity = await self._judge.bearer(request.headers.get("authorization", ""))
            identity = identity or right_of(scope)
            if identity is None and path not in OPEN and not path.startswith((LATER, SIGNED)):
                return 401, NO_KEY
        scope["state"][TENANT] = identity.tenant if identity else ""
        scope["state"][IDENTITY] = identity
        permission = needed(scope.get("method", "GET"), path)
        if identity is not None and not identity.may(permission):
            return 403, f"this API key has no permission {permission}"
        return None
