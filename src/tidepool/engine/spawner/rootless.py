"""`python -m tidepool.engine.spawner.rootless FD`: the spawner of a server that an ordinary user has started.

It is root of a user namespace that holds the user's own ids as 0 and the subordinate ones as those that sandboxes get,
under the numbers that the spawner of the host's root uses. What the kernel does not let it do is replaced here by the
next best thing, and `WEAKER` says so; nothing is left out in silence.
"""

import os
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tidepool.engine.errors import HostUnsupported
from tidepool.engine.guest import syscalls
from tidepool.engine.kernel import mounts, pidfd, probe, userns
from tidepool.engine.kernel.idmap import Extent
from tidepool.engine.spawner import copying, guardian, protocol, spawner, storage, trees
from tidepool.engine.spawner.books import Ground, Ids, NoIds, Zygote

_SLICES = 4
"""Of a block: the usual 65,536 ids are enough for 15 zygotes with three sandboxes each."""
_NEEDED = (_SLICES + 1) * protocol.SLICE
"""Ids for one zygote, and those that own stored files."""
_LEAST_DATA_BYTES = 256 << 20
_COPIED = "copied"
"""Marks a copy that is whole."""
_HOME = "home/daytona"
_HOME_OWNER = 1000

WEAKER = {
    "cpu limit": "a server without root has no control groups, and nothing takes their place",
    "memory limit": "a server without root has no control groups: each process of a sandbox is limited (RLIMIT_DATA, "
    "at least 256 MiB), not all together; nothing ends the sandbox that takes the host's memory",
    "pids limit": "a server without root has no control groups: RLIMIT_NPROC counts a sandbox's processes instead",
    "separate uids of the server's parts": "server, egress proxy and spawner run as the user who started the server: "
    "who breaks out of one of them has the others, and that user's files",
    "ids that nobody else has": "a sandbox's ids are subordinate ids of that user: no account has them, but other "
    "containers of the same user may",
    "devices of its own": "/dev/null and its like are the host's: locks and watches on them are felt by others",
    "precedence of init": "a busy sandbox slows down the answers of its own init",
    "root inside may change /usr": "the host's files belong to nobody inside, so root inside cannot replace them; what "
    "it adds below /usr/local, /opt, /etc and /var works",
    "volumes": "a server without root has none: their files would need ids mapped on the host's filesystem",
}
"""What there would be with root, and what there is instead."""


@dataclass(frozen=True)
class Share:
    """How a user's subordinate ids are used; `uids` and `gids` are the maps of the spawner's user namespace."""

    ids: Ids
    uids: list[Extent]
    gids: list[Extent]


