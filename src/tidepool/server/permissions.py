"""What a request needs its key to be allowed: one table from method and path to permission. Pure.

Reading is free but for volumes, secrets, keys and what is inside a sandbox; whatever is not in the table and changes
something needs `write:sandboxes`, so that a route that was forgotten here is not open.
"""

import re

from tidepool.wire import paths

_READS = frozenset({"GET", "HEAD"})
_WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_ANY = _READS | _WRITES
_DELETE = frozenset({"DELETE"})

TABLE: tuple[tuple[frozenset[str], re.Pattern[str], str], ...] = tuple(
    (methods, re.compile(pattern), permission)
    for methods, pattern, permission in (
        (_READS, r"/api-keys/current", ""),
        (_ANY, r"/api-keys(/.*)?", "manage:api_keys"),
        (_ANY, r"/secret(/.*)?", "manage:secrets"),
        (_READS, r"/volumes(/.*)?", "read:volumes"),
        (_DELETE, r"/volumes/.*", "delete:volumes"),
        (_WRITES, r"/volumes(/.*)?", "write:volumes"),
        (_DELETE, r"/snapshots/.*", "delete:snapshots"),
        (_WRITES, r"/snapshots(/.*)?", "write:snapshots"),
        (_ANY, r"/object-storage/.*", "write:snapshots"),
        (_ANY, r"/docker-registry/registry-push-access", "write:registries"),
        (_READS, r"/sandbox/[^/]+/(secrets|signing-key|ports/.*)", "write:sandboxes"),
        (_DELETE, r"/(sandbox|warm-pools)/[^/]+", "delete:sandboxes"),
        (_ANY, r"/toolbox/.*", "write:sandboxes"),
        (_READS, r"/.*", ""),
        (_ANY, r"/.*", "write:sandboxes"),
    )
)
"""Methods, path below the control API's base, permission; the first row that fits counts, and "" is none."""


def needed(method: str, path: str) -> str:
    """The permission without which a request is refused; "" is none.

    Args:
        method: HTTP's; a WebSocket's is GET.
        path: The whole path, as it was sent and decoded.
    """
    below = path.removeprefix(paths.API)
    return next(
        (
            permission
            for methods, pattern, permission in TABLE
            if method in methods and pattern.fullmatch(below)
        ),
        "write:sandboxes",
    )
