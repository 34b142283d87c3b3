"""Copying a sandbox's own files: from its tmpfs to disk when it is stopped or frozen, and back when it starts.

What is copied was arranged by an adversary and may even be changing. Every step therefore goes from an open directory
to a name in it and follows no link; only plain files, directories, links, fifos and overlay whiteouts come through, and
of the overlay's attributes only `opaque`. Runs in a child process of the spawner that ends with the copy.
"""

import contextlib
import errno
import os
import resource
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

from tidepool.engine.kernel import mounts

_MAX_DEPTH = 4000
"""Deeper than any path that a program can open by name (PATH_MAX is 4096)."""
_AT_ONCE = 200
"""Levels that are removed with a call and a descriptor for each."""
_MAX_XATTR = 64 << 10
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK = 16 << 20

Ids = Callable[[int], int]


def shift(source_first: int, target_first: int, count: int) -> Ids:
    """Maps ids of one slice to another; what is in neither becomes the slice's last id, which is nobody."""

    def mapped(number: int) -> int:
        inside = number - source_first
        return target_first + (inside if 0 <= inside < count else count - 1)

    return mapped


@dataclass
class Copied:
    """What a copy came to."""

    bytes: int = 0
    files: int = 0
    skipped: list[str] = field(default_factory=list)
    """A sentence for each thing that could not be kept; at most 20."""

    def skip(self, name: str, why: str) -> None:
        """Note that `name` was left out."""
        if len(self.skipped) < 20:
            self.skipped.append(f"{name[:200]!a}: {why}")


class Copy:
    """One copy of a tree; used once."""

    def __init__(self, ids: Ids, over: bool = False) -> None:
        self._ids = ids
        self._over = over
        """Whether the target may hold something already, which this lies on top of."""
        self._links: dict[tuple[int, int], str] = {}
        self._target = -1
        self.copied = Copied()

    def run(self, source: int, target: int) -> Copied:
        """Copy what is in the open directory `source` into the open, empty directory `target`.

        Raises:
            OSError: The target takes no more, or there are more levels than any path has.
        """
        _allow_depth()
        self._target = target
        self._directory(source, target, "", 0)
        return self.copied

    def _directory(self, source: int, target: int, path: str, depth: int) -> None:
        if depth > _MAX_DEPTH:
            raise OSError(errno.ENAMETOOLONG, "directories are nested too deeply")
        for name in os.listdir(source):
            below = f"{path}{name}"
            try:
                entry = os.stat(name, dir_fd=source, follow_symlinks=False)
                self._entry(entry, name, source, target, below, depth)
            except FileNotFoundError:
                continue  # it has gone while the sandbox was running
            except OSError as error:
                if error.errno not in (
                    errno.EFBIG,
                    errno.ELOOP,
                    errno.ENOTDIR,
                    errno.ENXIO,
                    errno.EOPNOTSUPP,
                ):
                    raise
                self.copied.skip(below, error.strerror or str(error))
        _describe(target, os.fstat(source), self._ids)
        self._attributes(source, target)

    def _entry(
        self, entry: os.stat_result, name: str, source: int, target: int, path: str, depth: int
    ) -> None:
        if stat.S_ISDIR(entry.st_mode):
            inner = os.open(name, _DIRECTORY, dir_fd=source)
            try:
                if not self._over or self._make_room(target, name, inner):
                    os.mkdir(name, 0o700, dir_fd=target)
                made = os.open(name, _DIRECTORY, dir_fd=target)
                try:
                    self._directory(inner, made, f"{path}/", depth + 1)
                finally:
                    os.close(made)
            finally:
                os.close(inner)
            return
        key = (entry.st_dev, entry.st_ino)
        if entry.st_nlink > 1 and key in self._links:
            # Too long for a link by name: then it is copied like any other.
            with contextlib.suppress(OSError):
                os.link(
                    self._links[key], name, src_dir_fd=self._target, dst_dir_fd=target, follow_symlinks=False
                )
                return
        if self._over:
            self._make_room(target, name, None)
        self._leaf(entry, name, source, target, path)
        if entry.st_nlink > 1:
            self._links[key] = path
        self.copied.files += 1

    def _make_room(self, target: int, name: str, directory: int | None) -> bool:
        """Take away what lies below in the way; False when it is a directory that this one adds to."""
        try:
            there = os.stat(name, dir_fd=target, follow_symlinks=False)
        except FileNotFoundError:
            return True
        if not stat.S_ISDIR(there.st_mode):
            os.unlink(name, dir_fd=target)
            return True
        if directory is not None and _opaque() not in os.listxattr(directory):
            return False
        remove_tree(target, name)
        return True

    def _leaf(self, entry: os.stat_result, name: str, source: int, target: int, path: str) -> None:
        mode = entry.st_mode
        if stat.S_ISREG(mode):
            self._file(name, source, target)
            return
        if stat.S_ISLNK(mode):
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
        elif stat.S_ISFIFO(mode):
            os.mkfifo(name, 0o600, dir_fd=target)
            os.chmod(name, mode & 0o777, dir_fd=target)
        elif stat.S_ISCHR(mode) and entry.st_rdev == 0:
            os.mknod(name, stat.S_IFCHR, 0, dir_fd=target)  # a whiteout: the file below is deleted
        else:
            self.copied.skip(path, "neither a file, a directory nor a link")
            return
        os.chown(name, self._ids(entry.st_uid), self._ids(entry.st_gid), dir_fd=target, follow_symlinks=False)
        os.utime(name, ns=(entry.st_atime_ns, entry.st_mtime_ns), dir_fd=target, follow_symlinks=False)

    def _file(self, name: str, source: int, target: int) -> None:
        opened = os.open(name, _FILE, dir_fd=source)
        try:
            entry = os.fstat(opened)
            if not stat.S_ISREG(entry.st_mode):
                raise FileNotFoundError(name)  # changed under us: what is there now is seen next time
            made = os.open(name, _NEW_FILE, 0o600, dir_fd=target)
            try:
                self.copied.bytes += _contents(opened, made, entry.st_size)
                _describe(made, entry, self._ids)
                self._attributes(opened, made)
            except OSError:
                os.unlink(name, dir_fd=target)
                raise
            finally:
                os.close(made)
        finally:
            os.close(opened)

    def _attributes(self, source: int, target: int) -> None:
        opaque, overlays = _opaque(), mounts.attribute_prefix()
        for name in os.listxattr(source):
            if name != opaque and (name.startswith(overlays) or not name.startswith("user.")):
                continue
            value = os.getxattr(source, name)
            if len(value) <= _MAX_XATTR:
                try:
                    os.setxattr(target, name, value)
                except OSError as error:
                    if name == opaque or error.errno not in (errno.EOPNOTSUPP, errno.ENOSPC, errno.E2BIG):
                        raise
                    self.copied.skip(name, f"attribute not kept: {error.strerror}")


