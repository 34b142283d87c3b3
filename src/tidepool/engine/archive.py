"""A dependency layer on its way out of the build sandbox: a hostile tar in, plain files and a manifest out.

Synchronous and without any knowledge of sandboxes; the caller gives it a thread. Only regular files below a fresh
directory come out: no link is ever made, so no later member can be written through one.
"""

import contextlib
import hashlib
import os
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import msgspec

MANIFEST = ".tidepool-layer.json"
MAX_FILES = 200_000
MAX_BYTES = 8 << 30
_CHUNK = 1 << 20
_PART = re.compile(r"[^\x00-\x1f\x7f/\\]{1,255}\Z")


class BadArchive(ValueError):
    """The tar has something in it that a layer never has; the message names the member."""


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a layer is made of; kept in the layer itself."""

    requirements: tuple[str, ...]
    """As asked for, normalised."""
    lock: str
    """What they resolved to, with hashes, in pip's requirements format."""
    python: str
    modules: tuple[str, ...]
    """Top-level modules worth preloading."""
    files: dict[str, str]
    """SHA-256 by path relative to the layer."""


def member_path(member: tarfile.TarInfo) -> str | None:
    """The relative path a member is unpacked to; None for a directory, which needs no unpacking of its own.

    Raises:
        BadArchive: Not a regular file or directory, or a path that is not plainly below the layer.
    """
    shown = ascii(member.name)[:200]
    if member.isdir():
        return None
    if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
        raise BadArchive(f"{shown} is neither a file nor a directory")
    parts = member.name.split("/")
    if len(member.name) > 1024 or any(part in (".", "..") or not _PART.match(part) for part in parts):
        raise BadArchive(f"{shown} is not a plain relative path")
    try:
        member.name.encode("utf-8")
    except UnicodeEncodeError:
        raise BadArchive(f"{shown} is not UTF-8") from None
    if parts[0] == MANIFEST:
        raise BadArchive(f"{shown} would stand in for the layer's manifest")
    if member.size < 0:
        raise BadArchive(f"{shown} has a size below 0")
    return member.name


def unpack(archive: Path, destination: Path) -> dict[str, str]:
    """Unpack a tar into a directory that must not exist yet; returns SHA-256 by path.

    Raises:
        BadArchive: A member is not allowed, comes twice, or the whole is too large; what was unpacked stays.
    """
    destination.mkdir(mode=0o755)
    hashes: dict[str, str] = {}
    total = 0
    with _reading(archive) as tar:
        for member in tar:
            path = member_path(member)
            if path is None:
                continue
            total += member.size
            if len(hashes) >= MAX_FILES or total > MAX_BYTES:
                raise BadArchive(f"the layer is too large from {ascii(path)[:200]} on")
            source = tar.extractfile(member)
            if source is None:
                raise BadArchive(f"{ascii(path)[:200]} has no content")
            hashes[path] = _write(source, destination / path, member)
    return hashes


@contextlib.contextmanager
def _reading(archive: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(archive, "r:", errorlevel=2) as tar:
            yield tar
    except (tarfile.TarError, OverflowError, UnicodeError) as error:
        raise BadArchive(f"the archive cannot be read: {error}") from error


def _write(source: IO[bytes], target: Path, member: tarfile.TarInfo) -> str:
    try:
        target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    except (FileExistsError, NotADirectoryError):
        raise BadArchive(f"{ascii(member.name)[:200]} stands where another member does") from None
    digest, left = hashlib.sha256(), member.size
    with os.fdopen(fd, "wb") as file:
        while left:
            data = source.read(min(_CHUNK, left))
            if not data:
                raise BadArchive(f"{ascii(member.name)[:200]} breaks off")
            digest.update(data)
            file.write(data)
            left -= len(data)
        file.flush()
        os.fchmod(fd, 0o755 if member.mode & 0o100 else 0o644)
        # Compiled modules are valid for the time stamp of their source only.
        seconds = min(max(0, int(member.mtime)), 1 << 33)
        os.utime(fd, (seconds, seconds))
    return digest.hexdigest()


def save(directory: Path, manifest: Manifest) -> None:
    """Add the manifest to an unpacked layer and wait until all of it is on disk."""
    (directory / MANIFEST).write_bytes(msgspec.json.encode(manifest))
    os.sync()  # once for thousands of files


def load(directory: Path) -> Manifest | None:
    """The manifest of a layer; None when there is none that can be read."""
    try:
        return msgspec.json.decode((directory / MANIFEST).read_bytes(), type=Manifest)
    except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError):
        return None


def is_intact(directory: Path, manifest: Manifest) -> bool:
    """Whether the layer holds exactly the files of its manifest, with their content."""
    if set(_walk(str(directory), "")) != {*manifest.files, MANIFEST}:
        return False
    return all(_hash(directory / path) == digest for path, digest in manifest.files.items())


def _walk(directory: str, below: str) -> Iterator[str]:
    """Paths of files; what is neither a file nor a directory gets a name that no manifest has."""
    for entry in os.scandir(directory):
        path = below + entry.name
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(entry.path, path + "/")
        else:
            yield path if entry.is_file(follow_symlinks=False) else path + "/"


def _hash(path: Path) -> str:
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(fd, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
