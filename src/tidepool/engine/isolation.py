"""The isolations that can be asked for, and what each changes in the list of walls around a sandbox's programs."""

from dataclasses import dataclass
from typing import Literal

Isolation = Literal["namespaces", "gvisor", "crun"]


@dataclass(frozen=True)
class InnerWalls:
    """What is different from the namespaces alone."""

    more: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    """Of the walls every sandbox has, those that its programs are not behind."""
    not_enforced: tuple[str, ...] = ()
    """Why, in sentences."""


INNER_WALLS: dict[str, InnerWalls] = {
    "namespaces": InnerWalls(),
    "gvisor": InnerWalls(
        more=("gVisor: a kernel of its own, in user space",),
        without=("landlock", "seccomp"),
        not_enforced=(
            "landlock and the system call filter: gVisor itself must mount and trace; its programs never reach the"
            " host's system calls, and it filters its own",
        ),
    ),
    "crun": InnerWalls(more=("crun: a container of its own",)),
}
ISOLATIONS: tuple[str, ...] = tuple(INNER_WALLS)
VIRTUAL_MACHINES = frozenset({"kata", "krun", "kvm", "firecracker"})
"""What other systems call a machine of its own for each sandbox."""
MACHINES = (
    "a virtual machine for each sandbox is not offered: run a server in a machine of its own, and choose"
    " gvisor there or here for a kernel of its own in user space"
)
"""Why these are refused; docs/decisions/0017."""
