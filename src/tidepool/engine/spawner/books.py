"""What the spawner knows of each zygote and each sandbox, and which ids are whose.

Records only: what is done with them is in `spawner`. A block of ids is one spawner's on a host, a slice one sandbox's.
"""

import socket
from dataclasses import dataclass, field

from tidepool.engine.spawner import protocol


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
    free: list[int] = field(default_factory=lambda: list(range(protocol.SLICES - 1, 0, -1)))
    ready: bool = False
    ending: int | None = None
    """Request to answer once it and its sandboxes are dead."""

    @property
    def first_id(self) -> int:
        """First host id of the block; slice 0 is the zygote's own."""
        return protocol.FIRST_BLOCK_UID + self.block * protocol.BLOCK


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
    keep: str = ""
    """Name under which its files are saved when it ends."""
    dead: bool = False

    copying: bool = False
    """Its files are being brought back; nothing of it runs yet."""

    @property
    def leaf(self) -> str:
        """Name of its control group."""
        return f"s{self.number}"

    @property
    def upper(self) -> str:
        """Where its tmpfs is attached."""
        return f"s/{self.number}"


def pids_max() -> int:
    """For all sandboxes together: three quarters of what the host has."""
    with open("/proc/sys/kernel/pid_max") as file:
        return int(file.read()) * 3 // 4


def claim_block(own: set[int]) -> tuple[int, socket.socket]:
    """A block of ids no other spawner of this host uses: an abstract socket's name is the lock, freed with us."""
    for block in range(protocol.BLOCKS):
        if block in own:
            continue
        lock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            lock.bind(f"\0tidepool-ids-{block}")
        except OSError:
            lock.close()
            continue
        return block, lock
    raise ValueError("all blocks of ids are in use")
