"""Control API: tokens that open a sandbox over SSH (protocol section 5.1). What they open is served in `server.ssh`."""

import re
import socket

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tidepool.server.answers import json_answer, timestamp
from tidepool.server.routes import described, engine_of, sandbox_of, tenant_of
from tidepool.server.ssh_access import DEFAULT_MIN, MOST_MIN, Accesses
from tidepool.wire import paths
from tidepool.wire import ssh as wire

_NUMBER = re.compile("[0-9]{1,9}")
_PORT = re.compile(r":[0-9]*\Z")


async def create(request: Request) -> Response:
    """`POST /sandbox/{sandbox}/ssh-access`: a token for it, good for `expiresInMinutes` (60)."""
    sandbox, minutes = sandbox_of(request), _minutes(request)
    command = _command(request)
    access, token = await _accesses(request).create(tenant_of(request), sandbox.id, minutes)
    made = timestamp(access.created_at)
    answer = wire.SshAccess(
        id=access.id,
        sandbox_id=access.sandbox,
        token=token,
        expires_at=timestamp(access.expires_at),
        created_at=made,
        updated_at=made,
        ssh_command=command.format(token=token),
    )
    return json_answer(answer)


async def revoke(request: Request) -> Response:
    """`DELETE /sandbox/{sandbox}/ssh-access`: the one in `token`, or all of the sandbox; their connections end."""
    sandbox, token = sandbox_of(request), request.query_params.get("token")
    if token == "":
        raise HTTPException(400, "token is empty; leave it out to revoke all of the sandbox")
    await _accesses(request).revoke(tenant_of(request), sandbox.id, token)
    return json_answer(described(request, sandbox))


async def validate(request: Request) -> Response:
    """`GET /sandbox/ssh-access/validate`: whether a token opens a sandbox of this tenant, and which."""
    token = request.query_params.get("token")
    if not token:
        raise HTTPException(400, "token is missing from the query")
    access = await _accesses(request).find(token)
    sandbox = engine_of(request).find(access.sandbox) if access is not None else None
    is_ours = sandbox is not None and sandbox.spec.tenant == tenant_of(request)
    return json_answer(wire.SshValidation(is_ours, sandbox.id if sandbox is not None and is_ours else ""))


def _accesses(request: Request) -> Accesses:
    accesses: Accesses = request.app.state.ssh_access
    return accesses


def _minutes(request: Request) -> int:
    text = request.query_params.get("expiresInMinutes") or str(DEFAULT_MIN)
    if not _NUMBER.fullmatch(text) or not 1 <= int(text) <= MOST_MIN:
        raise HTTPException(400, f"expiresInMinutes is {text[:20]!r}; allowed is 1 to {MOST_MIN}")
    return int(text)


def _command(request: Request) -> str:
    """What opens a shell, with a place for the token; the host is the one by which this client reached us."""
    listener: socket.socket | None = request.app.state.ssh_listener
    if listener is None:
        raise HTTPException(
            501, "there is no SSH on this server; its operator starts it with TIDEPOOL_SSH_PORT"
        )
    host = _PORT.sub("", request.headers.get("host", "")).strip("[]") or "localhost"
    return f"ssh -p {listener.getsockname()[1]} {{token}}@{host}"


routes = [
    Route(paths.SSH_VALIDATE, validate, methods=["GET"]),
    Route(paths.SSH_ACCESS, create, methods=["POST"]),
    Route(paths.SSH_ACCESS, revoke, methods=["DELETE"]),
]
"""Before those of sandboxes: `ssh-access` is no sandbox."""
