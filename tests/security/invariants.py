"""What an engine has on its host while no attack is under way, and what of it nobody accounts for.

An engine fills its pool when it likes, so nothing is compared for being equal: each process, network namespace, control
group and descriptor must belong to a zygote or a sandbox that the engine knows of. What does not, has leaked.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tidepool.engine.kernel import cgroups
from tidepool.engine.spawner import protocol

if TYPE_CHECKING:
    from tests.security.conftest import EngineThread

PATIENCE_S = 5.0
"""How long what is ending may take."""
_OF_ENGINE, _OF_ZYGOTE, _OF_BOX = 2 if os.geteuid() == 0 else 3, 2, 2
"""Processes: the guardian and the spawner, without root who made their namespace too; keeper and zygote; an init and
the run forked ahead."""
_FDS_OF_ENGINE, _FDS_OF_ZYGOTE, _FDS_OF_BOX = 13, 8, 2
"""Descriptors of the spawner; a few are open for a moment only."""


@dataclass(frozen=True)
class Known:
    """What the engine itself says it has."""

    zygotes: int
    parked: int
    live: int
    coming: int
    """Sandboxes that the pool is about to have, and zygotes for them: there or not."""

    @property
    def boxes(self) -> int:
        """At most."""
        return self.parked + self.live + self.coming


@dataclass(frozen=True)
class Held:
    """What there is on the host, counted from outside."""

    processes: int
    networks: int
    groups: int
    spawner_fds: int
    own_fds: int
    """Sockets, pipes and the like of the process that the engine lives in: files and terminals are not counted."""
    orphans: frozenset[int]
    """Processes with the ids of sandboxes that have no parent left but the host's first process."""


def moment(host: "EngineThread") -> tuple[Held, Known]:
    """Both on the engine's own loop: what a pool makes meanwhile would be in one of them only."""

    async def count() -> tuple[Held, Known]:
        return _held(host), _known(host)

    return host.run(count())


def _known(host: "EngineThread") -> Known:
    lines = list(host.engine._pool._lines.values())
    # A parked one may come from a zygote that is full, and ends with its last.
    zygotes = {line.zygote for line in lines if line.zygote is not None}
    zygotes |= {warm.zygote for line in lines for warm in line.parked}
    refills = sum(1 for line in lines if line.refill is not None and not line.refill.done())
    return Known(len(zygotes), sum(len(line.parked) for line in lines), host.engine.alive, refills)


def _held(host: "EngineThread") -> Held:
    guardian = host.engine._backend._launched.process.pid
    parents = _parents()
    tree = _below(guardian, parents)
    spawner = min((pid for pid in tree if parents.get(pid) == guardian), default=guardian)
    links = {link for pid in tree if (link := _link(f"/proc/{pid}/ns/net"))}
    return Held(
        processes=len(tree),
        networks=len(links - {_link("/proc/self/ns/net")}),
        groups=_groups(host.engine._backend._launched.name),
        spawner_fds=len(_listing(f"/proc/{spawner}/fd")),
        own_fds=sum(1 for fd in _listing("/proc/self/fd") if _is_kernel_object(f"/proc/self/fd/{fd}"))
        # A parked sandbox gets its proxy's socket some time after it has been parked.
        - sum(box.listener is not None for line in host.engine._pool._lines.values() for box in line.parked),
        orphans=frozenset(pid for pid, parent in parents.items() if parent == 1 and _is_of_a_sandbox(pid)),
    )


def leaked(host: "EngineThread", before: Held, since: Known, patience_s: float = PATIENCE_S) -> list[str]:
    """What is there and belongs to nothing that the engine knows of, after patience: a line each."""
    deadline = time.monotonic() + patience_s
    while (found := _excess(*moment(host), before, since)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def _excess(now: Held, has: Known, before: Held, since: Known) -> list[str]:
    more = max(0, has.boxes - since.parked - since.live) + max(0, has.zygotes - since.zygotes) + since.coming
    bounds = {
        "network namespaces": (now.networks, has.zygotes + has.boxes),
        "control groups": (now.groups, has.zygotes + has.boxes),
        "descriptors of the spawner": (
            now.spawner_fds,
            _FDS_OF_ENGINE + _FDS_OF_ZYGOTE * has.zygotes + _FDS_OF_BOX * has.boxes,
        ),
        "descriptors of this process": (now.own_fds, before.own_fds + 2 * more),
        "orphans": (len(now.orphans - before.orphans), 0),
    }
    if not has.live:  # what runs in a sandbox is its own affair as long as it lives
        most = _OF_ENGINE + _OF_ZYGOTE * has.zygotes + _OF_BOX * has.boxes
        bounds["processes"] = (now.processes, most)
    return [
        f"{what}: {count}, at most {most} are known of"
        for what, (count, most) in bounds.items()
        if count > most
    ]


def _parents() -> dict[int, int]:
    """Every process of the host and its parent."""
    found = {}
    for name in _listing("/proc"):
        if name.isdecimal():
            try:
                stat = Path(f"/proc/{name}/stat").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue  # it ended while we were reading
            state, parent = stat.rpartition(")")[2].split()[:2]
            if state not in "ZX":
                found[int(name)] = int(parent)
    return found


def _below(root: int, parents: dict[int, int]) -> set[int]:
    tree, new = {root}, {root}
    while new:
        new = {pid for pid, parent in parents.items() if parent in new} - tree
        tree |= new
    return tree


def _groups(engine: str) -> int:
    """Leaves of this engine's control groups, as the controller with most of them has it."""
    found = 0
    for directory, names, _ in os.walk(cgroups.ROOT):
        if engine in names:
            names.remove(engine)
            found = max(found, sum(1 for entry in Path(directory, engine).iterdir() if entry.is_dir()))
    return found


def _is_of_a_sandbox(pid: int) -> bool:
    try:
        return os.stat(f"/proc/{pid}").st_uid >= protocol.FIRST_BLOCK_UID
    except FileNotFoundError:
        return False


def _is_kernel_object(path: str) -> bool:
    return (_link(path) or "/").startswith(
        ("socket:", "pipe:", "anon_inode:", "net:", "mnt:", "user:", "pid:")
    )


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _listing(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []
