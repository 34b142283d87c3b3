"""File requests, carried out inside the sandbox as its own user: what is opened here cannot be outside of it.

Paths are resolved by the kernel in this mount namespace with the user's rights (setfsuid(2)); init's own capabilities
do not count. A descriptor that leaves is checked again by the host. Nothing here blocks: FIFOs and devices are opened
O_NONBLOCK and refused by the caller.
"""

import contextlib
import errno
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from typing import Any

from tidepool.engine.guest import syscalls

MAX_ENTRIES = 20_000
"""Entries of one listing."""
_PAGE = 400
"""Entries of one answer, so that it fits a frame whatever the names are."""

_PROCFS = 0x9FA0
_DEEP = 200
"""Levels of a tree that are removed at once."""
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

Answer = tuple[dict[str, Any], int]


def perform(message: dict[str, Any]) -> Answer:
    """Carry out one request as the user it names.

    Raises:
        OSError: As the system call gave it.
    """
    operation = OPERATIONS.get(message["op"])
    if operation is None:
        raise OSError(38, f"unknown operation {message['op']!r}")
    with acting_as(int(message["uid"]), int(message["gid"])):
        return operation(message)


@contextlib.contextmanager
def acting_as(uid: int, gid: int) -> Iterator[None]:
    """File access with another user's rights; back to root afterwards."""
    syscalls.setfsids(uid, gid)
    try:
        yield
    finally:
        syscalls.setfsids(0, 0)


