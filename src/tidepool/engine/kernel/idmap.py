"""User namespaces that exist only to be an id mapping: for sandboxes' own maps and for idmapped mounts.

user_namespaces(7), mount_setattr(2) MOUNT_ATTR_IDMAP. The namespace is made here, never by a sandbox, so nobody inside
holds a capability in it.
"""

import os

from tidepool.engine.guest import syscalls

Extent = tuple[int, int, int]
"""First id inside, first id outside, how many."""


def write_maps(pid: int, extents: list[Extent]) -> None:
    """Write the same uid and gid map for a process that has made a user namespace.

    Raises:
        OSError: The process has no fresh user namespace, or the caller may not map these ids.
    """
    text = "\n".join(f"{inside} {outside} {count}" for inside, outside, count in extents)
    for file in ("uid_map", "gid_map"):
        fd = os.open(f"/proc/{pid}/{file}", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)


def create(extents: list[Extent]) -> int:
    """A user namespace with this map and no process in it; returns its fd."""
    ready_read, ready_write = os.pipe()
    done_read, done_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        _hold(ready_write, done_write, done_read)
    os.close(ready_write)
    os.close(done_read)
    try:
        if os.read(ready_read, 1) != b"1":
            raise OSError(
                f"no user namespace for an id map: {os.strerror(int(os.read(ready_read, 8) or b'1'))}"
            )
        write_maps(pid, extents)
        return os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(ready_read)
        os.close(done_write)
        os.waitpid(pid, 0)


def _hold(ready: int, other_end: int, done: int) -> None:
    """In the child: make the namespace, say so, wait until the map is written."""
    os.close(other_end)
    try:
        syscalls.unshare(syscalls.CLONE_NEWUSER)
        os.write(ready, b"1")
        os.read(done, 1)
    except OSError as error:
        os.write(ready, b"0%d" % (error.errno or 1))
    os._exit(0)
