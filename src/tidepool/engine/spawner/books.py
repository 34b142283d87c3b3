"""What the spawner knows of each zygote and each sandbox, and which ids are whose.

Records only: what is done with them is in `spawner`. A block of ids is one spawner's on a host, a slice one sandbox's.
"""

import socket
from dataclasses import dataclass, field
from pathlib import Path

from tidepool.engine.kernel import cgroups, pidfd, strays
from tidepool.engine.spawner import protocol, storage
from tidepool.engine.spawner.journal import Journal, Record


@dataclass(frozen=True)
class Ids:
    """The ids that a spawner gives out: a block for each zygote, cut into slices."""

    slices: int = protocol.SLICES
    """Of a block; the first is the zygote's own."""
    blocks: int = protocol.BLOCKS
    lock: str = "tidepool-ids"
    """Begins the names under which blocks are claimed: other spawners of the same ids have the same."""

    @property
    def block(self) -> int:
        """Ids of one block."""
        return self.slices * protocol.SLICE

    def first(self, block: int) -> int:
        """The first id of a block."""
        return protocol.FIRST_BLOCK_UID + block * self.block


@dataclass(frozen=True)
class Ground:
    """What a spawner stands on: the guardian's, who gives it to the next one should this one be killed."""

    storage: storage.Storage
    groups: cgroups.Tree
    journal: Journal
    guardian: int
    """Its pidfd."""


@dataclass
class Zygote:
    """One zygote: its process, its block of ids, its free slices."""

    number: int
    block: int
    lock: socket.socket
    """Holds the block against other spawners of this host."""
    pidfd: int
    control: socket.socket
    layers: list[str]
    image: str
    request: int
    ids: Ids
    free: list[int] = field(init=False)
    ready: bool = False
    retired: bool = False
    """Whether it ends with its last sandbox."""
    ending: int | None = None
    """Request to answer once it and its sandboxes are dead."""
    strays: list[int] = field(default_factory=list)
    """Descriptors that it should not have passed, until it is dead."""

    def __post_init__(self) -> None:
        self.free = list(range(self.ids.slices - 1, 0, -1))

    @property
    def first_id(self) -> int:
        """First host id of the block; slice 0 is the zygote's own."""
        return self.ids.first(self.block)


@dataclass
class Slot:
    """One sandbox."""

    number: int
    zygote: Zygote
    slice: int
    request: protocol.Create
    control: socket.socket | None
    """Our end until it is handed over."""
    pidfd: int = -1
    ends: list[int] = field(default_factory=list)
    """Requests to answer once it is gone."""
    why: str = "its init ended"
    """Why it ended, where nobody asked for it."""
    tries: int = 0
    """How often its files were begun to be saved."""
    keep: str = ""
    """Name under which its files are saved when it ends."""
    dead: bool = False
    unsaved: bool = False
    """Its files are to be kept and could not be saved: they are where they were."""

    copying: bool = False
    """Its files are being brought back; nothing of it runs yet."""

    def hand_over(self) -> None:
        """Close our end, which the engine has from now on."""
        assert self.control is not None
        self.control.close()
        self.control = None

    def hang_up(self) -> None:
        """Close our end unless it was handed over. A zygote that has sent descriptors there is ended."""
        if self.control is None:
            return
        came = strays.drain(self.control)
        self.hand_over()
        if came:
            self.zygote.strays += came
            pidfd.kill(self.zygote.pidfd)

    @property
    def first_id(self) -> int:
        """First host id of its slice."""
        return self.zygote.first_id + self.slice * protocol.SLICE

    @property
    def record(self) -> Record:
        """What the guardian has to know of it."""
        return Record(self.number, self.first_id, self.keep)

    @property
    def group_limits(self) -> cgroups.GroupLimits:
        """What it was made with."""
        return group_limits(self.request.limits)

    @property
    def disk(self) -> storage.Tree:
        """Its files, and the first id they belong to."""
        return Path(self.upper), self.first_id

    @property
    def leaf(self) -> str:
        """Name of its control group."""
        return f"s{self.number}"

    @property
    def upper(self) -> str:
        """Where its tmpfs is attached."""
        return f"s/{self.number}"


def group_limits(limits: protocol.Limits) -> cgroups.GroupLimits:
    """Limits as a control group takes them."""
    return cgroups.GroupLimits(limits.memory_bytes, limits.pids, limits.cpu)


def pids_max() -> int:
    """For all sandboxes together: three quarters of what the host has."""
    with open("/proc/sys/kernel/pid_max") as file:
        return int(file.read()) * 3 // 4


class NoIds(ValueError):
    """Every block of ids is in use."""


def claim_block(ids: Ids, own: set[int]) -> tuple[int, socket.socket]:
    """A block of ids no other spawner of this host uses: an abstract socket's name is the lock, freed with us.

    Raises:
        NoIds: There is none.
    """
    for block in range(ids.blocks):
        if block in own:
            continue
        lock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            lock.bind(f"\0{ids.lock}-{block}")
        except OSError:
            lock.close()
            continue
        return block, lock
    raise NoIds("this host is full: all its ids for sandboxes are in use")