def _open_read(message: dict[str, Any]) -> Answer:
    fd = os.open(_path(message), os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    return _only_regular(fd)


def _open_write(message: dict[str, Any]) -> Answer:
    path = _path(message)
    flags = os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        fd = os.open(path, flags, 0o644)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        fd = os.open(path, flags, 0o644)
    answer = _only_regular(fd)
    if answer[1] >= 0:
        os.ftruncate(fd, 0)
    return answer


def _only_regular(fd: int) -> Answer:
    info = os.fstat(fd)
    if not stat.S_ISREG(info.st_mode):
        os.close(fd)
        return {"not_regular": stat.S_IFMT(info.st_mode)}, -1
    return {"size": info.st_size}, fd


def _info(message: dict[str, Any]) -> Answer:
    path = _path(message)
    return {"entry": _entry(path, os.path.basename(path.rstrip("/")) or "/")}, -1


def _list(message: dict[str, Any]) -> Answer:
    path, depth, skip = _path(message), int(message["depth"]), int(message["skip"])
    found: list[dict[str, Any]] = []
    more = False
    for number, (where, name) in enumerate(_walk(path, depth)):
        if number < skip:
            continue
        if len(found) == _PAGE or number >= MAX_ENTRIES:
            more = number < MAX_ENTRIES
            break
        with contextlib.suppress(FileNotFoundError):  # removed while we list
            found.append(_entry(os.path.join(path, where), name, where))
    return {"entries": found, "more": more}, -1


def _walk(top: str, depth: int) -> Iterator[tuple[str, str]]:
    """(path relative to top, name) of everything below, sorted, never following a link."""
    todo = [("", depth)]
    while todo:
        relative, left = todo.pop()
        with os.scandir(os.path.join(top, relative)) as scan:
            entries = sorted(scan, key=lambda entry: os.fsencode(entry.name))
        for entry in entries:
            where = os.path.join(relative, entry.name)
            yield where, entry.name
            if left > 1 and entry.is_dir(follow_symlinks=False):
                todo.append((where, left - 1))


def _entry(path: str, name: str, where: str = "") -> dict[str, Any]:
    info = os.lstat(path)
    link = stat.S_ISLNK(info.st_mode)
    if link:
        with contextlib.suppress(OSError):  # a dangling link is shown as itself
            info = os.stat(path)
    return {
        "name": _text(name),
        "where": _text(where),
        "link": link,
        "mode": info.st_mode,
        "size": info.st_size,
        "mtime": info.st_mtime,
        "uid": info.st_uid,
        "gid": info.st_gid,
    }


def _text(name: str) -> str:
    """A name as a frame can carry it: a byte that is no UTF-8 becomes U+FFFD."""
    return os.fsencode(name).decode("utf-8", "replace")


def _mkdir(message: dict[str, Any]) -> Answer:
    path, mode = _path(message), int(message["mode"])
    os.makedirs(path, exist_ok=True)
    os.chmod(path, mode)
    return {}, -1


def _delete(message: dict[str, Any]) -> Answer:
    path = _path(message)
    if not stat.S_ISDIR(os.lstat(path).st_mode):
        os.unlink(path)
    elif message["recursive"]:
        _remove(path)
    else:
        return {"is_directory": True}, -1
    return {}, -1


def _move(message: dict[str, Any]) -> Answer:
    source, destination = _path(message), _absolute(message["destination"], message["base"])
    os.lstat(source)
    if os.path.lexists(destination):
        return {"exists": True}, -1
    os.makedirs(os.path.dirname(destination), exist_ok=True)
    try:
        os.rename(source, destination)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        shutil.move(source, destination, copy_function=_copy_plain)
    return {}, -1


def _copy_plain(source: str, destination: str) -> str:
    """One file to another filesystem; a device, or some of procfs, would be read without end.

    Raises:
        OSError: It is no regular file, or one of procfs.
    """
    fd = os.open(source, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode) or syscalls.filesystem_type(fd) == _PROCFS:
            raise OSError(
                errno.EINVAL, "only files, directories and links can be moved to another filesystem"
            )
        return str(shutil.copy2(source, destination))
    finally:
        os.close(fd)


def _remove(path: str) -> None:
    """Remove a directory and all below it, however deep: from open directories, following no link.

    What lies deeper than a call and a descriptor for each level allow is taken to the top, and removed from there.
    """
    top = os.open(path, _DIRECTORY)
    try:
        taken_up = _empty(top, top, 0)
        while taken_up:
            taken_up = _empty(top, top, 0)
    finally:
        os.close(top)
    os.rmdir(path)


def _empty(directory: int, top: int, depth: int) -> bool:
    """Remove what is in an open directory; whether something of it was taken to the top instead."""
    taken_up = False
    for name in os.listdir(directory):
        if not stat.S_ISDIR(os.lstat(name, dir_fd=directory).st_mode):
            os.unlink(name, dir_fd=directory)
        elif depth == _DEEP:
            os.rename(name, os.urandom(16).hex(), src_dir_fd=directory, dst_dir_fd=top)
            taken_up = True
        else:
            inner = os.open(name, _DIRECTORY, dir_fd=directory)
            try:
                taken_up |= _empty(inner, top, depth + 1)
            finally:
                os.close(inner)
            os.rmdir(name, dir_fd=directory)
    return taken_up


def _permissions(message: dict[str, Any]) -> Answer:
    path = _path(message)
    owner, group = _identity(message["owner"], "passwd"), _identity(message["group"], "group")
    if owner >= 0 or group >= 0:
        os.chown(path, owner, group)
    if message["mode"] is not None:
        os.chmod(path, int(message["mode"]))
    return {}, -1


def _space(message: dict[str, Any]) -> Answer:
    found = os.statvfs(_path(message))
    return {"total": found.f_blocks * found.f_frsize, "free": found.f_bavail * found.f_frsize}, -1


def _identity(name: str | None, table: str) -> int:
    """A number or a name of /etc/passwd or /etc/group inside, as an id; -1 for None."""
    if not name:
        return -1
    if name.isascii() and name.isdigit() and len(name) < 10:
        return int(name)
    fd = os.open(f"/etc/{table}", os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    with open(fd, encoding="utf-8", errors="replace") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):  # a FIFO or a device would keep us
            raise OSError(errno.EINVAL, f"/etc/{table} is not a file")
        for line in file:
            fields = line.split(":")
            if fields[0] == name and len(fields) > 2:
                return int(fields[2])
    raise OSError(22, f"no {table} entry {name!r}")


def _path(message: dict[str, Any]) -> str:
    return _absolute(message["path"], message["base"])


def _absolute(path: str, base: str) -> str:
    # normpath is left out on purpose: a/../b means what the kernel says it means when a is a link.
    return os.path.join(base, path)


OPERATIONS: dict[str, Callable[[dict[str, Any]], Answer]] = {
    "open_read": _open_read,
    "open_write": _open_write,
    "info": _info,
    "list": _list,
    "mkdir": _mkdir,
    "delete": _delete,
    "move": _move,
    "permissions": _permissions,
    "space": _space,
}
