"""JSON of secrets (protocol section 5.6). A value goes in and never comes out."""

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$")]
Value = Annotated[str, Meta(min_length=1, max_length=1 << 16)]
Description = Annotated[str, Meta(max_length=1000)]
Host = Annotated[str, Meta(pattern=r"^(\*\.)?[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$")]
"""A host name or address, or `*.` and a domain for all names below it."""
Hosts = Annotated[list[Host], Meta(max_length=100)]


class CreateSecret(msgspec.Struct):
    """`POST /secret`."""

    name: Name
    value: Value
    description: Description | None = None
    hosts: Hosts | None = None
    """Where it is swapped in; without any it is swapped in nowhere."""


class UpdateSecret(msgspec.Struct):
    """`PATCH /secret/{secret}`: what is absent or null stays."""

    value: Value | None = None
    description: Description | None = None
    hosts: Hosts | None = None


class Secret(msgspec.Struct, rename="camel", kw_only=True):
    """A secret without its value."""

    id: str
    name: str
    description: str | UnsetType = UNSET
    created_at: str
    updated_at: str
    placeholder: str
    """What stands for the value inside a sandbox."""
    hosts: list[str]


class SecretPage(msgspec.Struct, rename="camel"):
    """Answer of `GET /secret/paginated`."""

    items: list[Secret]
    total: int
    next_cursor: str | None