def _opaque() -> str:
    """The attribute of a directory that hides what lies below it."""
    return f"{mounts.attribute_prefix()}opaque"


def _describe(target: int, entry: os.stat_result, ids: Ids) -> None:
    os.fchown(target, ids(entry.st_uid), ids(entry.st_gid))
    # Nothing of a sandbox is ever set-uid; set-gid says whose a directory's new files are.
    kept = 0o3777 if stat.S_ISDIR(entry.st_mode) else 0o1777
    os.fchmod(target, entry.st_mode & kept)
    os.utime(target, ns=(entry.st_atime_ns, entry.st_mtime_ns))


def _contents(source: int, target: int, size: int) -> int:
    """Copy data and keep holes: a sparse file may be larger than any disk. Returns bytes of data."""
    os.ftruncate(target, size)
    copied = at = 0
    while at < size:
        try:
            at = os.lseek(source, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # only a hole is left
                return copied
            raise
        end = min(os.lseek(source, at, os.SEEK_HOLE), size)
        os.lseek(source, at, os.SEEK_SET)
        os.lseek(target, at, os.SEEK_SET)
        while at < end:
            count = os.sendfile(target, source, None, min(_CHUNK, end - at))
            if count == 0:
                return copied  # it has been cut meanwhile
            at += count
            copied += count
    return copied


def _allow_depth() -> None:
    """Let this process, which does nothing but copy, have a call and two descriptors for each level."""
    sys.setrecursionlimit(_MAX_DEPTH * 3)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, _MAX_DEPTH * 3), hard))


def link_tree(source: int, target: int) -> None:
    """The same tree once more, its files as hard links: for trees on one disk that nobody changes any more."""
    _allow_depth()
    _link_tree(source, target)


def _link_tree(source: int, target: int) -> None:
    for name in os.listdir(source):
        if not stat.S_ISDIR(os.stat(name, dir_fd=source, follow_symlinks=False).st_mode):
            os.link(name, name, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
            continue
        inner = os.open(name, _DIRECTORY, dir_fd=source)
        try:
            os.mkdir(name, 0o700, dir_fd=target)
            made = os.open(name, _DIRECTORY, dir_fd=target)
            try:
                _link_tree(inner, made)
            finally:
                os.close(made)
        finally:
            os.close(inner)
    _describe(target, os.fstat(source), lambda number: number)
    if _opaque() in os.listxattr(source):
        os.setxattr(target, _opaque(), b"y")


def remove_tree(parent: int, name: str) -> None:
    """Remove a directory tree below an open directory; no error when it is not there. Follows no link.

    What lies deeper than a call and a descriptor for each level allow is taken to the top, and removed from there.
    """
    try:
        top = os.open(name, _DIRECTORY, dir_fd=parent)
    except FileNotFoundError:
        return
    except NotADirectoryError:
        os.unlink(name, dir_fd=parent)
        return
    try:
        while _empty(top, top, 0):
            pass
    finally:
        os.close(top)
    os.rmdir(name, dir_fd=parent)


def _empty(directory: int, top: int, depth: int) -> bool:
    """Remove what is in an open directory; whether something of it was taken to the top instead."""
    taken_up = False
    for name in os.listdir(directory):
        if not stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
            os.unlink(name, dir_fd=directory)
        elif depth == _AT_ONCE:
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
