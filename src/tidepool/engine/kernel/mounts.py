"""Building mounts: tmpfs, overlays, idmapped clones (mount(2), overlayfs documentation, mount_setattr(2)).

Paths given here are the spawner's own and relative to its work directory, because overlayfs shows them to whoever can
read mountinfo: no path of the host appears inside a sandbox.
"""

import errno
import os

from tidepool.engine.guest import syscalls
from tidepool.engine.kernel import userns

_WITHOUT_ID_MAPS = "that takes no id maps; put it on one such as ext4 (a tmpfs takes them since Linux 6.3)"
NOSUID_NODEV = syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NODEV


def tmpfs(size_bytes: int, inodes: int, mode: str = "0755", attributes: int = NOSUID_NODEV) -> int:
    """A detached tmpfs; returns its mount fd."""
    options = {"size": str(size_bytes), "nr_inodes": str(inodes), "mode": mode}
    return syscalls.new_mount("tmpfs", dict(options), attributes)


def idmapped_clone(path: str, userns_fd: int) -> int:
    """A detached read-only clone of the mount at `path` (that mount alone, no submounts) with ids mapped.

    Its superblock is the host's: it must never leave the spawner (a holder with capabilities in its own user namespace
    could clear the read-only flag; the superblock would then take the write).

    Raises:
        OSError: EINVAL, in a sentence, where the filesystem takes no id maps; else as mount_setattr(2).
    """
    fd = syscalls.open_tree(path)
    try:
        bits = syscalls.MOUNT_ATTR_IDMAP | syscalls.MOUNT_ATTR_RDONLY | NOSUID_NODEV
        syscalls.mount_setattr(fd, bits, userns_fd=userns_fd)
    except OSError as error:
        os.close(fd)
        if error.errno == errno.EINVAL:
            raise OSError(errno.EINVAL, f"{path} is on a filesystem {_WITHOUT_ID_MAPS}") from None
        raise
    return fd


def attribute_prefix() -> str:
    """How the names of overlays' own extended attributes begin, for those that this process mounts (or prepares for).

    `trusted.` ones are for root of the host alone; overlays of a user namespace go by `user.` ones (overlayfs:
    userxattr). Neither can be written through an overlay, so nobody inside can.
    """
    return "trusted.overlay." if userns.owns_host() else "user.overlay."


def overlay(lowers: list[str], upper: str | None = None, work: str | None = None) -> int:
    """A detached overlay, lower-only (hence read-only) without `upper`; returns its mount fd.

    Its attributes (see `attribute_prefix`) cannot be written inside a sandbox. metacopy and redirect_dir stay off for
    the same reason; with userxattr they cannot be on.
    """
    options: dict[str, str | None] = {"lowerdir": ":".join(lowers), "metacopy": "off"}
    options |= {"redirect_dir": "off"} if userns.owns_host() else {"userxattr": None}
    if upper is not None and work is not None:
        options |= {"upperdir": upper, "workdir": work, "index": "off"}
    elif len(lowers) == 1:
        raise ValueError("a lower-only overlay needs two lowers")  # the kernel's rule
    return syscalls.new_mount("overlay", options, NOSUID_NODEV)


def attach(mount_fd: int, target: str) -> None:
    """Attach a detached mount at an existing directory and close the fd."""
    try:
        syscalls.move_mount(mount_fd, target)
    finally:
        os.close(mount_fd)
