"""Previews: which request is for a port of a sandbox, who may make it, and what of its headers goes in and comes out.

Everything here is a decision without I/O; the bytes are moved by `relay`. A page of a sandbox is never trusted as this
server's own: by path it is shown in an origin of its own (`Content-Security-Policy: sandbox`), with cookies that are
kept apart by name; by host name its origin is apart anyway. A browser takes a signed URL, whose token is in the path or
the host name, for a page in an origin of its own sends no cookie with what it loads.
"""

import re
import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tidepool.engine import Sandbox
from tidepool.engine.errors import InvalidSpec, NoCapacity
from tidepool.engine.pool import PROXY_PORT
from tidepool.server.signing import TOKEN_QUERY, TOOLBOX_PORTS, is_same, port_token
from tidepool.wire import paths

DEFAULT_TTL_S = 60
MAX_TTL_S = 86_400
RESERVED = frozenset({TOOLBOX_PORTS[1], 22220, 22222, PROXY_PORT})
"""Ports of the protocol's own services, and the one on which this host serves packages inside."""
COOKIE = "tidepool_preview"
"""Holds the token after a page was opened with it in its query."""
_GUEST_COOKIE = "tidepool_inside_"
"""By path, what cookies of a guest are called outside: others of the same host stay outside, theirs never look like
another's."""
_MAX_SIGNED = 10_000
_HOST = re.compile(r"(?P<port>[0-9]{1,5})-(?P<ref>[a-z0-9-]{1,57})\.(?P<domain>[^:]+)(?::[0-9]+)?", re.I)
_PATH = re.compile(
    rb"(?P<prefix>%s/(?P<ref>[a-z0-9-]{1,64})/(?P<port>[0-9]{1,5}))(?P<rest>/.*)?" % paths.PREVIEW.encode()
)
_HOP_BY_HOP = frozenset(
    (
        *(b"connection", b"keep-alive", b"proxy-connection", b"proxy-authenticate", b"proxy-authorization"),
        *(b"te", b"trailer", b"transfer-encoding", b"upgrade", b"http2-settings"),
    )
)
_NOT_IN = _HOP_BY_HOP | {b"host", b"expect", b"forwarded", b"via", b"cookie", b"content-length"}
_NOT_OUT = _HOP_BY_HOP | frozenset(
    (
        *(b"strict-transport-security", b"public-key-pins", b"clear-site-data", b"service-worker-allowed"),
        *(b"alt-svc", b"nel", b"report-to", b"reporting-endpoints", b"set-cookie", b"set-cookie2"),
        b"referrer-policy",
    )
)
"""What would change how a browser treats this server, and what the server says itself."""
_ATTRIBUTES = ("max-age", "expires", "secure", "httponly", "samesite")

Headers = list[tuple[bytes, bytes]]
"""Names in lower case."""


@dataclass(frozen=True)
class Target:
    """What a preview request is for."""

    ref: str
    """A sandbox's id, or a token of a signed URL."""
    port: int
    path: bytes
    """As it was sent, without the prefix; empty when only the prefix was asked for."""
    prefix: str = ""
    """By path: what stands before; by host name empty."""


def target_of(raw_path: bytes, host: str, domain: str) -> Target | None:
    """What a request is for; None when it is for this server.

    Args:
        raw_path: As it was sent, without the query.
        host: The Host header.
        domain: Below which host names are previews; empty: none are.
    """
    named = _HOST.fullmatch(host) if domain else None
    if named and named["domain"].lower() == domain.lower():
        return Target(named["ref"].lower(), int(named["port"]), raw_path)
    found = _PATH.fullmatch(raw_path)
    if found is None:
        return None
    return Target(found["ref"].decode(), int(found["port"]), found["rest"] or b"", found["prefix"].decode())


def check_port(port: int) -> None:
    """Refuse what is no port, or is none of a guest's.

    Raises:
        InvalidSpec: The sentence says which are allowed.
    """
    if not 1 <= port <= 65535 or port in RESERVED:
        reserved = ", ".join(map(str, sorted(RESERVED)))
        raise InvalidSpec(f"port is {port}; allowed is 1 to 65535 without the reserved {reserved}")


