"""File requests, carried out inside the sandbox as its own user: what is opened here cannot be outside of it.

Paths are resolved by the kernel in this mount namespace with the user's rights (setfsuid(2)); init's own capabilities
do not count. A descriptor that leaves is checked again by the host. Nothing here blocks: FIFOs and devices are opened
O_NONBLOCK and refused by the caller.
"""

import contextlib
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

Answer = tuple[dict[str, Any], int]


def perform(message: dict[str, Any]) -> Answer:
    """Carry out one request as the user it names.

    Raises:
        OSError: As the system call gave it.
    """
    operation = _OPERATIONS.get(message["op"])
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
        shutil.rmtree(path)  # fd-relative on Linux: never follows a link
    else:
        return {"is_directory": True}, -1
    return {}, -1


def _move(message: dict[str, Any]) -> Answer:
    source, destination = _path(message), _absolute(message["destination"], message["base"])
    os.lstat(source)
    if os.path.lexists(destination):
        return {"exists": True}, -1
    os.makedirs(os.path.dirname(destination), exist_ok=True)
    shutil.move(source, destination)
    return {}, -1


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
    with open(f"/etc/{table}", encoding="utf-8", errors="replace") as file:
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


_OPERATIONS: dict[str, Callable[[dict[str, Any]], Answer]] = {
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
