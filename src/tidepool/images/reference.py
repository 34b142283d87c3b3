"""Names of images: host, repository, tag and digest. Pure."""

import re
from dataclasses import dataclass

from tidepool.images.errors import BadImage

DIGEST = re.compile(r"sha256:[0-9a-f]{64}\Z")
_PART = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*\Z")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}\Z")
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252})(?::[0-9]{1,5})?\Z")


@dataclass(frozen=True)
class Reference:
    """A name of an image, taken apart."""

    host: str
    """With its port; empty: the name has none and is short."""
    repository: str
    tag: str
    digest: str
    """`sha256:...`; empty: the tag decides."""

    @property
    def version(self) -> str:
        """What the registry is asked for."""
        return self.digest or self.tag


def parse_reference(text: str) -> Reference:
    """`[HOST/]REPOSITORY[:TAG][@sha256:DIGEST]`; without tag and digest it is `latest`.

    Raises:
        BadImage: It is not a name of an image.
    """
    name, _, digest = text.partition("@")
    first, slash, rest = name.partition("/")
    is_host = bool(slash) and ("." in first or ":" in first or first == "localhost")
    host, path = (first, rest) if is_host else ("", name)
    repository, colon, tag = path.rpartition(":")
    if not colon:
        repository, tag = path, "latest"
    is_good = (
        len(path) <= 512 and all(_PART.match(part) for part in repository.split("/")) and _TAG.match(tag)
    )
    if not is_good or (host and not _HOST.match(host)) or (digest and not DIGEST.match(digest)):
        raise BadImage(f"{text[:200]!r} is not a name of an image, such as name:tag or host/name@sha256:...")
    return Reference(host, repository, tag, digest)
