"""The mounts of zygotes and sandboxes, in the spawner's private mount namespace and below its work area.

Rules of the room: idmapped clones of the host's trees are attached here and never leave; what leaves are overlays made
over them: lower-only ones for a zygote, and for a sandbox ones whose upper is that sandbox's own tmpfs. Paths are short
and relative to the work area, because overlayfs shows them inside.
"""

import contextlib
import os
from dataclasses import dataclass, field
from pathlib import Path

from tidepool.engine.guest import syscalls
from tidepool.engine.kernel import idmap, mounts
from tidepool.engine.spawner import protocol, storage

_INODES_PER_MIB = 64
_PARTS = "rul"
"""Directories of an upper: for /, /usr and /usr/local; with a w behind the overlay's work directory."""
DEVICES = {
    "null": (1, 3),
    "zero": (1, 5),
    "full": (1, 7),
    "random": (1, 8),
    "urandom": (1, 9),
    "tty": (5, 0),
}
DEVICE_LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
    "ptmx": "pts/ptmx",
}


@dataclass(frozen=True)
class Lowers:
    """Mounted lower directories of the three overlays, topmost first."""

    base: list[str]
    usr: list[str]
    local: list[str]


@dataclass
class Trees:
    """All mounts of one spawner."""

    start: protocol.Start
    _userns: dict[tuple[int, int], int] = field(default_factory=dict)
    """Id maps by (first host id of the slice, owner of the files)."""

    def prepare(self) -> None:
        """Enter a private mount namespace and make the work area in it; it ends with this process."""
        syscalls.unshare(syscalls.CLONE_NEWNS)
        syscalls.mount("", "/", "", syscalls.MS_REC | syscalls.MS_PRIVATE)
        syscalls.mount(
            "tidepool", self.start.work, "tmpfs", syscalls.MS_NOSUID, "mode=0755,nr_inodes=1048576"
        )
        os.chdir(self.start.work)
        for name in ("i", "s", "t", "e"):
            os.mkdir(name)

    def devices(self) -> int:
        """A detached /dev of its own: a shared one would share its inodes, and with them locks and notifications."""
        options: dict[str, str | None] = {"size": "64k", "nr_inodes": "64", "mode": "0755"}
        attributes = syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NOEXEC
        place = syscalls.new_mount("tmpfs", options, attributes)
        for name, (major, minor) in DEVICES.items():
            os.mknod(name, 0o020666, os.makedev(major, minor), dir_fd=place)
            os.chmod(name, 0o666, dir_fd=place)
        for name, target in DEVICE_LINKS.items():
            os.symlink(target, name, dir_fd=place)
        for name in ("pts", "shm"):
            os.mkdir(name, dir_fd=place)
        syscalls.mount_setattr(place, syscalls.MOUNT_ATTR_RDONLY)
        return place

    def lowers(self, directory: str, first_id: int, layers: list[str], image: str) -> Lowers:
        """Attach the idmapped clones for one slice below `directory`; reused when they are there already."""
        there = os.path.isdir(directory)
        if not there:
            os.mkdir(directory)
        dependencies = [os.path.join(self.start.layers, name) for name in layers]
        place = f"{self.start.storage}/images/{image}"
        frozen = {part: [f"{place}/{part}"] if image else [] for part in _PARTS}
        base, usr, local = [self.start.base], self.start.usr, self.start.local
        if image and storage.Storage(Path(self.start.storage)).is_whole(image):
            base, usr, local = [], [], []
        groups = {
            "b": [*frozen["r"], *base],
            "u": [*frozen["u"], *usr],
            # Above the image's: what it was built with belongs to other dependencies.
            "l": [*dependencies, *frozen["l"], *local],
        }
        made: dict[str, list[str]] = {}
        for letter, sources in groups.items():
            made[letter] = [f"{directory}/{letter}{number}" for number in range(len(sources))]
            for target, source in zip(made[letter], sources, strict=True):
                if not there:
                    self._attach_clone(source, target, first_id)
        return Lowers(made["b"], made["u"], made["l"])

    def _attach_clone(self, source: str, target: str, first_id: int) -> None:
        os.mkdir(target)
        owner = os.stat(source, follow_symlinks=False).st_uid
        mounts.attach(mounts.idmapped_clone(source, self._map(first_id, owner)), target)

    def _map(self, first_id: int, owner: int) -> int:
        """The id map for files of `owner`: root's keep their ids, stored ones too, another owner's become root's."""
        key = (first_id, owner)
        if key not in self._userns:
            last = protocol.SLICE - 1
            extents = {
                0: [(0, first_id, last), (65534, first_id + last, 1)],
                protocol.STORED_UID: [(owner, first_id, protocol.SLICE)],
            }.get(owner, [(owner, first_id, 1)])
            self._userns[key] = idmap.create(extents)
        return self._userns[key]

    def zygote_mounts(self, lowers: Lowers) -> tuple[int, int, int]:
        """Read-only overlays for /, /usr and /usr/local."""
        empty = ["e"]
        return (
            mounts.overlay(lowers.base + empty),
            mounts.overlay(lowers.usr + empty),
            mounts.overlay(lowers.local + empty),
        )

    def make_upper(self, upper: str, first_id: int, disk_bytes: int) -> None:
        """A new tmpfs at `upper` for everything a sandbox writes."""
        os.mkdir(upper)
        mounts.attach(mounts.tmpfs(disk_bytes, _inodes(disk_bytes)), upper)
        for letter in _PARTS:
            os.mkdir(f"{upper}/{letter}", 0o755)
            os.chown(f"{upper}/{letter}", first_id, first_id)
            os.mkdir(f"{upper}/{letter}w", 0o700)

    def resize_upper(self, upper: str, disk_bytes: int) -> None:
        """Another size for a sandbox's tmpfs; EINVAL when it holds more than that already."""
        options = f"size={disk_bytes},nr_inodes={_inodes(disk_bytes)}"
        flags = syscalls.MS_REMOUNT | syscalls.MS_NOSUID | syscalls.MS_NODEV
        syscalls.mount("", upper, "", flags, options)

    def sandbox_mounts(self, upper: str, lowers: Lowers) -> tuple[int, int, int]:
        """Writable overlays for /, /usr and /usr/local over the tmpfs at `upper`."""
        stacks = zip(_PARTS, (lowers.base, lowers.usr, lowers.local), strict=True)
        made: list[int] = []
        try:
            for part, stack in stacks:
                made.append(mounts.overlay(stack, f"{upper}/{part}", f"{upper}/{part}w"))
        except OSError:
            for fd in made:
                os.close(fd)
            raise
        return made[0], made[1], made[2]

    def volume(self, directory: int, first_id: int) -> int:
        """A detached writable mount of an open directory on disk, with the ids of one slice; closes `directory`."""
        try:
            clone = syscalls.open_tree("", syscalls.OPEN_TREE_CLONE | syscalls.AT_EMPTY_PATH, directory)
        finally:
            os.close(directory)
        bits = syscalls.MOUNT_ATTR_IDMAP | mounts.NOSUID_NODEV
        syscalls.mount_setattr(clone, bits, userns_fd=self._map(first_id, protocol.STORED_UID))
        return clone

    def remove(self, directory: str) -> None:
        """Detach everything attached at or below `directory` and remove it."""
        with contextlib.suppress(FileNotFoundError):
            for name in sorted(os.listdir(directory)) if directory.startswith("i/") else ():
                _detach(f"{directory}/{name}")
                os.rmdir(f"{directory}/{name}")
            _detach(directory)
            os.rmdir(directory)

    def forget_ids(self, first_id: int) -> None:
        """Close the id maps of a slice."""
        for key in [key for key in self._userns if key[0] == first_id]:
            os.close(self._userns.pop(key))


def _inodes(disk_bytes: int) -> int:
    return max(1024, (disk_bytes >> 20) * _INODES_PER_MIB)


def _detach(path: str) -> None:
    with contextlib.suppress(OSError):  # EINVAL: nothing is mounted there
        syscalls.umount2(path)
