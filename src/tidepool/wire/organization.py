"""JSON of what clients read about where they are: organization, user, region, readiness (protocol section 5.6)."""

from typing import Any

import msgspec


class Organization(msgspec.Struct, rename="camel", kw_only=True):
    """The organization a client works in; members that this server has no limit for are null or the largest value."""

    id: str
    name: str
    created_by: str
    personal: bool = True
    created_at: str
    updated_at: str
    suspended: bool = False
    suspended_at: str
    """Clients insist on a time even where nothing was suspended: the time of creation."""
    suspension_reason: str = ""
    suspended_until: str
    suspension_cleanup_grace_period_hours: int = 0
    max_cpu_per_sandbox: int
    max_memory_per_sandbox: int
    """GiB, as is `max_disk_per_sandbox`."""
    max_disk_per_sandbox: int
    secret_quota: int
    max_secrets_per_sandbox: int
    snapshot_deactivation_timeout_minutes: int = 0
    default_queue_timeout: int | None = None
    sandbox_limited_network_egress: bool
    preview_warning_enabled: bool = False
    sso_enabled: bool = False
    scim_enabled: bool = False
    default_region_id: str
    authenticated_rate_limit: int | None = None
    sandbox_create_rate_limit: int | None = None
    sandbox_lifecycle_rate_limit: int | None = None
    experimental_config: dict[str, Any] = {}
    otel_config: dict[str, Any] | None = None
    authenticated_rate_limit_ttl_seconds: int | None = None
    sandbox_create_rate_limit_ttl_seconds: int | None = None
    sandbox_lifecycle_rate_limit_ttl_seconds: int | None = None


class User(msgspec.Struct, rename="camel", kw_only=True):
    """Who a key belongs to."""

    id: str
    name: str
    email: str
    email_verified: bool = False
    public_keys: list[dict[str, str]] = []
    created_at: str


class Region(msgspec.Struct, rename="camel", kw_only=True):
    """Where sandboxes run: on this host."""

    id: str
    name: str
    region_type: str = "shared"
    created_at: str
    updated_at: str
    proxy_url: str


class Part(msgspec.Struct):
    """Whether one part of the server works: `up` or `down`."""

    status: str


class Readiness(msgspec.Struct):
    """`GET /health/ready`."""

    status: str
    """ok, or error."""
    info: dict[str, Part]
    """What works."""
    error: dict[str, Part]
    """What does not."""
    details: dict[str, Part]
    """Both."""
