"""Unpacking the tar of a whole image into a tree on disk, by a child of the spawner.

The tar was made from something a stranger published: names are taken apart and walked from an open directory without
following links, no member can be written through another, and only files, directories and links come out.
"""

import contextlib
import errno
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from tidepool.engine.spawner import copying, protocol

MAX_MEMBERS = 400_000
MAX_BYTES = 32 << 30
_PARTS = (("usr/local/", "l"), ("usr/", "u"), ("", "r"))
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK = 1 << 20
_NEEDED = {
    "dev": 0o755,
    "proc": 0o555,
    "sys": 0o555,
    "tmp": 0o1777,
    "root": 0o700,
    "mnt": 0o755,
    "home": 0o755,
}
_USER = "daytona:x:1000:1000:daytona:/home/daytona:/bin/sh\n"
_GROUP = "daytona:x:1000:\n"


def unpack(file: IO[bytes], target: Path) -> copying.Copied:
    """Unpack into `target`, which gets the parts of an image: r, u and l for /, /usr and /usr/local.

    Raises:
        OSError: The disk is full, or the tar is damaged or larger than any image (EFBIG).
    """
    copied = copying.Copied()
    tree = _Tree(target)
    try:
        with tarfile.open(fileobj=file, mode="r|") as tar:
            for count, member in enumerate(tar):
                if count > MAX_MEMBERS or copied.bytes > MAX_BYTES:
                    raise OSError(errno.EFBIG, "the image is too large")
                _member(tar, member, tree, copied)
    except (tarfile.TarError, EOFError, UnicodeError) as error:
        raise OSError(errno.EINVAL, f"the image's tar is damaged: {error}") from None
    tree.complete()
    return copied


def _member(tar: tarfile.TarFile, member: tarfile.TarInfo, tree: "_Tree", copied: copying.Copied) -> None:
    parts = [part for part in member.name.split("/") if part not in ("", ".")]
    if not parts or ".." in parts or "\0" in member.name:
        return
    try:
        if member.isdir():
            tree.directory(parts, member)
        elif member.isreg():
            source = tar.extractfile(member)
            assert source is not None
            copied.bytes += tree.file(parts, member, source)
            copied.files += 1
        elif member.issym():
            tree.link(parts, member)
        elif member.islnk():
            tree.hard_link(parts, [part for part in member.linkname.split("/") if part not in ("", ".")])
        else:
            copied.skip(member.name, "neither a file, a directory nor a link")
    except OSError as error:
        if error.errno not in (
            errno.ELOOP,
            errno.ENOTDIR,
            errno.EEXIST,
            errno.ENAMETOOLONG,
            errno.EXDEV,
            errno.ENOENT,
        ):
            raise
        copied.skip(member.name, error.strerror or str(error))


class _Tree:
    """The three parts of an image being made."""

    def __init__(self, target: Path) -> None:
        self._roots: dict[str, Path] = {}
        for _, letter in _PARTS:
            (target / letter).mkdir()
            self._roots[letter] = target / letter
            os.chown(target / letter, *_owner(0, 0))

    def _place(self, parts: list[str]) -> tuple[str, list[str]]:
        path = "/".join(parts)
        for prefix, letter in _PARTS:
            if path.startswith(prefix) or f"{path}/" == prefix:
                return letter, parts[len(prefix.split("/")) - 1 :]
        raise AssertionError

    @contextlib.contextmanager
    def _parent(self, parts: list[str]) -> Iterator[tuple[int, str]]:
        letter, rest = self._place(parts)
        fd = os.open(self._roots[letter], _DIRECTORY)
        try:
            for part in rest[:-1]:
                try:
                    inner = os.open(part, _DIRECTORY, dir_fd=fd)
                except FileNotFoundError:
                    os.mkdir(part, 0o755, dir_fd=fd)
                    os.chown(part, *_owner(0, 0), dir_fd=fd)
                    inner = os.open(part, _DIRECTORY, dir_fd=fd)
                os.close(fd)
                fd = inner
            yield fd, rest[-1] if rest else ""
        finally:
            os.close(fd)

    def directory(self, parts: list[str], member: tarfile.TarInfo) -> None:
        with self._parent(parts) as (parent, name):
            if name:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, 0o700, dir_fd=parent)
                inner = os.open(name, _DIRECTORY, dir_fd=parent)
            else:
                inner = os.dup(parent)
            try:
                os.fchown(inner, *_owner(member.uid, member.gid))
                os.fchmod(inner, member.mode & 0o1777)
            finally:
                os.close(inner)

    def file(self, parts: list[str], member: tarfile.TarInfo, source: IO[bytes]) -> int:
        with self._parent(parts) as (parent, name):
            fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=parent)
            size = 0
            with os.fdopen(fd, "wb") as out:
                while data := source.read(_CHUNK):
                    size += out.write(data)
                os.fchown(fd, *_owner(member.uid, member.gid))
                os.fchmod(fd, member.mode & 0o1777)
            os.utime(name, (member.mtime, member.mtime), dir_fd=parent, follow_symlinks=False)
            return size

    def link(self, parts: list[str], member: tarfile.TarInfo) -> None:
        with self._parent(parts) as (parent, name):
            os.symlink(member.linkname, name, dir_fd=parent)
            os.chown(name, *_owner(member.uid, member.gid), dir_fd=parent, follow_symlinks=False)

    def hard_link(self, parts: list[str], source: list[str]) -> None:
        if not source or ".." in source:
            raise OSError(errno.ENOENT, "it links to nothing in the image")
        with self._parent(source) as (from_parent, from_name), self._parent(parts) as (parent, name):
            os.link(from_name, name, src_dir_fd=from_parent, dst_dir_fd=parent, follow_symlinks=False)

    def complete(self) -> None:
        """What every sandbox needs: places to mount on, and its user."""
        for name, mode in _NEEDED.items():
            with contextlib.suppress(OSError):  # a link in its place is the image's own affair
                self.directory([name], _plain(name, mode, 0))
        for letter, mount_point in (("r", "usr"), ("u", "local")):  # where the next part is mounted
            place = self._roots[letter] / mount_point
            place.mkdir()
            os.chown(place, *_owner(0, 0))
        with contextlib.suppress(OSError):
            self.directory(["home", "daytona"], _plain("home/daytona", 0o755, 1000))
        self._append("passwd", _USER)
        self._append("group", _GROUP)

    def _append(self, name: str, line: str) -> None:
        with contextlib.suppress(OSError), self._parent(["etc", name]) as (parent, leaf):
            fd = os.open(leaf, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o644, dir_fd=parent)
            with os.fdopen(fd, "r+b") as file:
                text = file.read(1 << 20)
                if b"\ndaytona:" not in b"\n" + text:
                    file.write((b"" if not text or text.endswith(b"\n") else b"\n") + line.encode())
                    os.fchown(fd, *_owner(0, 0))


def _plain(name: str, mode: int, uid: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.mode, member.uid, member.gid = mode, uid, uid
    return member


def _owner(uid: int, gid: int) -> tuple[int, int]:
    """Ids on disk: those a slice has no room for become nobody's."""
    last = protocol.SLICE - 1
    inside = [number if 0 <= number < last else last for number in (uid, gid)]
    return protocol.STORED_UID + inside[0], protocol.STORED_UID + inside[1]
