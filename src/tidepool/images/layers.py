"""Layers of an image merged into one tar: whiteouts done, names safe, nothing privileged left.

Two passes: the names of all layers are laid over one another in memory (`Plan`), then each layer is read once more and
what is still visible of it is copied. In the output every parent comes before what is in it and every link after what
it could lead into, so that no member can be written through a link of the same tar.
"""

import contextlib
import gzip
import importlib
import stat
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

from tidepool.images.errors import BadImage

MAX_MEMBERS = 200_000
MAX_BYTES = 16 << 30
"""Unpacked, of all layers together."""
_MAX_NAME = 1024
_MAX_DEPTH = 128
_MAX_LINKS = 40
MAX_ID = 1_023
"""The highest user and group id that a sandbox has."""
_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_MODE = 0o1777
"""What is kept of a mode: no setuid, no setgid."""


@dataclass
class _Node:
    """One name; a directory when `children` is not None."""

    member: tarfile.TarInfo | None = None
    layer: int = -1
    offset: int = -1
    """Of its content's member in its layer: names with the same one are hard links of one another."""
    children: "dict[str, _Node] | None" = None
    touched: int = -1
    """The newest layer that put something here; an opaque mark of that layer spares it."""

    def names(self) -> "dict[str, _Node]":
        """What is in this directory, which it becomes if it was none."""
        if self.children is None:
            self.children = {}
        return self.children


@dataclass
class Plan:
    """What is visible when all layers lie over one another."""

    root: _Node = field(default_factory=lambda: _Node(children={}))
    members: int = 0
    bytes: int = 0

    def add(self, layer: int, tar: tarfile.TarFile) -> None:
        """Lay one layer over those that are there.

        Raises:
            BadImage: A name is not safe, or there is too much.
        """
        for member in tar:
            self.members += 1
            self.bytes += max(member.size, 0)
            if self.members > MAX_MEMBERS or self.bytes > MAX_BYTES:
                raise BadImage(f"the image has more than {MAX_MEMBERS} members or {MAX_BYTES} bytes")
            parts = safe_parts(member.name)
            if parts:
                self._put(layer, member, parts)

    def _put(self, layer: int, member: tarfile.TarInfo, parts: list[str]) -> None:
        name = parts[-1]
        if name == _OPAQUE:
            _clear_older(self._directory(parts[:-1], layer), layer)
        elif name.startswith(_WHITEOUT):
            children = self._directory(parts[:-1], layer).children or {}
            hidden = children.get(name.removeprefix(_WHITEOUT))
            if hidden is not None and hidden.touched != layer:
                del children[name.removeprefix(_WHITEOUT)]
            elif hidden is not None:
                _clear_older(hidden, layer)
        elif member.isdir() or member.isreg() or member.issym() or member.islnk():
            self._set(layer, member, parts)

    def _set(self, layer: int, member: tarfile.TarInfo, parts: list[str]) -> None:
        siblings = self._directory(parts[:-1], layer).names()
        there = siblings.get(parts[-1])
        if member.isdir():
            children = there.children if there is not None and there.children is not None else {}
            siblings[parts[-1]] = _Node(member, layer, -1, children, layer)
        elif member.islnk():
            target = self._find(safe_parts(member.linkname))
            if target is None or target.children is not None or target.member is None:
                raise BadImage(f"{ascii(member.name)[:200]} is a link to something that is not there")
            siblings[parts[-1]] = _Node(target.member, target.layer, target.offset, None, layer)
        else:
            siblings[parts[-1]] = _Node(member, layer, member.offset, None, layer)

    def _directory(self, parts: Sequence[str], layer: int) -> _Node:
        """The directory of this path, links followed inside the image, made where it is missing."""
        node, trail, waiting, links = self.root, [self.root], list(reversed(parts)), 0
        while waiting:
            part = waiting.pop()
            if part == "..":
                node = trail[-2] if len(trail) > 1 else self.root
                trail = trail[:-1] or [self.root]
                continue
            names = node.names()
            child = names.get(part)
            if child is not None and child.member is not None and child.member.issym():
                links += 1
                if links > _MAX_LINKS:
                    raise BadImage(
                        f"{ascii('/'.join(parts))[:200]} goes through more than {_MAX_LINKS} links"
                    )
                if child.member.linkname.startswith("/"):
                    node, trail = self.root, [self.root]
                waiting += reversed([one for one in child.member.linkname.split("/") if one not in ("", ".")])
                continue
            if child is None or child.children is None:
                child = names[part] = _Node(children={}, layer=layer)
            child.touched = layer
            node = child
            trail.append(node)
        node.touched = layer
        return node

    def _find(self, parts: Sequence[str]) -> _Node | None:
        node: _Node | None = self.root
        for part in parts:
            node = (node.children or {}).get(part) if node is not None else None
        return node

    def walk(self) -> Iterator[tuple[str, _Node]]:
        """Every visible path with its node, parents first."""
        waiting = [("", self.root)]
        while waiting:
            path, node = waiting.pop()
            for name, child in sorted((node.children or {}).items(), reverse=True):
                waiting.append(
                    (f"{path}{name}", child) if child.children is None else (f"{path}{name}/", child)
                )
            if path:
                yield path.removesuffix("/"), node


