"""JSON of what a server says of itself."""

import msgspec


class Health(msgspec.Struct):
    """Answer of `GET /health`."""

    status: str


class Version(msgspec.Struct):
    """Answer of the toolbox's `GET /version`."""

    version: str


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
