"""JSON of what a server says of itself."""

import msgspec
from msgspec import UNSET, UnsetType


class Health(msgspec.Struct):
    """Answer of `GET /health`."""

    status: str


class Version(msgspec.Struct):
    """Answer of the toolbox's `GET /version`."""

    version: str


class Ports(msgspec.Struct):
    """Answer of the toolbox's `GET /port`."""

    ports: list[int]


class PortInUse(msgspec.Struct, rename="camel"):
    """Answer of the toolbox's `GET /port/{port}/in-use`."""

    is_in_use: bool


class UpdateEnv(msgspec.Struct, rename="camel"):
    """The toolbox's `POST /env`: what is absent stays."""

    set: dict[str, str] = {}
    unset: list[str] = []
    unset_value_prefix: str = ""
    """Variables whose value begins so are unset too; empty: none."""


class Metrics(msgspec.Struct, rename="camel", kw_only=True):
    """Answer of the toolbox's `GET /system/metrics`: of the sandbox, not of its host. Absent: not counted there."""

    cpu_count: int
    """Processors it may use, rounded up."""
    cpu_used_pct: float | UnsetType = UNSET
    """Of what it may use."""
    mem_total: int
    """Bytes, as are the others."""
    mem_used: int | UnsetType = UNSET
    mem_cache: int | UnsetType = UNSET
    disk_total: int
    disk_used: int
    disk_free: int
    timestamp: str
    timestamp_unix: int


class Handshake(msgspec.Struct):
    """Answer of `GET /tidepool` (ours): whether SDK and local server understand each other."""

    version: str
    protocol: int
    pid: int
    sandboxes: int


class Oidc(msgspec.Struct, rename="camel"):
    """Sign-on by a third party; clients insist on the member, this server has none."""

    issuer: str = ""
    client_id: str = ""
    audience: str = ""
    provider: str = ""


class Configuration(msgspec.Struct, rename="camel", kw_only=True):
    """Answer of `GET /config`: what clients from 0.113 to 0.149 ask first; all of it is required by them."""

    version: str
    oidc: Oidc
    linked_accounts_enabled: bool = False
    announcements: dict[str, str]
    proxy_template_url: str
    proxy_toolbox_url: str
    default_snapshot: str
    dashboard_url: str
    max_auto_archive_interval: int
    maintanance_mode: bool = False
    """Their spelling."""
    environment: str


class Point(msgspec.Struct):
    """One figure at one time."""

    timestamp: str
    value: float


class Series(msgspec.Struct, rename="camel"):
    """Figures of one name."""

    metric_name: str
    data_points: list[Point]


class History(msgspec.Struct):
    """Answer of `GET /sandbox/{sandbox}/telemetry/metrics`."""

    series: list[Series]
