"""Control API: what other servers of this protocol have and this one does not: one table, each row with its reason.

A client that asks is told so in a sentence, with 501 where the feature is missing and 404 where a thing of that kind
cannot exist here. These routes come last, so that whatever is really served is found before them.
"""

from collections.abc import Awaitable, Callable

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tidepool.server.routes import sandbox_of

NAME = "elsewhere-"
"""What the name of each of these routes begins with; the status follows."""
_ALL = ("GET", "POST", "PUT", "PATCH", "DELETE")
_ACCOUNTS = "who may use this server is set by its operator with API keys; there are no accounts to manage"
_ONE_REGION = "this server is its only region, and regions cannot be made or changed"
_NO_AUDIT = "no audit log is kept; /api/sandbox/{sandbox}/logs has what runs in a sandbox wrote"
_NO_RUNNERS = "there are no separate runners or jobs: sandboxes run on this very host"
_NO_REGISTRY = (
    "registry credentials are not kept; images come from the registries the server itself can reach"
)
_NO_WEBHOOKS = "webhooks are not sent; the same events come over /api/socket.io"
_NO_TELEMETRY = (
    "no history of metrics, logs or traces is kept; the toolbox's /system/metrics has the present figures"
)
_NO_BILLING = "nothing is billed here"
_INSIDE = "this is asked between the parts of a distributed installation; here they are one process"
_NO_FAMILY = "what a sandbox was forked from is not kept: a fork is a sandbox of its own"
_DESKTOP = "there is no desktop in a sandbox: computer use is not supported"

TABLE: tuple[tuple[str, tuple[str, ...], int, str], ...] = (
    ("/audit/*", ("GET", "POST"), 501, _NO_AUDIT),
    ("/billing/*", _ALL, 501, _NO_BILLING),
    ("/webhooks/*", _ALL, 501, _NO_WEBHOOKS),
    ("/runners/*", _ALL, 501, _NO_RUNNERS),
    ("/jobs/*", ("GET", "POST"), 501, _NO_RUNNERS),
    ("/docker-registry/*", _ALL, 501, _NO_REGISTRY),
    ("/organizations/*", _ALL, 501, _ACCOUNTS),
    ("/users/*", _ALL, 501, _ACCOUNTS),
    ("/regions/*", ("POST", "PATCH", "DELETE"), 501, _ONE_REGION),
    ("/preview/*", ("GET",), 501, _INSIDE),
    ("/sandbox/for-runner", ("GET",), 501, _NO_RUNNERS),
    ("/sandbox/{sandbox}/telemetry/*", ("GET",), 501, _NO_TELEMETRY),
    ("/sandbox/{sandbox}/state", ("PUT",), 501, _INSIDE),
    ("/sandbox/{sandbox}/organization", ("GET",), 501, _ACCOUNTS),
    ("/sandbox/{sandbox}/region-quota", ("GET",), 501, _ONE_REGION),
    ("/sandbox/{sandbox}/ancestors", ("GET",), 501, _NO_FAMILY),
    ("/sandbox/{sandbox}/forks", ("GET",), 501, _NO_FAMILY),
    ("/sandbox/{sandbox}/parent", ("GET",), 501, _NO_FAMILY),
    ("/sandbox/{sandbox}/secrets", ("GET",), 501, "values of secrets do not leave the server"),
    ("/snapshots/{snapshot}/general", ("PATCH",), 501, _INSIDE),
    (
        "/sandbox/{sandbox}/backup",
        ("POST",),
        501,
        "backups are not made; a snapshot of the sandbox keeps its files",
    ),
)
"""Path below the API, where a last `/*` is the path itself and all below it; methods, status, and the sentence."""

TOOLBOX_TABLE: tuple[tuple[str, tuple[str, ...], int, str], ...] = (
    ("/computeruse/*", _ALL, 501, _DESKTOP),
    ("/init", ("POST",), 501, _INSIDE),
)
"""The same, below a sandbox's toolbox."""


def _refuse(status: int, sentence: str) -> Callable[[Request], Awaitable[Response]]:
    async def elsewhere(request: Request) -> Response:
        if "sandbox" in request.path_params:
            sandbox_of(request)  # one that is not there, or another's, is not found: here as everywhere
        raise HTTPException(status, f"{request.method} {request.url.path[:200]} is not served: {sentence}")

    elsewhere.__doc__ = f"Answered with {status}: {sentence}."
    return elsewhere


def _routes(table: tuple[tuple[str, tuple[str, ...], int, str], ...]) -> list[Route]:
    return [
        Route(one, _refuse(status, sentence), methods=list(methods), name=f"{NAME}{status}")
        for path, methods, status, sentence in table
        for one in ((path[:-2], f"{path[:-1]}{{rest:path}}") if path.endswith("/*") else (path,))
    ]


control_routes = _routes(TABLE)
toolbox_routes = _routes(TOOLBOX_TABLE)