def share(uids: userns.Range, gids: userns.Range, uid: int, gid: int) -> Share:
    """Cut ranges of at least `_NEEDED` ids each into blocks, with one slice for what is stored. Pure."""
    slices = min(uids.count, gids.count) // protocol.SLICE - 1
    # The range is in the name: who has another one shares nothing with us.
    ids = Ids(_SLICES, min(slices // _SLICES, protocol.BLOCKS), f"tidepool-ids-{uids.first}")
    return Share(ids, _extents(ids, uids.first, uid), _extents(ids, gids.first, gid))


def _extents(ids: Ids, first: int, own: int) -> list[Extent]:
    used = ids.blocks * ids.block
    return [
        (0, own, 1),
        (protocol.FIRST_BLOCK_UID, first, used),
        (protocol.STORED_UID, first + used, protocol.SLICE),
    ]


def _share_of_user() -> Share:
    uids, gids = userns.ranges(_NEEDED)
    return share(uids, gids, os.getuid(), os.getgid())


def _enter() -> Ids:
    ours = _share_of_user()
    userns.enter(ours.uids, ours.gids)
    return ours.ids


def features() -> tuple[probe.Feature, ...]:
    """What an ordinary user can have on this host, tried as `probe.features` does; what is weaker is among them."""
    try:
        ours = _share_of_user()
        detail = f"{ours.ids.blocks * (ours.ids.slices - 1)} sandboxes at a time"
        ids = probe.Feature("subordinate_ids", True, detail, True, "")
    except HostUnsupported as error:
        ids = probe.Feature("subordinate_ids", False, "", True, str(error))
        return (ids, *_weaker())
    return (ids, *probe.features(_enter), *_weaker())


def _weaker() -> tuple[probe.Feature, ...]:
    return tuple(
        probe.Feature(name, False, "needs root", False, f"{why} (start the server as root)")
        for name, why in WEAKER.items()
        if not name.endswith("limit")  # control groups are told of by the probe
    )


class Trees(trees.Trees):
    """Mounts as root of a user namespace may make them.

    Ids can be mapped on a tmpfs of its own only: the parts of the image that are generated, and stored images, are
    copied to one. The host's own trees are bound as they are; their owners are nobody inside.
    """

    def prepare(self) -> None:
        """As ever, and copy what the default image has generated."""
        super().prepare()
        for name in ("m", "d"):
            os.mkdir(name)
        ours = [self.start.base, *self.start.usr, *self.start.local]
        work = self._copy("m/default", [path for path in ours if self._place(path)], 0)
        report = storage.start(work).finish()
        if report.error:
            raise OSError(f"the image could not be copied to memory: {report.error}")
        home = f"{self._place(self.start.base)}/{_HOME}"
        os.chown(home, protocol.STORED_UID + _HOME_OWNER, protocol.STORED_UID + _HOME_OWNER)

    def has(self, image: str) -> bool:
        """Whether a stored image has been copied."""
        return os.path.exists(f"m/i-{image}/{_COPIED}")

    def forget(self, image: str) -> None:
        """Remove the copy of a stored image; nothing when there is none."""
        self.remove(f"m/i-{image}")

    def copy_image(self, image: str) -> Callable[[], copying.Copied]:
        """Make room in memory for a stored image; the work that fills it, for a child, is returned."""
        self.forget(image)  # half of a copy
        parts = [f"{self.start.storage}/images/{image}/{letter}" for letter in "rul"]
        return self._copy(f"m/i-{image}", parts, protocol.STORED_UID)

    def _copy(self, place: str, sources: list[str], first_id: int) -> Callable[[], copying.Copied]:
        os.mkdir(place)
        syscalls.mount("tidepool", place, "tmpfs", syscalls.MS_NOSUID | syscalls.MS_NODEV, "mode=0700")

        def work() -> copying.Copied:
            copied = copying.Copied()
            for source in sources:
                target = Path(place, Path(source).name)
                target.mkdir()
                ids = copying.shift(first_id, protocol.STORED_UID, protocol.SLICE)
                storage.copy_tree(Path(source), target, ids, copied)
            Path(place, _COPIED).touch()
            return copied

        return work

    def _place(self, source: str) -> str:
        """Where the copy of a directory on disk is; empty for those that are not copied."""
        place = Path(source)
        if place.parent == Path(self.start.base).parent:
            return f"m/default/{place.name}"
        if place.parent.parent == Path(self.start.storage, "images"):
            return f"m/i-{place.parent.name}/{place.name}"
        return ""

    def devices(self) -> int:
        """The host's own device nodes on a tmpfs of its own: others cannot be made without root."""
        place = "d/0"
        self.remove(place)
        os.mkdir(place)
        try:
            options: dict[str, str | None] = {"size": "64k", "nr_inodes": "64", "mode": "0755"}
            # Shown inside, in the host's numbers: not those of the user.
            options |= {"uid": str(protocol.STORED_UID), "gid": str(protocol.STORED_UID)}
            attributes = syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NOEXEC
            mounts.attach(syscalls.new_mount("tmpfs", options, attributes), place)
            for name in trees.DEVICES:
                Path(place, name).touch()
                node = syscalls.open_tree(f"/dev/{name}")
                syscalls.mount_setattr(node, attributes)
                mounts.attach(node, f"{place}/{name}")
            for name, target in trees.DEVICE_LINKS.items():
                os.symlink(target, f"{place}/{name}")
            for name in ("pts", "shm"):
                os.mkdir(f"{place}/{name}")
            whole = syscalls.open_tree(place, syscalls.OPEN_TREE_CLONE | syscalls.AT_RECURSIVE)
            syscalls.mount_setattr(whole, syscalls.MOUNT_ATTR_RDONLY)
            return whole
        finally:
            self.remove(place)

    def _attach_clone(self, source: str, target: str, first_id: int) -> None:
        if copy := self._place(source):
            super()._attach_clone(copy, target, first_id)
            return
        os.mkdir(target)
        clone = syscalls.open_tree(source)
        try:
            syscalls.mount_setattr(clone, syscalls.MOUNT_ATTR_RDONLY | mounts.NOSUID_NODEV)
        except OSError:
            os.close(clone)
            raise
        mounts.attach(clone, target)


class Spawner(spawner.Spawner):
    """The spawner of an ordinary user."""

    init_nice = 0
    weaker = WEAKER
    make_trees = Trees
    _trees: Trees

    def __init__(self, engine: socket.socket, start: protocol.Start, seccomp_fd: int, ground: Ground) -> None:
        super().__init__(engine, start, seccomp_fd, ground)
        self._waiting: dict[str, list[protocol.Zygote]] = {}
        """Image that is being copied to who wants a zygote of it."""
        self._for_ids: list[protocol.Zygote] = []
        """Who wants a zygote and waits for the ids of one that is ending."""

    @classmethod
    def enter(cls) -> None:
        """Become root of a user namespace, and its first process, and try there what sandboxes stand on."""
        cls.ids = _enter()
        userns.go_on_as_init()
        probe.require(probe.features(lambda: None))

    def rlimits(self, limits: protocol.Limits) -> dict[str, int]:
        """What takes the place of control groups."""
        return {"NPROC": limits.pids, "DATA": max(limits.memory_bytes, _LEAST_DATA_BYTES)}

    def _start_zygote(self, request: protocol.Zygote) -> None:
        """As ever, after a stored image has been copied: which takes a child, because it takes time."""
        image = request.image
        if image in self._waiting:
            self._waiting[image].append(request)
        elif image and not self._trees.has(image):
            self._waiting[image] = [request]
            self._run(self._trees.copy_image(image), partial(self._on_copied, image))
        else:
            self._claim_and_start(request)

    def _claim_and_start(self, request: protocol.Zygote) -> None:
        """Start a zygote; when there are no ids for it, after one that nobody uses has ended and left its own."""
        try:
            super()._start_zygote(request)
        except NoIds:
            used = {slot.zygote.number for slot in self._slots.values()}
            idle = [zygote for zygote in self._zygotes.values() if zygote.ready and zygote.free]
            idle = [zygote for zygote in idle if zygote.number not in used and zygote.ending is None]
            if not idle:
                raise
            idle[0].free.clear()  # nobody gets a sandbox of it any more
            self._for_ids.append(request)
            pidfd.kill(idle[0].pidfd)

    def _start_or_say(self, request: protocol.Zygote, error: str = "") -> None:
        try:
            if error:
                raise OSError(f"image {request.image}: {error}")
            self._start_zygote(request)
        except (OSError, LookupError, ValueError) as failure:
            self._answer(request.id, {"error": str(failure)})

    def _on_copied(self, image: str, report: storage.Report) -> None:
        if report.error:
            self._trees.forget(image)
        for request in self._waiting.pop(image):
            self._start_or_say(request, report.error)

    def _on_zygote_death(self, zygote: Zygote) -> None:
        super()._on_zygote_death(zygote)
        images = {*self._waiting, *(other.image for other in self._zygotes.values())}
        if zygote.image and zygote.image not in images:
            self._trees.forget(zygote.image)
        waiting, self._for_ids = self._for_ids, []
        for request in waiting if self._running else ():
            self._start_or_say(request)

    def _limit(self, request: protocol.Limit) -> None:
        made_with = self._slots[request.slot].request.limits
        if (request.limits.memory_bytes, request.limits.pids) != (made_with.memory_bytes, made_with.pids):
            raise ValueError("without root the limits of a running sandbox are fixed; stop it first")
        super()._limit(request)

    def _forget(self, request: protocol.Forget) -> None:
        if request.kind == "images":
            self._trees.forget(request.name)
        super()._forget(request)

    _handlers: dict[type, Callable[["Spawner", Any], None]] = spawner.Spawner._handlers | {  # type: ignore[assignment]
        protocol.Zygote: _start_zygote,
        protocol.Limit: _limit,
        protocol.Forget: _forget,
    }


if __name__ == "__main__":
    guardian.main(int(sys.argv[1]), Spawner)
