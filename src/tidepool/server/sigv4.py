"""AWS Signature Version 4, the verifying side, as far as an object store needs it. Pure.

Only signatures in headers; the payload's hash is part of what is signed and is compared by who reads the payload.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote, unquote_to_bytes

ALGORITHM = "AWS4-HMAC-SHA256"
MAX_SKEW_S = 900.0
"""How far the clocks of both sides may be apart."""
NEEDED = frozenset({"host", "x-amz-content-sha256", "x-amz-date", "x-amz-security-token"})
"""Headers that must be signed: one that is not could be another's."""
_FIELDS = re.compile(
    r"AWS4-HMAC-SHA256 +Credential=([^/,\s]+)/(\d{8})/([^/,\s]+)/s3/aws4_request, *"
    r"SignedHeaders=([a-z0-9;-]+), *Signature=([0-9a-f]{64})\Z"
)
_STAMP = re.compile(r"[0-9]{8}T[0-9]{6}Z\Z")
_SAFE = "-._~"


class BadSignature(Exception):
    """The request is not signed as it must be; the message says why."""


@dataclass(frozen=True)
class Request:
    """What of a request is signed."""

    method: str
    path: bytes
    """As sent, without the query."""
    query: bytes
    headers: Mapping[str, str]
    """Names in lower case."""


@dataclass(frozen=True)
class Signed:
    """A request's Authorization header, taken apart."""

    access_key: str
    date: str
    region: str
    headers: tuple[str, ...]
    signature: str


def parse(header: str) -> Signed:
    """Take an Authorization header apart.

    Raises:
        BadSignature: It is none of this algorithm, or a header that must be signed is not.
    """
    found = _FIELDS.match(header)
    if found is None:
        raise BadSignature(
            f"the Authorization header must be {ALGORITHM} with Credential, SignedHeaders, Signature"
        )
    signed = Signed(found[1], found[2], found[3], tuple(found[4].split(";")), found[5])
    missing = sorted(NEEDED - set(signed.headers))
    if missing:
        raise BadSignature(f"these headers must be signed: {', '.join(missing)}")
    return signed


def verify(request: Request, signed: Signed, secret: str, now: datetime) -> None:
    """Whether the request was signed with this secret, just now.

    Raises:
        BadSignature: It was not.
    """
    stamp = request.headers.get("x-amz-date", "")
    moment = _moment(stamp)
    if abs((now - moment).total_seconds()) > MAX_SKEW_S or stamp[:8] != signed.date:
        raise BadSignature("the request was signed more than 15 minutes ago, or by a clock that is wrong")
    if not hmac.compare_digest(signature(request, signed, secret), signed.signature):
        raise BadSignature("the signature does not match the request")


def _moment(stamp: str) -> datetime:
    try:
        if not _STAMP.match(stamp):
            raise ValueError
        return datetime.fromisoformat(stamp)
    except ValueError:
        raise BadSignature("the x-amz-date header must be a time such as 20260101T000000Z") from None


def signature(request: Request, signed: Signed, secret: str) -> str:
    """What the signature of this request must be."""
    scope = f"{signed.date}/{signed.region}/s3/aws4_request"
    digest = hashlib.sha256(canonical(request, signed.headers).encode()).hexdigest()
    text = f"{ALGORITHM}\n{request.headers.get('x-amz-date', '')}\n{scope}\n{digest}"
    key = f"AWS4{secret}".encode()
    for part in (signed.date, signed.region, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, text.encode(), "sha256").hex()


def canonical(request: Request, names: tuple[str, ...]) -> str:
    """The canonical request of the algorithm, for S3: the path is encoded once."""
    path = quote(unquote_to_bytes(request.path), safe=f"/{_SAFE}") or "/"
    pairs = sorted(
        (_encoded(name), _encoded(value))
        for name, _, value in (part.partition(b"=") for part in request.query.split(b"&") if part)
    )
    query = "&".join(f"{name}={value}" for name, value in pairs)
    headers = "".join(f"{name}:{' '.join(request.headers.get(name, '').split())}\n" for name in names)
    payload = request.headers.get("x-amz-content-sha256", "")
    return f"{request.method}\n{path}\n{query}\n{headers}\n{';'.join(names)}\n{payload}"


def _encoded(text: bytes) -> str:
    return quote(unquote_to_bytes(text), safe=_SAFE)
