"""The messages between engine and spawner: decoded strictly, refused whole when anything does not fit.

Requests carry a number that the answer repeats. Descriptors travel beside the frame.
"""

import array
import socket
from collections.abc import Sequence
from typing import Annotated, Literal

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
STORED_UID = FIRST_BLOCK_UID + BLOCKS * BLOCK
"""First of the ids that own sandboxes' files on disk: nobody's on the host, and no running sandbox's."""

Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,95}\Z")]
Image = Annotated[str, msgspec.Meta(pattern=r"^([a-z0-9][a-z0-9._-]{0,95})?\Z")]
"""A name, or empty for none."""
Kind = Literal["saved", "images", "volumes"]
Bytes = Annotated[int, msgspec.Meta(ge=0, le=1 << 44)]


EARLY = 1
"""The first number that the engine gives a request."""


class Start(msgspec.Struct, forbid_unknown_fields=True, tag="start", tag_field="op"):
    """The first message: what this spawner serves. Its one descriptor holds the seccomp program."""

    name: Name
    """Of the control group tree."""
    base: str
    usr: list[str]
    local: list[str]
    layers: str
    """Directory of dependency layers."""
    storage: str
    """Directory of what outlives a sandbox; made and entered by the spawner only."""
    work: str
    """An existing directory to mount the private work area on."""
    capabilities: list[int]
    """Kept inside by root."""
    landlock: bool
    debug: bool
    fault: str
    """Where a process is to die, for tests (`guest.faults`); empty for nowhere."""
    early_zygote: bool
    """Whether the first spawner starts a zygote of the plain interpreter unasked, and answers it as request `EARLY`."""


class Limits(msgspec.Struct, forbid_unknown_fields=True):
    """Of one sandbox."""

    memory_bytes: Bytes
    pids: Annotated[int, msgspec.Meta(ge=1, le=1 << 16)]
    cpu: Annotated[float, msgspec.Meta(gt=0, le=1024)]


class Zygote(msgspec.Struct, forbid_unknown_fields=True, tag="zygote", tag_field="op"):
    """Start a zygote; answered when it is ready or has failed."""

    id: int
    layers: list[Name]
    image: Image
    modules: list[Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_.]{0,200}\Z")]]
    pytest: bool
    apart: bool = False
    """Whether only its sandboxes have the layers."""

    @property
    def seen_layers(self) -> list[str]:
        """Those that the zygote has itself."""
        return [] if self.apart else self.layers


class Volume(msgspec.Struct, forbid_unknown_fields=True):
    """A directory on disk that a sandbox has mounted."""

    name: Name
    subpath: Annotated[
        str, msgspec.Meta(pattern=r"^([A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*)?\Z")
    ]
    """Below the volume; empty for all of it."""
    path: Annotated[str, msgspec.Meta(pattern=r"^/", max_length=1024)]
    """Where it is mounted."""


class Create(msgspec.Struct, forbid_unknown_fields=True, tag="create", tag_field="op"):
    """Make one sandbox from a zygote; the answer carries its slot and its control socket."""

    id: int
    zygote: int
    limits: Limits
    disk_bytes: Bytes
    shm_bytes: Bytes
    hostname: Name
    env: dict[str, str]
    open_root: bool
    """Whether root inside may make things in `/`."""
    restore: Image | int
    """Saved files it starts with, or the slot of a sandbox whose files it starts with; empty: none."""
    volumes: list[Volume]
    isolation: Literal["namespaces", "gvisor", "crun"] = "namespaces"
    """What runs inside these namespaces stands behind besides."""
    network: bool = False
    """Whether it may reach anything beyond its own loopback: asked by what stands between."""


class Limit(msgspec.Struct, forbid_unknown_fields=True, tag="limit", tag_field="op"):
    """Change a sandbox's limits."""

    id: int
    slot: int
    limits: Limits
    disk_bytes: Bytes
    """0 leaves it as it is."""


class Kill(msgspec.Struct, forbid_unknown_fields=True, tag="kill", tag_field="op"):
    """Kill a sandbox; answered when every process of it is verified dead, and its files are saved if asked for."""

    id: int
    slot: int
    save: bool


class Keep(msgspec.Struct, forbid_unknown_fields=True, tag="keep", tag_field="op"):
    """From now on save this sandbox's files under a name however it ends, unless it is killed without saving."""

    id: int
    slot: int
    name: Image
    """Empty: no longer."""


class Freeze(msgspec.Struct, forbid_unknown_fields=True, tag="freeze", tag_field="op"):
    """Copy a live sandbox's files to disk, as an image together with the image it started from, or as saved files."""

    id: int
    slot: int
    kind: Literal["saved", "images"]
    name: Name


class Copy(msgspec.Struct, forbid_unknown_fields=True, tag="copy", tag_field="op"):
    """Copy saved files: to other saved files, or to an image together with the image they belong on."""

    id: int
    source: Name
    kind: Literal["saved", "images"]
    name: Name
    base: Image


class Import(msgspec.Struct, forbid_unknown_fields=True, tag="import", tag_field="op"):
    """Make an image of a tar, whose descriptor comes with the request: a system of its own, not on this host's."""

    id: int
    name: Name


class Stored(msgspec.Struct, forbid_unknown_fields=True, tag="stored", tag_field="op"):
    """What there is on disk of one kind."""

    id: int
    kind: Kind


class Forget(msgspec.Struct, forbid_unknown_fields=True, tag="forget", tag_field="op"):
    """Remove a tree on disk."""

    id: int
    kind: Kind
    name: Name


class MakeVolume(msgspec.Struct, forbid_unknown_fields=True, tag="make_volume", tag_field="op"):
    """An empty volume."""

    id: int
    name: Name


class EndZygote(msgspec.Struct, forbid_unknown_fields=True, tag="end_zygote", tag_field="op"):
    """End a zygote and every sandbox forked from it; answered when all are dead."""

    id: int
    zygote: int


class Retire(msgspec.Struct, forbid_unknown_fields=True, tag="retire", tag_field="op"):
    """End a zygote as soon as no sandbox of it lives; answered at once."""

    id: int
    zygote: int


class Counters(msgspec.Struct, forbid_unknown_fields=True, tag="counters", tag_field="op"):
    """How many processes the memory limit of a sandbox has killed, and what it uses."""

    id: int
    slot: int


class Listen(msgspec.Struct, forbid_unknown_fields=True, tag="listen", tag_field="op"):
    """A listening TCP socket on the loopback of a sandbox's network namespace."""

    id: int
    slot: int
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)]


class Connect(msgspec.Struct, forbid_unknown_fields=True, tag="connect", tag_field="op"):
    """A TCP socket of a sandbox's network namespace, not connected yet."""

    id: int
    slot: int
    family: Literal["inet", "inet6"]


Request = (Zygote | Create | Limit | Kill | EndZygote | Counters | Listen | Connect) | (
    Keep | Freeze | Copy | Import | Stored | Forget | MakeVolume | Retire
)


def descriptors(ancillary: Sequence[tuple[int, int, bytes]]) -> list[int]:
    """Those that came with a frame, from recvmsg(2)'s second answer."""
    numbers = array.array("i")
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            numbers.frombytes(payload[: len(payload) - len(payload) % numbers.itemsize])
    return list(numbers)


decode_start = msgspec.json.Decoder(Start).decode
decode_request = msgspec.json.Decoder(Request).decode
encode = msgspec.json.encode
