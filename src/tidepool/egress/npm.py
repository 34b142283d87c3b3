"""What npm knows about a package (its packument): read, and written again with tarballs at this proxy.

Pure. Everything but the tarball addresses is passed on as the registry gave it.
"""

from typing import Any

import msgspec

from tidepool.egress.destination import BadUrl, Url, join
from tidepool.egress.simple import BadPage
from tidepool.egress.target import FILENAME

ABBREVIATED = "application/vnd.npm.install-v1+json"
ACCEPT = f"{ABBREVIATED}; q=1.0, application/json; q=0.8"


class Packument(msgspec.Struct, frozen=True):
    """A package's document for clients, and where each of its tarballs really is."""

    body: bytes
    """JSON in which each tarball's address is `PLACE` followed by its path at this proxy."""
    tarballs: dict[str, Url]


PLACE = "http://tidepool.invalid"
"""Stands for the proxy's own address, which differs per sandbox, until the document is sent."""


def parse_packument(body: bytes, base: Url, name: str) -> Packument:
    """The registry's document with its tarballs moved here; versions without a usable tarball are left out.

    Raises:
        BadPage: Not such a document.
    """
    try:
        document = msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise BadPage("the registry answered with something that is not a package's document") from None
    versions = document.get("versions")
    if not isinstance(versions, dict):
        raise BadPage("the registry's document has no versions")
    tarballs: dict[str, Url] = {}
    document["versions"] = {
        number: moved
        for number, version in versions.items()
        if (moved := _move(version, base, name, tarballs))
    }
    return Packument(msgspec.json.encode(document), tarballs)


def _move(version: Any, base: Url, name: str, tarballs: dict[str, Url]) -> dict[str, Any] | None:
    """One version with its tarball at this proxy; None when the proxy would not fetch it."""
    dist = version.get("dist") if isinstance(version, dict) else None
    address = dist.get("tarball") if isinstance(dist, dict) else None
    if not isinstance(dist, dict) or not isinstance(address, str):
        return None
    filename = address.partition("?")[0].partition("#")[0].rpartition("/")[2]
    if not FILENAME.match(filename):
        return None
    try:
        url = join(base, address)
    except BadUrl:
        return None
    if tarballs.setdefault(filename, url) != url:
        return None
    return {**version, "dist": {**dist, "tarball": f"{PLACE}/npm/{name}/-/{filename}"}}


def render(packument: Packument, place: str) -> bytes:
    """The document for a client that reaches this proxy at `place` (scheme, host and port)."""
    return packument.body.replace(f'"{PLACE}/npm/'.encode(), f'"{place}/npm/'.encode())
