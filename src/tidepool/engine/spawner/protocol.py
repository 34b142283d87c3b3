"""The messages between engine and spawner: decoded strictly, refused whole when anything does not fit.

Requests carry a number that the answer repeats. Descriptors travel beside the frame.
"""

from typing import Annotated

import msgspec

SERVER_UID = 1_879_048_192
"""Who the server is after it has dropped root: above every range that distributions hand out."""
EGRESS_UID = SERVER_UID + 1
FIRST_BLOCK_UID = SERVER_UID + (1 << 20)
BLOCK = 1 << 20
"""Ids of one zygote."""
BLOCKS = 250
SLICE = 1024
"""Ids of one sandbox."""
SLICES = BLOCK // SLICE

Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,95}$")]
Bytes = Annotated[int, msgspec.Meta(ge=0, le=1 << 44)]


class Start(msgspec.Struct, forbid_unknown_fields=True, tag="start", tag_field="op"):
    """The first message: what this spawner serves. Its one descriptor holds the seccomp program."""

    name: Name
    """Of the control group tree."""
    base: str
    usr: list[str]
    local: list[str]
    layers: str
    """Directory of dependency layers."""
    work: str
    """An existing directory to mount the private work area on."""
    capabilities: list[int]
    """Kept inside by root."""
    landlock: bool
    debug: bool


class Limits(msgspec.Struct, forbid_unknown_fields=True):
    """Of one sandbox."""

    memory_bytes: Bytes
    pids: Annotated[int, msgspec.Meta(ge=1, le=1 << 16)]
    cpu: Annotated[float, msgspec.Meta(gt=0, le=1024)]


class Zygote(msgspec.Struct, forbid_unknown_fields=True, tag="zygote", tag_field="op"):
    """Start a zygote; answered when it is ready or has failed."""

    id: int
    layers: list[Name]
    modules: list[Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_.]{0,200}$")]]
    pytest: bool


class Create(msgspec.Struct, forbid_unknown_fields=True, tag="create", tag_field="op"):
    """Make one sandbox from a zygote; the answer carries its slot and its control socket."""

    id: int
    zygote: int
    limits: Limits
    disk_bytes: Bytes
    shm_bytes: Bytes
    hostname: Name
    env: dict[str, str]


class Limit(msgspec.Struct, forbid_unknown_fields=True, tag="limit", tag_field="op"):
    """Change a sandbox's limits."""

    id: int
    slot: int
    limits: Limits


class Kill(msgspec.Struct, forbid_unknown_fields=True, tag="kill", tag_field="op"):
    """Kill a sandbox; answered when every process of it is verified dead."""

    id: int
    slot: int


class EndZygote(msgspec.Struct, forbid_unknown_fields=True, tag="end_zygote", tag_field="op"):
    """End a zygote and every sandbox forked from it; answered when all are dead."""

    id: int
    zygote: int


class Counters(msgspec.Struct, forbid_unknown_fields=True, tag="counters", tag_field="op"):
    """How many processes the memory limit of a sandbox has killed."""

    id: int
    slot: int


class Listen(msgspec.Struct, forbid_unknown_fields=True, tag="listen", tag_field="op"):
    """A listening TCP socket on the loopback of a sandbox's network namespace."""

    id: int
    slot: int
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)]


Request = Zygote | Create | Limit | Kill | EndZygote | Counters | Listen

decode_start = msgspec.json.Decoder(Start).decode
decode_request = msgspec.json.Decoder(Request).decode
encode = msgspec.json.encode
