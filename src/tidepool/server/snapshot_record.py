"""One snapshot as the store keeps it, and what a request may say of one. Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from tidepool.engine.errors import Conflict, InvalidSpec
from tidepool.images import words
from tidepool.images.bases import Base
from tidepool.images.config import ImageConfig
from tidepool.wire.snapshots import CreateBuildInfo, CreateSnapshot

DEFAULT = "default"
DEFAULT_ID = "00000000-0000-4000-8000-000000000002"
MAX_GIB = 1 << 20
_MAX_DOCKERFILE = 1 << 20
_MAX_CONTEXTS = 100


class Snapshot(msgspec.Struct, kw_only=True):
    """One record. Times are RFC 3339 in UTC."""

    id: str
    name: str
    state: str
    image: str = ""
    config: ImageConfig = ImageConfig()
    is_local: bool = False
    image_name: str = ""
    dockerfile: str = ""
    context_hashes: list[str] = []
    entrypoint: list[str] | None = None
    bytes: int | None = None
    cpu: float | None = None
    """What sandboxes made from it get; None: what the server gives any."""
    memory: float | None = None
    """GiB, as is `disk`."""
    disk: float | None = None
    error_reason: str | None = None
    created_at: datetime
    updated_at: datetime
    last_used_at: datetime | None = None
    source_sandbox_id: str | None = None
    general: bool = False

    @property
    def base(self) -> Base:
        """As something that FROM can name."""
        return Base(self.image, self.config, f"{self.id} {self.image}", self.is_local)


def from_body(body: Mapping[str, Any]) -> Snapshot:
    """A record of the store."""
    return msgspec.convert(body, Snapshot)


def source_of(asked: CreateSnapshot) -> tuple[str, list[str]]:
    """The Dockerfile that a request asks for, and its contexts.

    Raises:
        InvalidSpec: A field is wrong, or asks for what is not there.
    """
    if (asked.build_info is None) == (not asked.image_name):
        raise InvalidSpec("give exactly one of imageName and buildInfo")
    for what, size in (("cpu", asked.cpu), ("memory", asked.memory), ("disk", asked.disk)):
        if size is not None and not 0 <= size <= MAX_GIB:
            raise InvalidSpec(f"{what} is {size:g}; allowed are 0 to {MAX_GIB}")
    if asked.gpu:
        raise InvalidSpec("gpu is not supported by this server; leave it out")
    if asked.build_info is not None:
        return dockerfile_of(asked.build_info)
    name = str(asked.image_name)
    if len(name) > 500 or name.split() != [name] or "$" in name or words.ESCAPE in name:
        raise InvalidSpec(f"imageName {name[:100]!r} is not a name of an image")
    return f"FROM {name}\n", []


def dockerfile_of(info: CreateBuildInfo) -> tuple[str, list[str]]:
    """The Dockerfile of a build and its contexts.

    Raises:
        InvalidSpec: They are too large or too many.
    """
    hashes = list(info.context_hashes or ())
    if len(hashes) > _MAX_CONTEXTS:
        raise InvalidSpec(f"buildInfo has {len(hashes)} contexts; at most {_MAX_CONTEXTS} are allowed")
    if len(info.dockerfile_content) > _MAX_DOCKERFILE:
        raise InvalidSpec(f"the Dockerfile is longer than {_MAX_DOCKERFILE} characters")
    return info.dockerfile_content, hashes


def checked_name(name: str) -> str:
    """A name for a snapshot.

    Raises:
        InvalidSpec: It is not of the right form.
        Conflict: It is the general snapshot's.
    """
    plain = all(character.isalnum() or character in "._:/@-" for character in name)
    if not plain or not name.isascii() or not 1 <= len(name) <= 200 or name.startswith(("-", "/", ".")):
        raise InvalidSpec(
            f"name {name[:80]!r} must be 1 to 200 of letters, digits, '.', '_', ':', '/', '@', '-'"
        )
    if name in (DEFAULT, DEFAULT_ID):
        raise Conflict(f"Snapshot with name {name} already exists")
    return name
