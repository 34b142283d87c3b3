"""JSON of volumes (protocol section 5.5)."""

from typing import Annotated

import msgspec
from msgspec import Meta

READY = "ready"
"""The state of every volume here: it is there when the request that makes it is answered."""
Name = Annotated[str, Meta(pattern=r"^[^\x00-\x1f/]{1,128}$")]


class CreateVolume(msgspec.Struct):
    """`POST /volumes`."""

    name: Name


class Volume(msgspec.Struct, rename="camel", kw_only=True):
    """One volume."""

    id: str
    name: str
    organization_id: str
    state: str
    created_at: str
    updated_at: str
    error_reason: str | None
