"""Files of one sandbox: opened inside by its init as its user, read and written here on descriptors that were checked.

The host never resolves a path of a sandbox. A descriptor is used only when it is a regular file on the sandbox's own
overlay or tmpfs: procfs and device files are refused (their reads can block or describe the host).
"""

import asyncio
import errno
import os
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import msgspec

from tidepool.engine.channel import Channel, close_all
from tidepool.engine.errors import (
    AccessDenied,
    Conflict,
    InvalidSpec,
    NoSpace,
    NotFound,
    Refused,
    SandboxLost,
)
from tidepool.engine.guest import filesystem, syscalls
from tidepool.engine.spec import HOME

MAX_READ = 64 << 20
_CHUNK = 1 << 18
_INLINE = 1 << 16
"""Up to this size a read or write is done on the loop: it is page cache, and a thread hop costs more."""
_OWN_FILESYSTEMS = frozenset({0x794C7630, 0x01021994})
"""OVERLAYFS_SUPER_MAGIC and TMPFS_MAGIC (statfs(2))."""
_TIMEOUT_S = 60.0

Answer = tuple[dict[str, Any], list[int]]
"""What init said, and the descriptors it passed."""
_Size = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
_Id = Annotated[int, msgspec.Meta(ge=0, lt=1 << 32)]
T = TypeVar("T")


class _Entry(msgspec.Struct):
    """What init says of one entry of a directory."""

    name: str
    where: str
    link: bool
    mode: _Id
    size: _Size
    mtime: float
    uid: _Id
    gid: _Id


class _Found(msgspec.Struct):
    entry: _Entry


class _Page(msgspec.Struct):
    entries: list[_Entry]
    more: bool


class _Space(msgspec.Struct):
    total: _Size
    free: _Size


class _Failure(msgspec.Struct):
    errno: Annotated[int, msgspec.Meta(ge=0, lt=4096)]


@dataclass(frozen=True)
class FileInfo:
    """One entry of a directory as seen inside the sandbox."""

    path: str
    """As it was asked for; in a listing, joined to the directory asked for."""
    name: str
    is_dir: bool
    is_symlink: bool
    size: int
    """Bytes."""
    mode: int
    """Permission bits."""
    modified_at: float
    """Unix seconds."""
    uid: int
    gid: int


class Download:
    """An open file: its size and its content."""

    def __init__(self, fd: int, size: int) -> None:
        self._fd = fd
        self.size = size
        """Bytes at the time of opening; `chunks` never yields more."""

    async def chunks(self) -> AsyncIterator[bytes]:
        """The content in pieces of at most 256 KiB.

        Raises:
            SandboxLost: The file became shorter while it was read: what was announced cannot be delivered.
        """
        left = self.size
        while left:
            wanted = min(_CHUNK, left)
            data = (
                os.read(self._fd, wanted)
                if wanted <= _INLINE
                else await asyncio.to_thread(os.read, self._fd, wanted)
            )
            if not data:
                raise SandboxLost("the file was shortened while it was read")
            left -= len(data)
            yield data


