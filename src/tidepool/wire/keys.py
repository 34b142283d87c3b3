"""JSON of API keys (protocol section 5.6), and the permissions there are."""

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

PERMISSIONS = (
    "write:registries",
    "delete:registries",
    "write:snapshots",
    "delete:snapshots",
    "write:sandboxes",
    "delete:sandboxes",
    "read:volumes",
    "write:volumes",
    "delete:volumes",
    "write:regions",
    "delete:regions",
    "read:runners",
    "write:runners",
    "delete:runners",
    "read:audit_logs",
    "manage:api_keys",
    "manage:secrets",
    "read:limits",
    "manage:sso",
    "read:billing",
    "manage:billing",
)
"""All that a key can be allowed to do; those of features that are not there are kept, and open nothing."""

Name = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[^\x00/]+$")]


class CreateKey(msgspec.Struct, rename="camel"):
    """`POST /api-keys`."""

    name: Name
    permissions: list[str] = []
    expires_at: datetime | None = None
    """None: never; a time without a zone is UTC."""


class NewKey(msgspec.Struct, rename="camel", kw_only=True):
    """A key that was just made: the only answer with its value."""

    name: str
    value: str
    created_at: str
    permissions: list[str]
    expires_at: str | None


class Key(msgspec.Struct, rename="camel", kw_only=True):
    """A key as lists show it."""

    name: str
    value: str
    """Its first and last letters."""
    created_at: str
    permissions: list[str]
    last_used_at: str | None
    expires_at: str | None
    user_id: str
    organization_id: str
