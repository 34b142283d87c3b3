"""JSON of sandboxes (protocol section 5): what a create request may carry, and how a sandbox is described.

Fields of a request that are not named here are ignored: newer clients may send them.
"""

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

LANGUAGE_LABEL = "code-toolbox-language"


class TidepoolOptions(msgspec.Struct, rename="camel", frozen=True):
    """Our own part of a create request; None is the server's default."""

    dependencies: tuple[str, ...] = ()
    network: str | None = None
    network_allow: tuple[str, ...] | None = None
    """With network `allow`: hosts, addresses and networks."""
    memory_bytes: int | None = None
    disk_bytes: int | None = None
    pids: int | None = None
    cpu: float | None = None
    isolation: str | None = None
    """`namespaces`, or besides them `gvisor` or `crun`."""


class MountedVolume(msgspec.Struct, rename="camel", omit_defaults=True):
    """A volume in a sandbox, both ways."""

    volume_id: str
    mount_path: str
    subpath: str | None = None


class CreateSandbox(msgspec.Struct, rename="camel", kw_only=True):
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
    outbound_proxy_url: str | None = None
    target: str | None = None
    cpu: float | None = None
    gpu: float | None = None
    kvm: bool | None = None
    memory: float | None = None
    """GiB."""
    disk: float | None = None
    """GiB."""
    auto_stop_interval: int | None = None
    """Minutes, as are the other intervals."""
    auto_archive_interval: int | None = None
    auto_delete_interval: int | None = None
    ttl_minutes: int | None = None
    volumes: list[MountedVolume] | None = None
    secrets: list[dict[str, str]] | None = None
    """Each from environment variable to the name of a secret."""
    build_info: dict[str, Any] | None = None
    linked_sandbox: str | None = None
    tidepool: TidepoolOptions = TidepoolOptions()


class Fork(msgspec.Struct):
    """`POST /sandbox/{sandbox}/fork`."""

    name: str | None = None


class Resize(msgspec.Struct):
    """`POST /sandbox/{sandbox}/resize`: what is absent stays."""

    cpu: float | None = None
    memory: float | None = None
    """GiB, as is `disk`."""
    disk: float | None = None


class SnapshotOf(msgspec.Struct, rename="camel"):
    """`POST /sandbox/{sandbox}/snapshot`."""

    name: str
    include_memory: bool = False


class NetworkSettings(msgspec.Struct, rename="camel"):
    """`POST /sandbox/{sandbox}/network-settings`: what is absent stays; lists are separated by commas."""

    network_block_all: bool | None = None
    network_allow_list: str | None = None
    domain_allow_list: str | None = None


class SandboxSecrets(msgspec.Struct):
    """`PUT /sandbox/{sandbox}/secrets`: each from environment variable to the name of a secret."""

    secrets: list[dict[str, str]]


class TidepoolFacts(msgspec.Struct, rename="camel", kw_only=True):
    """Our own part of a sandbox's description: what it really has."""

    isolation: str
    enforced: tuple[str, ...]
    not_enforced: tuple[str, ...]
    network: str
    memory_bytes: int
    disk_bytes: int
    pids: int
    cpu: float
    dependencies: tuple[str, ...]
    not_kept: tuple[str, ...] = ()
    """A sentence for each file that could not be saved when it last stopped."""


class Sandbox(msgspec.Struct, rename="camel", kw_only=True):
    """A sandbox as clients of every generation read it: integers where they insist on integers."""

    id: str
    organization_id: str
    name: str
    user: str
    env: dict[str, str]
    labels: dict[str, str]
    public: bool
    network_block_all: bool
    network_allow_list: str | UnsetType = UNSET
    domain_allow_list: str | UnsetType = UNSET
    kvm: bool
    target: str
    cpu: int
    gpu: int
    memory: int
    """GiB, rounded up, as is `disk`."""
    disk: int
    state: str
    desired_state: str
    error_reason: str | UnsetType = UNSET
    toolbox_proxy_url: str
    snapshot: str
    created_at: str
    """RFC 3339 in UTC, as are the other times."""
    updated_at: str
    last_activity_at: str
    auto_stop_interval: int
    """Minutes without activity after which it is stopped; 0: never."""
    auto_archive_interval: int
    """Minutes of rest after which it is archived."""
    auto_delete_interval: int
    """Minutes of rest after which it is deleted; 0: stopping it deletes it; -1: never."""
    auto_destroy_at: str | UnsetType = UNSET
    volumes: list[MountedVolume] = []
    backup_state: str = "None"
    tidepool: TidepoolFacts


class SandboxPage(msgspec.Struct, rename="camel"):
    """Answer of `GET /sandbox` for clients that know cursors."""

    items: list[Sandbox]
    next_cursor: str | None


class NumberedPage(msgspec.Struct, rename="camel"):
    """Answer of `GET /sandbox/paginated`."""

    items: list[Sandbox]
    total: int
    page: int
    total_pages: int


class Labels(msgspec.Struct):
    """`PUT /sandbox/{sandbox}/labels`, both ways."""

    labels: dict[str, str]


class ToolboxUrl(msgspec.Struct):
    """Answer of `GET /sandbox/{sandbox}/toolbox-proxy-url`."""

    url: str
