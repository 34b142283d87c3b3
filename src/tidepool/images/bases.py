"""What FROM names: a snapshot, an archive, the registry's image, or the local base that stands in.

In this order, and the first that knows the name has it. An image that was pulled or unpacked is kept under a name made
from its content, so the same content is merged and imported once.
"""

import asyncio
import fnmatch
import hashlib
import shutil
import sys
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tidepool.engine import Engine
from tidepool.images import archive, config, layers
from tidepool.images.config import ImageConfig
from tidepool.images.errors import BadImage
from tidepool.images.reference import Reference, parse_reference

if TYPE_CHECKING:
    from tidepool.images.registry import Manifest, Registry

Say = Callable[[str], None]
ARCHIVE = "oci-archive:"
"""What a name begins with that is a file in the directory of archives."""
SCRATCH = "scratch"
STAND_INS = (
    "python",
    "python:*",
    "debian",
    "debian:*",
    "ubuntu",
    "ubuntu:*",
    "buildpack-deps*",
    "daytonaio/*",
)
"""Names for which the local base stands in where no registry is set up."""
_PREFIXES = ("library/",)
_IMPORTED = "oci-"


@dataclass(frozen=True)
class Base:
    """Where a stage starts."""

    image: str
    """The engine's name; empty: the local base."""
    config: ImageConfig
    identity: str
    """Changes when its files or its configuration change."""
    is_local: bool = False
    """Whether below everything lies the local base: composed of this host's /usr, without a package manager."""


Find = Callable[[str, str], Awaitable[Base | None]]
"""A tenant's snapshot by name."""


class Bases:
    """Resolves names.

    Args:
        engine: Keeps the images.
        place: A directory for what is pulled; must exist.
        find: Asked first: name and tenant.
        registry: For every other name; None: none is set up.
        archives: A directory of the operator's with image archives; None: there are none.
    """

    def __init__(
        self, engine: Engine, place: Path, find: Find, registry: "Registry | None", archives: Path | None
    ) -> None:
        self._engine = engine
        self._place = place
        self._find = find
        self._registry = registry
        self._archives = archives
        self._importing = asyncio.Lock()

    async def resolve(self, name: str, tenant: str, say: Say) -> Base:
        """The base that a name means to a tenant.

        Raises:
            BadImage: Nothing here knows the name, or what it names cannot be used.
            RegistryUnavailable: The registry cannot be reached.
        """
        found = await self._find(name, tenant)
        if found is not None:
            return found
        if name.startswith(ARCHIVE):
            return await self._from_archive(name.removeprefix(ARCHIVE), say)
        if name == SCRATCH:
            raise BadImage("FROM scratch is not supported: a sandbox needs a shell; start from another image")
        reference = parse_reference(name)
        if self._registry is not None:
            return await self._from_registry(self._registry, reference, say)
        if not is_stand_in(name):
            raise BadImage(
                f"{name[:200]} is no snapshot of this server, and no registry is set up to fetch it from; "
                f"the local base stands in for {', '.join(STAND_INS)}"
            )
        say(stand_in_line(name))
        return local_base()

    async def _from_registry(self, registry: "Registry", reference: Reference, say: Say) -> Base:
        manifest = await registry.manifest(reference)
        data = await registry.config(reference, manifest)
        image = _IMPORTED + manifest.digest.removeprefix("sha256:")[:48]
        async with self._importing:
            if image not in await self._engine.stored("images"):
                say(f"pulling {reference.repository}:{reference.version}, {len(manifest.layers)} layers")
                with tempfile.TemporaryDirectory(prefix="pull-", dir=self._place) as work:
                    await self._pull(registry, reference, manifest, Path(work), say)
                    await self._import(image, [Path(work) / str(n) for n in range(len(manifest.layers))])
        return Base(image, config.from_oci(data), manifest.digest)

    async def _pull(
        self, registry: "Registry", reference: Reference, manifest: "Manifest", work: Path, say: Say
    ) -> None:
        for number, blob in enumerate(manifest.layers):
            await registry.save(reference, blob, work / str(number))
            say(f"pulled {blob.digest[7:19]}, {blob.size} bytes")

    async def _from_archive(self, name: str, say: Say) -> Base:
        if self._archives is None:
            raise BadImage("no directory of image archives is set up on this server")
        if "/" in name or name.startswith(".") or not name:
            raise BadImage(f"{name[:200]!r} is not the name of a file in the directory of image archives")
        path = self._archives / name
        if not await asyncio.to_thread(path.is_file):
            raise BadImage(f"there is no image archive named {name[:200]}")
        async with self._importing:
            with tempfile.TemporaryDirectory(prefix="archive-", dir=self._place) as work:
                unpacked = await asyncio.to_thread(archive.unpack, path, Path(work))
                identity = await asyncio.to_thread(_digest, [unpacked.config, *unpacked.layers])
                image = _IMPORTED + identity[:48]
                if image not in await self._engine.stored("images"):
                    say(f"unpacking {name}, {len(unpacked.layers)} layers")
                    await self._import(image, list(unpacked.layers))
        return Base(image, config.from_oci(unpacked.config), identity)

    async def _import(self, image: str, paths: list[Path]) -> None:
        merged = paths[0].parent / "merged.tar"
        await asyncio.to_thread(layers.merge, paths, merged)
        await self._engine.import_image(image, merged)


def local_base() -> Base:
    """The base composed of this host's own /usr and interpreter."""
    return Base("", ImageConfig(), f"local {sys.version}", is_local=True)


def is_stand_in(name: str) -> bool:
    """Whether the local base may stand in for a name."""
    bare = name
    for prefix in _PREFIXES:
        bare = bare.removeprefix(prefix)
    return any(fnmatch.fnmatchcase(bare.partition("@")[0], pattern) for pattern in STAND_INS)


def stand_in_line(name: str) -> str:
    """What the log of a build says of it."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}.{sys.version_info.micro}"
    return f"no registry is set up: the local base (this host's programs, Python {version}) stands in for {name[:200]}"


def _digest(parts: list[bytes | Path]) -> str:
    found = hashlib.sha256()
    for part in parts:
        if isinstance(part, bytes):
            found.update(hashlib.sha256(part).digest())
        else:
            with part.open("rb") as file:
                found.update(hashlib.file_digest(file, "sha256").digest())
    return found.hexdigest()


def clear(place: Path) -> None:
    """Remove what an earlier process left half done."""
    for left in [*place.glob("pull-*"), *place.glob("archive-*"), *place.glob("build-*")]:
        shutil.rmtree(left)
