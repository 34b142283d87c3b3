"""The mounts of zygotes and sandboxes, in the spawner's private mount namespace and below its work area.

Rules of the room: idmapped clones of the host's trees are attached here and never leave; what leaves are overlays made
over them: lower-only ones for a zygote, and for a sandbox ones whose upper is that sandbox's own tmpfs. Paths are short
and relative to the work area, because overlayfs shows them inside.
"""

import contextlib
import os
from dataclasses import dataclass, field

from tidepool.engine.guest import syscalls
from tidepool.engine.kernel import idmap, mounts
from tidepool.engine.spawner import protocol

_INODES_PER_MIB = 64
_DEVICES = {
    "null": (1, 3),
    "zero": (1, 5),
    "full": (1, 7),
    "random": (1, 8),
    "urandom": (1, 9),
    "tty": (5, 0),
}
_DEVICE_LINKS = {
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
        for name, (major, minor) in _DEVICES.items():
            os.mknod(name, 0o020666, os.makedev(major, minor), dir_fd=place)
            os.chmod(name, 0o666, dir_fd=place)
        for name, target in _DEVICE_LINKS.items():
            os.symlink(target, name, dir_fd=place)
        for name in ("pts", "shm"):
            os.mkdir(name, dir_fd=place)
        syscalls.mount_setattr(place, syscalls.MOUNT_ATTR_RDONLY)
        return place

    def lowers(self, directory: str, first_id: int, layers: list[str]) -> Lowers:
        """Attach the idmapped clones for one slice below `directory`; reused when they are there already."""
        there = os.path.isdir(directory)
        if not there:
            os.mkdir(directory)
        local = [os.path.join(self.start.layers, name) for name in layers] + self.start.local
        groups = {"b": [self.start.base], "u": self.start.usr, "l": local}
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
        """The id map for files of `owner`: root's keep their ids, another owner's become root's."""
        key = (first_id, owner)
        if key not in self._userns:
            last = protocol.SLICE - 1
            extents = (
                [(0, first_id, last), (65534, first_id + last, 1)] if owner == 0 else [(owner, first_id, 1)]
            )
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

    def sandbox_mounts(
        self, upper: str, lowers: Lowers, first_id: int, disk_bytes: int
    ) -> tuple[int, int, int]:
        """Writable overlays for /, /usr and /usr/local over one new tmpfs attached at `upper`."""
        os.mkdir(upper)
        inodes = max(1024, (disk_bytes >> 20) * _INODES_PER_MIB)
        mounts.attach(mounts.tmpfs(disk_bytes, inodes), upper)
        made = []
        for letter, stack in (("r", lowers.base), ("u", lowers.usr), ("l", lowers.local)):
            top, work = f"{upper}/{letter}", f"{upper}/{letter}w"
            os.mkdir(top, 0o755)
            os.chown(top, first_id, first_id)
            os.mkdir(work, 0o700)
            made.append(mounts.overlay(stack, top, work))
        return made[0], made[1], made[2]

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


def _detach(path: str) -> None:
    with contextlib.suppress(OSError):  # EINVAL: nothing is mounted there
        syscalls.umount2(path)