class Files:
    """What one sandbox's user can do with files."""

    def __init__(
        self, channel: Channel, uid: int, base: str = HOME, filesystems: frozenset[int] = frozenset()
    ) -> None:
        self._channel = channel
        self._filesystems = _OWN_FILESYSTEMS | filesystems
        """Types on which a sandbox's own files are."""
        self._who = {"uid": uid, "gid": uid, "base": base}

    async def info(self, path: str) -> FileInfo:
        """What stands at a path; a link is followed.

        Raises:
            NotFound, AccessDenied, InvalidSpec.
        """
        return _file_info(_checked(await self._ask("info", path), _Found).entry, path)

    async def list(self, path: str, depth: int = 1) -> "list[FileInfo]":
        """What is in a directory, `depth` levels down, sorted by name; links are not followed.

        At most 20,000 entries.

        Raises:
            NotFound, AccessDenied, InvalidSpec: `path` is no directory, or depth is less than 1.
        """
        if depth < 1:
            raise InvalidSpec(f"depth is {depth}; it must be at least 1")
        found: list[FileInfo] = []
        while len(found) < filesystem.MAX_ENTRIES:
            page = _checked(await self._ask("list", path, depth=depth, skip=len(found)), _Page)
            found += [_file_info(entry, os.path.join(path, entry.where)) for entry in page.entries]
            if not page.more or not page.entries:
                break
        return found[: filesystem.MAX_ENTRIES]

    async def make_folder(self, path: str, mode: int = 0o755) -> None:
        """Make a directory and its parents; it may exist."""
        await self._ask("mkdir", path, mode=mode)

    async def delete(self, path: str, recursive: bool = False) -> None:
        """Delete a file, a link, or with `recursive` a directory and all below.

        Raises:
            InvalidSpec: It is a directory and `recursive` is false.
        """
        answer = await self._ask("delete", path, recursive=recursive)
        if answer.get("is_directory"):
            raise InvalidSpec(f"{path} is a directory; ask for recursive to delete it with its content")

    async def move(self, source: str, destination: str) -> None:
        """Rename or move.

        Raises:
            Conflict: Something stands at the destination.
        """
        _check_path(destination)
        answer = await self._ask("move", source, destination=destination)
        if answer.get("exists"):
            raise Conflict(f"{destination} exists already")

    async def set_permissions(
        self, path: str, mode: int | None = None, owner: str | None = None, group: str | None = None
    ) -> None:
        """Change mode bits, owner and group (names or numbers as inside)."""
        await self._ask("permissions", path, mode=mode, owner=owner, group=group)

    async def space(self, path: str) -> tuple[int, int]:
        """How many bytes the filesystem has that `path` is on, and how many of them are free.

        Raises:
            NotFound, AccessDenied, InvalidSpec.
        """
        space = _checked(await self._ask("space", path), _Space)
        return space.total, space.free

    async def read(self, path: str) -> bytes:
        """A whole file of at most 64 MiB.

        Raises:
            InvalidSpec: It is larger, or no regular file.
        """
        async with self.open_read(path) as download:
            if download.size > MAX_READ:
                raise InvalidSpec(f"{path} has {download.size} bytes; at most {MAX_READ} can be read at once")
            return b"".join([chunk async for chunk in download.chunks()])

    @asynccontextmanager
    async def open_read(self, path: str) -> AsyncIterator[Download]:
        """An open file, for reading piece by piece."""
        fd = await self._open("open_read", path)
        try:
            yield Download(fd, os.fstat(fd).st_size)
        finally:
            os.close(fd)

    async def write(self, path: str, data: bytes | AsyncIterator[bytes]) -> int:
        """Write a file: parents are made, what was there is replaced. Returns how many bytes it now has.

        Raises:
            NoSpace: The sandbox's disk is full; what was written so far stays.
        """
        fd = await self._open("open_write", path)
        try:
            if isinstance(data, bytes):
                return await _write_all(fd, data, path)
            total = 0
            async for chunk in data:
                total += await _write_all(fd, chunk, path)
            return total
        finally:
            os.close(fd)

    async def _open(self, operation: str, path: str) -> int:
        answer, fds = await self._call(operation, path, {})
        if "not_regular" in answer:
            close_all(fds)
            raise InvalidSpec(f"{path} is a {_kind(answer['not_regular'])}, not a regular file")
        if len(fds) != 1:
            close_all(fds)
            raise SandboxLost("the sandbox answered without the file")
        if not _is_own_file(fds[0], self._filesystems):
            close_all(fds)
            raise InvalidSpec(f"{path} is not a file of the sandbox's own disk")
        return fds[0]

    async def _ask(self, operation: str, path: str, **more: Any) -> dict[str, Any]:
        answer, fds = await self._call(operation, path, more)
        close_all(fds)
        return answer

    async def _call(self, operation: str, path: str, more: dict[str, Any]) -> Answer:
        _check_path(path)
        message = {"op": operation, "path": path, **self._who, **more}
        answer, fds = await self._channel.call(message, timeout_s=_TIMEOUT_S)
        if "lost" in answer or "errno" in answer:
            close_all(fds)
            raise _error(answer, path)
        return answer, fds


def _check_path(path: str) -> None:
    if not path or "\0" in path:
        raise InvalidSpec("the path is empty" if not path else "the path contains a NUL byte")
    try:
        size = len(path.encode())
    except UnicodeEncodeError:
        raise InvalidSpec("the path holds a lone surrogate, which no UTF-8 can say") from None
    if size > 4096:
        raise InvalidSpec("the path is longer than 4,096 bytes")


def _error(answer: dict[str, Any], path: str) -> Exception:
    """The exception for what the sandbox answered."""
    if "lost" in answer:
        return SandboxLost(str(answer["lost"]))
    try:
        code = _checked(answer, _Failure).errno
    except SandboxLost as error:
        return error
    kinds: dict[int, tuple[type[Refused], str]] = {
        errno.ENOENT: (NotFound, f"{path} does not exist"),
        errno.EACCES: (AccessDenied, f"the sandbox's user may not access {path}"),
        errno.EPERM: (AccessDenied, f"the sandbox's user may not change {path}"),
        errno.EROFS: (AccessDenied, f"{path} is on a read-only filesystem"),
        errno.EEXIST: (Conflict, f"{path} exists already"),
        errno.ENOSPC: (NoSpace, f"the sandbox's disk is full: {path}"),
        errno.EDQUOT: (NoSpace, f"the sandbox's disk is full: {path}"),
    }
    kind, text = kinds.get(code, (InvalidSpec, f"{path}: {os.strerror(code)}"))
    return kind(text)


def _checked(answer: dict[str, Any], kind: type[T]) -> T:
    """An answer of init as it should be; more in it is left alone."""
    try:
        return msgspec.convert(answer, kind)
    except msgspec.ValidationError:
        raise SandboxLost("the sandbox sent an answer that is not valid") from None


def _kind(mode: Any) -> str:
    names = {stat.S_IFDIR: "directory", stat.S_IFIFO: "FIFO", stat.S_IFSOCK: "socket", stat.S_IFCHR: "device"}
    return names.get(mode, "special file") if isinstance(mode, int) else "special file"


def _is_own_file(fd: int, filesystems: frozenset[int]) -> bool:
    """A regular file on an overlay, a tmpfs or a volume: all a sandbox has mounted besides procfs and devpts."""
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        return False
    return syscalls.filesystem_type(fd) in filesystems


def _file_info(entry: _Entry, path: str) -> FileInfo:
    return FileInfo(
        path=path,
        name=entry.name,
        is_dir=stat.S_ISDIR(entry.mode),
        is_symlink=entry.link,
        size=entry.size,
        mode=stat.S_IMODE(entry.mode),
        modified_at=entry.mtime,
        uid=entry.uid,
        gid=entry.gid,
    )


async def _write_all(fd: int, data: bytes, path: str) -> int:
    try:
        if len(data) <= _INLINE:
            _write(fd, data)
        else:
            await asyncio.to_thread(_write, fd, data)
    except OSError as error:
        raise _error({"errno": error.errno}, path) from None
    return len(data)


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