class SignedPreviews:
    """Tokens in URLs that open one port for a while; they end with the server."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, int, float]] = {}
        """Token to sandbox id, port, and the time of `time.monotonic` when it ends."""

    def make(self, sandbox: str, port: int, ttl_s: int) -> str:
        """A new token.

        Raises:
            InvalidSpec: The time is not 1 s to a day.
            NoCapacity: There are 10,000 already.
        """
        if not 1 <= ttl_s <= MAX_TTL_S:
            raise InvalidSpec(f"expiresInSeconds is {ttl_s}; allowed is 1 to {MAX_TTL_S}")
        now = time.monotonic()
        self._known = {token: entry for token, entry in self._known.items() if entry[2] > now}
        if len(self._known) >= _MAX_SIGNED:
            raise NoCapacity(f"{_MAX_SIGNED} signed preview URLs are valid already; expire some or try later")
        token = secrets.token_hex(16)
        self._known[token] = sandbox, port, now + ttl_s
        return token

    def find(self, token: str, port: int) -> str | None:
        """The id of the sandbox that a token opens on this port."""
        sandbox, opened, until = self._known.get(token, ("", 0, 0.0))
        return sandbox if opened == port and until > time.monotonic() else None

    def expire(self, sandbox: str, port: int, token: str) -> bool:
        """End one; whether there was one."""
        entry = self._known.get(token)
        if entry is None or entry[:2] != (sandbox, port):
            return False
        del self._known[token]
        return True

    def forget(self, sandbox: str) -> None:
        """End all of a sandbox."""
        self._known = {token: entry for token, entry in self._known.items() if entry[0] != sandbox}


def opens(
    sandbox: Sandbox, port: int, headers: Mapping[str, str], header_token: str, query_token: str
) -> bool:
    """Whether everyone may see this port, or the request has its token."""
    token = header_token or query_token or (cookie_of(headers) if _is_own_page(headers) else "")
    return sandbox.public or is_same(port_token(sandbox.signing_key, port), token)


def _is_own_page(headers: Mapping[str, str]) -> bool:
    """Whether a request may use a cookie: none that a page of another site or preview made."""
    if headers.get("sec-fetch-site") in ("same-site", "cross-site"):
        return headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    origin = headers.get("origin")
    return not origin or origin.partition("://")[2] == headers.get("host")


def cookie_of(headers: Mapping[str, str]) -> str:
    """The token in a request's cookies."""
    return next((value for name, value in _cookies(headers.get("cookie", "")) if name == COOKIE), "")


def cookie_for(target: Target, token: str, is_secure: bool) -> bytes:
    """The header that has a browser send the token from now on, to this preview only."""
    secure = "; Secure" if is_secure else ""
    place = f"{target.prefix}/" if target.prefix else "/"
    return f"{COOKIE}={token}; Path={place}; HttpOnly; SameSite=Lax{secure}".encode()


def without_token(query: bytes) -> bytes:
    """A query string as the guest may see it."""
    return b"&".join(part for part in query.split(b"&") if part.partition(b"=")[0] != TOKEN_QUERY.encode())


def headers_in(
    target: Target, headers: Iterable[tuple[bytes, bytes]], scheme: str, keep_key: bool
) -> Headers:
    """A request's headers as the guest may see them: without what is between client and server.

    Args:
        target: What it is for.
        headers: As they came.
        scheme: `http` or `https`, by which the client came.
        keep_key: Whether Authorization is the guest's business: it is no key of this server.
    """
    found = dict(headers)  # each of those that are looked up here counts once
    host = found.get(b"host", b"localhost")
    inside = f"localhost:{target.port}".encode()
    dropped = _NOT_IN | _named(found.get(b"connection", b"")) | (set() if keep_key else {b"authorization"})
    passed = [(b"host", inside if target.prefix else host)]
    for name, value in headers:
        if name in dropped or name.startswith((b"x-daytona-", b"x-forwarded-")):
            continue
        passed.append((name, b"http://" + inside if target.prefix and name == b"origin" else value))
    inner = [cookie for name, value in headers if name == b"cookie" for cookie in _inner(target, value)]
    if inner:
        passed.append((b"cookie", "; ".join(inner).encode("latin-1")))
    passed += [(b"x-forwarded-host", host), (b"x-forwarded-proto", scheme.encode())]
    if target.prefix:
        passed.append((b"x-forwarded-prefix", target.prefix.encode()))
    return passed


