"""Who is asking: a bearer key over TCP, the peer's uid over a Unix socket. Never a cookie.

A browser page of another origin is refused before its key is looked at, and so is a request without a valid key: no
route is reached without a tenant.
"""

import hashlib
import hmac
import socket
import struct

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from tidepool.server.answers import json_answer
from tidepool.server.config import ServerConfig
from tidepool.wire import errors, paths

OPEN = (paths.API + paths.HEALTH, paths.API + paths.CONFIG)
"""What answers without a key: nothing in it belongs to anyone."""
PEER_UID = "peer_uid"
"""In a request's state: the uid at the other end of a Unix socket. Only the server's own protocol puts it there."""


class Auth:
    """Middleware: puts `tenant` into the request's state, or answers 401 or 403 itself."""

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
        request = Request(scope)
        refusal = self._judge(request, scope)
        if refusal is None:
            await self._app(scope, receive, send)
            return
        status, message = refusal
        body = errors.control_body(status, message, request.url.path, "")
        await json_answer(body, status)(scope, receive, send)

    def _judge(self, request: Request, scope: Scope) -> tuple[int, str] | None:
        origin = request.headers.get("origin")
        if origin and origin.partition("://")[2] != request.headers.get("host"):
            return 403, f"requests from pages of {origin[:200]} are not accepted"
        uid = scope.get("state", {}).get(PEER_UID)
        if uid is not None:
            if uid not in self._uids:
                return 403, f"uid {uid} may not use this server's socket"
            scope["state"]["tenant"] = f"uid-{uid}"
            return None
        tenant = self._tenant(request.headers.get("authorization", ""))
        if tenant is None and request.url.path not in OPEN:
            return 401, "a valid API key is needed: send it as 'Authorization: Bearer KEY'"
        scope.setdefault("state", {})["tenant"] = tenant or ""
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


def peer_uid(connection: socket.socket) -> int:
    """The uid of the process that connected to a Unix socket (SO_PEERCRED, unix(7))."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", raw)[1])
