"""Image archives: a tar of an OCI image layout, or what `docker save` writes, read from a file of the operator's.

Members are looked up by the names that the archive's own index gives and never unpacked to a place that they choose.
"""

import contextlib
import hashlib
import re
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from tidepool.images.errors import BadImage

_MAX_DOCUMENT = 8 << 20
_MAX_LAYERS = 200
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})\Z")


@dataclass(frozen=True)
class Unpacked:
    """An archive's image: its configuration blob and its layers as files, lowest first."""

    config: bytes
    layers: tuple[Path, ...]


class _Saved(msgspec.Struct):
    """An entry of `manifest.json`."""

    Config: str
    Layers: list[str]


class _Descriptor(msgspec.Struct, rename="camel"):
    digest: str
    size: int = 0
    media_type: str = ""
    platform: dict[str, Any] | None = None


class _Document(msgspec.Struct, rename="camel"):
    manifests: list[_Descriptor] = []
    config: _Descriptor | None = None
    layers: list[_Descriptor] = []


def unpack(path: Path, directory: Path) -> Unpacked:
    """Write an archive's layers into a directory that exists and is empty.

    Raises:
        BadImage: It is no archive of an image; a blob is not what its digest says.
    """
    try:
        with tarfile.open(path, "r:") as tar:
            names = {member.name.removeprefix("./"): member for member in tar if member.isreg()}
            archive = _Archive(tar, names, directory)
            return archive.saved() if "manifest.json" in names else archive.layout()
    except (tarfile.TarError, EOFError, UnicodeError) as error:
        raise BadImage(f"{path.name} is not a tar of an image: {error}") from None


@dataclass
class _Archive:
    tar: tarfile.TarFile
    names: dict[str, tarfile.TarInfo]
    directory: Path

    def saved(self) -> Unpacked:
        """What `docker save` wrote."""
        found = _decode(self._read("manifest.json"), list[_Saved])
        if len(found) != 1:
            raise BadImage(f"the archive holds {len(found)} images; it must hold one")
        names = _some(found[0].Layers)
        layers = tuple(self._write(number, name) for number, name in enumerate(names))
        return Unpacked(self._read(found[0].Config), layers)

    def layout(self) -> Unpacked:
        """An OCI image layout."""
        document = _decode(self._read("index.json"), _Document)
        for _ in range(3):
            if document.config is not None:
                blobs = _some(document.layers)
                layers = tuple(self._write(n, _blob(one), one) for n, one in enumerate(blobs))
                return Unpacked(self._checked(document.config), layers)
            images = [one for one in document.manifests if (one.platform or {}).get("os") != "unknown"]
            if len(images) != 1:
                raise BadImage(f"the archive holds {len(images)} images; it must hold one")
            document = _decode(self._checked(images[0]), _Document)
        raise BadImage("the archive's indexes name one another")

    def _checked(self, descriptor: _Descriptor) -> bytes:
        data = self._read(_blob(descriptor))
        if f"sha256:{hashlib.sha256(data).hexdigest()}" != descriptor.digest:
            raise BadImage(f"{descriptor.digest} in the archive has another digest")
        return data

    def _read(self, name: str) -> bytes:
        with self._open(name) as (file, size):
            if size > _MAX_DOCUMENT:
                raise BadImage(f"{ascii(name)[:200]} in the archive is larger than {_MAX_DOCUMENT} bytes")
            data: bytes = file.read()
            return data

    def _write(self, number: int, name: str, descriptor: _Descriptor | None = None) -> Path:
        target = self.directory / f"layer-{number}"
        with self._open(name) as (source, _), target.open("xb") as file:
            shutil.copyfileobj(source, file, 1 << 20)
        if descriptor is not None:
            with target.open("rb") as file:
                if f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}" != descriptor.digest:
                    raise BadImage(f"{descriptor.digest} in the archive has another digest")
        return target

    @contextlib.contextmanager
    def _open(self, name: str) -> Iterator[tuple[Any, int]]:
        member = self.names.get(name.removeprefix("./"))
        file = self.tar.extractfile(member) if member is not None else None
        if member is None or file is None:
            raise BadImage(f"the archive has no {ascii(name)[:200]}")
        with file:
            yield file, member.size


def _blob(descriptor: _Descriptor) -> str:
    found = _DIGEST.match(descriptor.digest)
    if found is None:
        raise BadImage(f"{descriptor.digest[:80]!r} is not a digest that is known")
    return f"blobs/sha256/{found[1]}"


def _some(layers: list[Any]) -> list[Any]:
    if not 0 < len(layers) <= _MAX_LAYERS:
        raise BadImage(f"an image has 1 to {_MAX_LAYERS} layers; this one has {len(layers)}")
    return layers


def _decode(data: bytes, kind: type[Any]) -> Any:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadImage(f"the archive's index cannot be read: {error}") from None