def headers_out(target: Target, status: int, headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """A guest's headers as the client may see them."""
    headers = [(name.lower(), value) for name, value in headers]
    dropped = _NOT_OUT | _named(b",".join(value for name, value in headers if name == b"connection"))
    if status in (204, 304) or any(name == b"transfer-encoding" for name, _ in headers):
        dropped |= {b"content-length"}
    passed = [(b"referrer-policy", b"no-referrer")]  # the URL may have the token in it
    if target.prefix:
        # Whoever has a right by path has it in the URL or a header: there is nothing that a page could abuse.
        passed += [*CORS, (b"content-security-policy", b"sandbox allow-scripts allow-forms")]
    for name, value in headers:
        if name == b"set-cookie":
            passed.append((name, _outer(target, value)))
        elif name == b"location":
            passed.append((name, _location(target, value)))
        elif name not in dropped and not (target.prefix and name.startswith(b"access-control-")):
            passed.append((name, value))
    return passed


CORS: Headers = [
    (b"access-control-allow-origin", b"*"),
    (b"access-control-expose-headers", b"*"),
]
PREFLIGHT: Headers = [
    *CORS,
    (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
    (b"access-control-allow-headers", b"*, Authorization, Content-Type"),
    (b"access-control-max-age", b"600"),
]
"""The answer to the question of a page in an origin of its own whether it may ask its own server."""


def _named(connection: bytes) -> set[bytes]:
    """Further headers that a Connection header says are for the next hop only."""
    return {name.strip().lower() for name in connection.split(b",")}


def _cookies(header: str) -> list[tuple[str, str]]:
    pairs = (part.strip().partition("=") for part in header.split(";"))
    return [(name, value) for name, separator, value in pairs if separator]


def _inner(target: Target, header: bytes) -> list[str]:
    """Cookies for the guest: by path only those it has set, by host name all but ours."""
    cookies = _cookies(header.decode("latin-1"))
    if not target.prefix:
        return [f"{name}={value}" for name, value in cookies if name != COOKIE]
    return [
        f"{name.removeprefix(_GUEST_COOKIE)}={value}"
        for name, value in cookies
        if name.startswith(_GUEST_COOKIE)
    ]


def _outer(target: Target, cookie: bytes) -> bytes:
    """A guest's Set-Cookie: for this preview only, under a name that is none of ours."""
    first, *attributes = cookie.decode("latin-1").split(";")
    name, separator, value = first.strip().partition("=")
    kept = [one.strip() for one in attributes if one.strip().partition("=")[0].lower() in _ATTRIBUTES]
    if target.prefix:
        name, place = _GUEST_COOKIE + name, [f"Path={target.prefix}/"]
    else:
        name = "_" + name if name.lower() == COOKIE else name
        place = [one.strip() for one in attributes if one.strip().lower().startswith("path=")]
    return "; ".join([f"{name}{separator}{value}", *kept, *place]).encode("latin-1")


def _location(target: Target, value: bytes) -> bytes:
    """A redirect within the guest, as seen from outside."""
    if not target.prefix:
        return value
    inside = value
    for base in (f"http://localhost:{target.port}", f"http://127.0.0.1:{target.port}"):
        if value.startswith(base.encode() + b"/"):
            inside = value.removeprefix(base.encode())
    outside = not inside.startswith(b"/") or inside.startswith((b"//", b"/\\"))
    return value if outside else target.prefix.encode() + inside
