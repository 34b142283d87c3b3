"""Rights to one sandbox that need no API key: signed URLs of its files, and tokens of its ports.

Both are made with the sandbox's own signing key, so that rotating it ends all of them. Secrets are compared in constant
time. Which request is let in with them is `auth`'s and `preview`'s to say.
"""

import base64
import hashlib
import hmac
import re
import time
from collections.abc import Mapping

from starlette.requests import HTTPConnection
from starlette.types import Scope

from tidepool.engine import Engine, Sandbox
from tidepool.server.keys import Identity
from tidepool.wire import paths

TOKEN_HEADER = "x-daytona-preview-token"  # noqa: S105 (a name)
TOKEN_QUERY = "DAYTONA_SANDBOX_AUTH_KEY"  # noqa: S105 (a name)
TOOLBOX_PORTS = (1, 2280)
"""Their token is the toolbox's: clients that cannot send a key, and those of 0.110.1, ask for it by these numbers."""
_ONLY_SANDBOXES = frozenset({"write:sandboxes"})
_TOOLBOX = re.compile(
    rf"(?:{paths.API})?{paths.TOOLBOX}/(?P<id>[0-9a-f-]{{36}})(?:/toolbox)?(?P<below>/[^/].*)"
)
_SIGNED = {paths.DOWNLOAD: "GET", paths.UPLOAD_V2: "POST"}
_SECONDS = re.compile(r"[0-9]{1,12}")


def signature(key: str, method: str, path: str, expires: str) -> str:
    """What stands in a signed URL of a file.

    Args:
        key: The sandbox's.
        method: GET to download, POST to upload.
        path: Of the file, as the URL's `path` has it.
        expires: Unix seconds, in digits; 0 is never.
    """
    signed = f"v1:files:{method}:{path}:{expires}".encode("utf-8", "surrogatepass")
    digest = hmac.digest(key.encode(), signed, hashlib.sha256)
    return "v1_" + base64.urlsafe_b64encode(digest).decode().rstrip("=")


def is_signed(key: str, method: str, query: Mapping[str, str], now: float) -> bool:
    """Whether a query has a signature that is right, and its time is not over."""
    expires = query.get("expires", "")
    if not _SECONDS.fullmatch(expires) or 0 < int(expires) <= now:
        return False
    return is_same(signature(key, method, query.get("path", ""), expires), query.get("signature", ""))


def port_token(key: str, port: int) -> str:
    """What opens one port of a sandbox, or its toolbox, until its signing key is rotated."""
    what = "toolbox" if port in TOOLBOX_PORTS else f"preview:{port}"
    return "pv_" + hmac.digest(key.encode(), f"v1:{what}".encode(), hashlib.sha256).hex()


def is_same(ours: str, theirs: str) -> bool:
    """Whether two secrets are the same."""
    return hmac.compare_digest(ours.encode(), theirs.encode("utf-8", "surrogatepass"))


def right_of(scope: Scope) -> Identity | None:
    """Who is asking for a toolbox without a key but with a signature or a token that is right for it."""
    named = _TOOLBOX.fullmatch(scope["path"])
    if named is None:
        return None
    engine: Engine = scope["app"].state.engine
    sandbox = engine.find(named["id"])
    if sandbox is None or not _is_let_in(HTTPConnection(scope), sandbox, named["below"]):
        return None
    return Identity(sandbox.spec.tenant, _ONLY_SANDBOXES, user=sandbox.spec.tenant)


def _is_let_in(request: HTTPConnection, sandbox: Sandbox, below: str) -> bool:
    query = request.query_params
    method = request.scope.get("method", "GET")
    if _SIGNED.get(below) == method and is_signed(sandbox.signing_key, method, query, time.time()):
        return True
    theirs = request.headers.get(TOKEN_HEADER) or query.get(TOKEN_QUERY, "")
    return is_same(port_token(sandbox.signing_key, TOOLBOX_PORTS[0]), theirs)
