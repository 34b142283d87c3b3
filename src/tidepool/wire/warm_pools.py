"""JSON of warm pools (protocol section 5.6): sandboxes kept ready before anybody asks for them."""

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

Size = Annotated[int, Meta(ge=0, le=100)]
"""How many are kept ready."""
SnapshotName = Annotated[str, Meta(min_length=1, max_length=256)]


class CreateWarmPool(msgspec.Struct):
    """`POST /warm-pools`."""

    snapshot: SnapshotName
    pool: Size
    target: str | None = None


class UpdateWarmPool(msgspec.Struct):
    """`PATCH /warm-pools/{pool}`."""

    pool: Size


class WarmPool(msgspec.Struct, rename="camel", kw_only=True):
    """One pool."""

    id: str
    organization_id: str
    snapshot: str
    target: str
    pool: int
    current_size: int
    """How many are ready now."""
    cpu: int
    mem: int
    """GiB, as is `disk`."""
    disk: int
    os_user: str
    env: dict[str, str]
    error_reason: str | UnsetType = UNSET
    created_at: str
    updated_at: str
