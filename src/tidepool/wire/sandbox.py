"""JSON of sandboxes: what a create request may carry. Fields that are not named here are ignored."""

from typing import Any

import msgspec

LANGUAGE_LABEL = "code-toolbox-language"


class TidepoolOptions(msgspec.Struct, rename="camel", frozen=True):
    """Our own part of a create request; None is the server's default."""

    dependencies: tuple[str, ...] = ()
    network: str | None = None
    memory_bytes: int | None = None
    disk_bytes: int | None = None
    pids: int | None = None
    cpu: float | None = None


class CreateSandbox(msgspec.Struct, rename="camel"):
    """`POST /sandbox`: every field may be absent."""

    name: str | None = None
    snapshot: str | None = None
    user: str | None = None
    env: dict[str, str] | None = None
    labels: dict[str, str] | None = None
    public: bool | None = None
    network_block_all: bool | None = None
    network_allow_list: str | None = None
    domain_allow_list: str | None = None
    target: str | None = None
    cpu: float | None = None
    gpu: float | None = None
    memory: float | None = None
    """GiB."""
    disk: float | None = None
    """GiB."""
    auto_stop_interval: int | None = None
    auto_archive_interval: int | None = None
    auto_delete_interval: int | None = None
    ttl_minutes: int | None = None
    volumes: list[Any] | None = None
    build_info: dict[str, Any] | None = None
    tidepool: TidepoolOptions = TidepoolOptions()


class Labels(msgspec.Struct):
    """`PUT /sandbox/{sandbox}/labels`, both ways."""

    labels: dict[str, str]
