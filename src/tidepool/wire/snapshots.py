"""JSON of snapshots, builds and storage access (protocol section 5.4)."""

import msgspec
from msgspec import UNSET, UnsetType


class CreateBuildInfo(msgspec.Struct, rename="camel"):
    """What an image is to be built from, in requests."""

    dockerfile_content: str
    context_hashes: list[str] | None = None
    """MD5 of each context that was uploaded."""


class CreateSnapshot(msgspec.Struct, rename="camel", kw_only=True):
    """`POST /snapshots`: exactly one of `image_name` and `build_info`."""

    name: str
    image_name: str | None = None
    entrypoint: list[str] | None = None
    cpu: float | None = None
    memory: float | None = None
    """GiB, as is `disk`."""
    disk: float | None = None
    gpu: float | None = None
    build_info: CreateBuildInfo | None = None
    region_id: str | None = None


class BuildInfo(msgspec.Struct, rename="camel", kw_only=True):
    """What an image was built from, in answers."""

    dockerfile_content: str
    context_hashes: list[str]
    created_at: str
    updated_at: str
    snapshot_ref: str


class Snapshot(msgspec.Struct, rename="camel", kw_only=True):
    """A snapshot as clients of every generation read it."""

    id: str
    organization_id: str
    general: bool
    """Whether it is there for everybody and cannot be deleted."""
    name: str
    image_name: str | UnsetType = UNSET
    state: str
    size: float | None
    """GiB of its own files; None while it is not known."""
    entrypoint: list[str] | None
    cpu: int
    gpu: int = 0
    mem: int
    disk: int
    error_reason: str | None
    created_at: str
    updated_at: str
    last_used_at: str | None
    build_info: BuildInfo | UnsetType = UNSET
    region_ids: list[str]
    ref: str | UnsetType = UNSET
    source_sandbox_id: str | None = None
    sandbox_class: str = "container"


class SnapshotPage(msgspec.Struct, rename="camel"):
    """Answer of `GET /snapshots`."""

    items: list[Snapshot]
    total: int
    page: int
    total_pages: int


class Url(msgspec.Struct):
    """Answer of `.../build-logs-url`."""

    url: str


class StorageAccess(msgspec.Struct, rename="camel"):
    """Answer of `GET /object-storage/push-access`: credentials for a short time."""

    access_key: str
    secret: str
    session_token: str
    storage_url: str
    organization_id: str
    bucket: str
    region: str