def safe_parts(name: str) -> list[str]:
    """The parts of a member's name, relative to the image's root; empty for the root itself.

    Raises:
        BadImage: It climbs with `..`, or is no name that can be written.
    """
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts or "\0" in name or len(name) > _MAX_NAME or len(parts) > _MAX_DEPTH:
        raise BadImage(f"{ascii(name)[:200]} is not a name that an image may have")
    if any(len(part.encode("utf-8", "surrogateescape")) > 255 for part in parts):
        raise BadImage(f"{ascii(name)[:200]} has a part of more than 255 bytes")
    return parts


def _clear_older(node: _Node, layer: int) -> None:
    for name, child in list((node.children or {}).items()):
        if child.touched != layer:
            assert node.children is not None
            del node.children[name]
        elif child.children is not None:
            _clear_older(child, layer)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[tarfile.TarFile]:
    """A layer's tar, plain or gzip.

    Raises:
        BadImage: It is neither, it is damaged, or it is zstd where this Python has none.
    """
    try:
        with path.open("rb") as file, _unpacked(file) as plain:
            with tarfile.open(fileobj=plain, mode="r|", errorlevel=2) as tar:
                yield tar
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, UnicodeError) as error:
        raise BadImage(f"a layer cannot be read: {error}") from None


@contextlib.contextmanager
def _unpacked(file: IO[bytes]) -> Iterator[IO[bytes]]:
    magic = file.read(4)
    file.seek(0)
    if magic == _ZSTD:
        with _zstd(file) as plain:
            yield plain
    elif magic[:2] == _GZIP:
        with gzip.GzipFile(fileobj=file) as unzipped:
            yield cast("IO[bytes]", _Bounded(unzipped))  # only read is called on a stream
    else:
        yield file


@contextlib.contextmanager
def _zstd(file: IO[bytes]) -> Iterator[IO[bytes]]:
    try:
        zstd = importlib.import_module("compression.zstd")  # since Python 3.14
    except ImportError:
        raise BadImage(
            "a layer is compressed with zstd, which needs Python 3.14 here; save the image with gzip layers"
        ) from None
    with zstd.ZstdFile(file) as unpacked:
        yield cast("IO[bytes]", _Bounded(unpacked))


class _Bounded:
    """What comes out of a decompressor, and not more than an image may have."""

    def __init__(self, source: Any) -> None:
        self._source = source
        self._left = MAX_BYTES + (MAX_MEMBERS << 10)

    def read(self, size: int = -1) -> bytes:
        """As a file's."""
        data: bytes = self._source.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise BadImage(f"a layer unpacks to more than {MAX_BYTES} bytes")
        return data


def merge(layers: Sequence[Path], target: Path) -> int:
    """Write the image that these layers make, lowest first, as one plain tar; returns the bytes of its files.

    Setuid and setgid bits, devices, FIFOs and extended attributes are left out; owners above `MAX_ID` become that one.

    Raises:
        BadImage: A layer is damaged, has an unsafe name, or there is too much; the target is then incomplete.
    """
    plan = Plan()
    for number, layer in enumerate(layers):
        with opened(layer) as tar:
            plan.add(number, tar)
    total = 0
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as out:
        nodes = list(plan.walk())
        for path, node in nodes:
            if node.children is not None:
                out.addfile(_neutral(path, node.member))
        files: dict[tuple[int, int], list[str]] = {}
        for path, node in nodes:
            if node.children is None and node.member is not None and node.member.isreg():
                files.setdefault((node.layer, node.offset), []).append(path)
        for number, layer in enumerate(layers):
            total += _copy(number, layer, files, out)
        for path, node in nodes:
            if node.member is not None and node.member.issym():
                link = _neutral(path, node.member)
                link.type, link.linkname, link.size = tarfile.SYMTYPE, node.member.linkname, 0
                out.addfile(link)
    return total


def _copy(number: int, layer: Path, files: dict[tuple[int, int], list[str]], out: tarfile.TarFile) -> int:
    total = 0
    with opened(layer) as tar:
        for member in tar:
            names = files.get((number, member.offset))
            if not names:
                continue
            first = _neutral(names[0], member)
            first.type, first.size = tarfile.REGTYPE, member.size
            out.addfile(first, tar.extractfile(member))
            total += member.size
            for name in names[1:]:
                other = _neutral(name, member)
                other.type, other.linkname = tarfile.LNKTYPE, names[0]
                out.addfile(other)
    return total


def _neutral(path: str, member: tarfile.TarInfo | None) -> tarfile.TarInfo:
    """A directory's entry with what is kept of a member; a directory that no layer named is root's, 0755."""
    info = tarfile.TarInfo(path)
    info.type, info.mode = tarfile.DIRTYPE, 0o755
    if member is not None:
        info.mode = stat.S_IMODE(member.mode) & _MODE
        info.uid, info.gid = _id(member.uid), _id(member.gid)
        info.mtime = min(max(int(member.mtime), 0), 1 << 33)
    return info


def _id(number: int) -> int:
    return number if 0 <= number <= MAX_ID else MAX_ID
