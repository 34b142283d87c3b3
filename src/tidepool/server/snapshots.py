"""Snapshots: named images with what is known of them, and the builds that make them.

A snapshot is one tenant's; the one named `default` is the local base, there for everybody and always active. Files are
the engine's, named here; records are the store's. A build goes on when the client that asked for it has gone.
"""

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import msgspec

from tidepool.engine import Engine, Sandbox
from tidepool.engine.errors import Conflict, InvalidSpec, NotFound, TidepoolError, WrongState
from tidepool.images import bases
from tidepool.images.bases import Base, Bases
from tidepool.images.build import Builder, Built
from tidepool.images.config import ImageConfig
from tidepool.server.build_logs import BuildLogs
from tidepool.server.config import ServerConfig
from tidepool.server.snapshot_record import (
    DEFAULT,
    DEFAULT_ID,
    Snapshot,
    checked_name,
    dockerfile_of,
    from_body,
    source_of,
)
from tidepool.server.store import Store
from tidepool.wire.sandbox import CreateSandbox
from tidepool.wire.snapshots import CreateBuildInfo, CreateSnapshot

KIND = "snapshots"
CACHE_S = 86400.0
"""How long an image that no snapshot names is kept after its last use, for the next build that begins with it."""
_AT_ONCE_S = 0.05
"""A build that is over so soon is answered as what it became: its client then has nothing to wait for."""
_MAKING = ("building", "pulling", "pending")
_CACHED = ("build-", "oci-", "snap-")
log = logging.getLogger("tidepool.server")

Say = Callable[[str], None]
Contexts = Callable[[str, Sequence[str]], list[Path]]
"""The files of a tenant's uploaded contexts, by MD5; raises InvalidSpec for one that is not there."""


@dataclass(frozen=True)
class ImageRef:
    """What a sandbox is to be made from."""

    image: str = ""
    """The engine's name; empty: the local base."""
    env: Mapping[str, str] = field(default_factory=dict)
    work_dir: str = ""
    """Absolute; empty: the sandbox's own default."""
    user: Literal["", "root"] = ""
    """Empty: the image does not ask for root."""
    entrypoint: tuple[str, ...] = ()
    snapshot: str = DEFAULT
    """The snapshot's name; for an image that was built for one sandbox, its reference."""
    build: str = ""
    """Id of the build whose log belongs to it."""
    cpu: float | None = None
    """What the snapshot says its sandboxes get, where the request says nothing; None: the server's default."""
    memory: float | None = None
    """GiB, as is `disk`."""
    disk: float | None = None


@dataclass
class Building:
    """A build under way, or over."""

    id: str
    task: "asyncio.Task[Built]"


class Snapshots:
    """All snapshots and builds of one server. Made by `open`."""

    def __init__(self, engine: Engine, store: Store, place: Path, contexts: Contexts) -> None:
        self._engine = engine
        self._store = store
        self._place = place
        self._contexts = contexts
        self._tasks: set[asyncio.Task[Any]] = set()
        self._builds_of: dict[str, str] = {}
        self._started = datetime.now(UTC)
        self._registry: Any = None
        self.logs = BuildLogs(place / "logs")
        self.builder: Builder

    @classmethod
    async def open(
        cls, engine: Engine, store: Store, config: ServerConfig, contexts: Contexts
    ) -> "Snapshots":
        """The snapshots of this server; what a former one left unfinished is marked as failed.

        Raises:
            ValueError: The registry's URL cannot be used.
        """
        place = config.records_dir / "images"
        for directory in (place / "logs", place / "work", place / "used"):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = cls(engine, store, place, contexts)
        if config.registry:
            from tidepool.images.registry import Registry

            found._registry = Registry(config.registry, config.registry_credentials or None)
        bases.clear(place / "work")
        known = Bases(engine, place / "work", found._find, found._registry, config.image_archives)
        found.builder = Builder(engine, place / "work", known)
        found.logs.forget_old()
        await found._give_up_unfinished()
        return found

    async def close(self) -> None:
        """End every build."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._registry is not None:
            await self._registry.close()

    # what there is

    async def all_of(self, tenant: str) -> list[Snapshot]:
        """A tenant's snapshots in order of creation, the general one first."""
        bodies = await self._store.list(KIND, tenant)
        return [self._default(), *(from_body(body) for body in bodies)]

    async def get(self, ref: str, tenant: str) -> Snapshot:
        """By id or name.

        Raises:
            NotFound: There is none, or it is another tenant's.
        """
        if ref in (DEFAULT, DEFAULT_ID):
            return self._default()
        body = await self._store.get(KIND, tenant, ref)
        if body is None:
            raise NotFound(f"Snapshot {ref[:200]} not found")
        return from_body(body)

    # what is done to them

    async def create(self, asked: CreateSnapshot, tenant: str) -> Snapshot:
        """A new snapshot; it is active, or its build is under way.

        Raises:
            Conflict: The tenant has one of this name.
            InvalidSpec: A field is wrong.
        """
        text, hashes = source_of(asked)
        now = datetime.now(UTC)
        made = Snapshot(
            id=str(uuid.uuid4()),
            name=checked_name(asked.name),
            state="building" if asked.build_info else "pulling",
            image_name=asked.image_name or "",
            dockerfile=text,
            context_hashes=hashes,
            entrypoint=asked.entrypoint,
            cpu=asked.cpu or None,
            memory=asked.memory or None,
            disk=asked.disk or None,
            created_at=now,
            updated_at=now,
        )
        paths = self._contexts(tenant, hashes)
        await self._put(made, tenant)
        task = self._spawn(self._fill(made, text, paths, tenant))
        await asyncio.wait({task}, timeout=_AT_ONCE_S)
        return await self.get(made.id, tenant)

    async def set_active(self, ref: str, tenant: str, active: bool) -> Snapshot:
        """Let sandboxes be made from it, or no longer.

        Raises:
            WrongState: It is being made, or could not be.
        """
        found = await self.get(ref, tenant)
        if found.general and active:
            return found
        self._need_own(found)
        if found.state not in ("active", "inactive"):
            raise WrongState(
                f"Snapshot {found.name} is {found.state}; only active and inactive ones can be changed"
            )
        found.state = "active" if active else "inactive"
        await self._put(found, tenant)
        return found

    async def remove(self, ref: str, tenant: str) -> Snapshot:
        """Forget it; its files go when no sandbox is made from them any more.

        Raises:
            WrongState: It is being made.
        """
        found = await self.get(ref, tenant)
        self._need_own(found)
        if found.state in _MAKING:
            raise WrongState(f"Snapshot {found.name} is {found.state}; it can be deleted when that is over")
        await self._store.delete(KIND, tenant, found.id)
        await self._prune()
        found.state = "removing"
        return found

    async def of_sandbox(self, sandbox: Sandbox, name: str, tenant: str) -> Snapshot:
        """A snapshot of a sandbox's files as they are now; active when this returns.

        Raises:
            Conflict: The tenant has one of this name.
            WrongState: The sandbox has no files.
        """
        now, number = datetime.now(UTC), str(uuid.uuid4())
        spec = sandbox.spec
        made = Snapshot(
            id=number,
            name=checked_name(name),
            state="pending",
            image=f"snap-{number}",
            config=ImageConfig(work_dir=spec.work_dir, user="root" if spec.user == "root" else ""),
            is_local=await self._is_local(spec.image),
            cpu=spec.limits.cpu,
            memory=spec.limits.memory_bytes / 2**30,
            disk=spec.limits.disk_bytes / 2**30,
            created_at=now,
            updated_at=now,
            source_sandbox_id=sandbox.id,
        )
        await self._put(made, tenant)
        try:
            made.bytes = await self._engine.freeze(sandbox, made.image)
        except BaseException:
            await self._store.delete(KIND, tenant, number)
            raise
        made.state = "active"
        await self._put(made, tenant)
        return made

    # what sandboxes are made from

    async def image_for(self, request: CreateSandbox, tenant: str, say: Say | None = None) -> ImageRef:
        """What a create request's `snapshot` or `buildInfo` names; answers when it is built.

        Args:
            request: The whole request; other fields are not looked at.
            tenant: Who asks.
            say: Told every line of the build's log.

        Raises:
            InvalidSpec: There is no such snapshot, or it is not active, or the Dockerfile is wrong.
            Refused, Unavailable, Fault: As `images.build.Builder.build`.
        """
        if request.build_info:
            return await self.image_of(self.build(request.build_info, tenant, say))
        if request.snapshot in (None, "", DEFAULT, DEFAULT_ID):
            return ImageRef()
        try:
            found = await self.get(str(request.snapshot), tenant)
        except NotFound as error:
            raise InvalidSpec(f"{error}. Was it created with this API key?") from None
        if found.state != "active":
            why = f": {found.error_reason}" if found.error_reason else ""
            raise InvalidSpec(f"Snapshot {found.name} is {found.state}{why}; only active ones can be used")
        found.last_used_at = datetime.now(UTC)
        await self._put(found, tenant, is_change=False)
        entrypoint = tuple(found.entrypoint or found.config.entrypoint or ())
        ref = _ref(found.base, found.name, entrypoint, found.id)
        return replace(ref, cpu=found.cpu, memory=found.memory, disk=found.disk)

    def build(self, asked: Mapping[str, Any], tenant: str, say: Say | None = None) -> Building:
        """Begin to build what a create request's `buildInfo` says; ends with the server, not with the client.

        Raises:
            InvalidSpec: It is malformed, or a context was not uploaded.
        """
        try:
            info = msgspec.convert(asked, CreateBuildInfo)
        except msgspec.ValidationError as error:
            raise InvalidSpec(f"buildInfo does not fit: {error}") from None
        text, hashes = dockerfile_of(info)
        paths, number = self._contexts(tenant, hashes), str(uuid.uuid4())
        return Building(number, self._spawn(self._build(number, text, paths, tenant, say)))

    async def image_of(self, building: Building) -> ImageRef:
        """What came of a build, when it is over.

        Raises:
            Refused, Unavailable, Fault: As `image_for`.
        """
        built = await asyncio.shield(building.task)
        name = built.base.image or DEFAULT
        return _ref(built.base, name, tuple(built.base.config.entrypoint or ()), building.id)

    def remember(self, sandbox: str, build: str) -> None:
        """Which build's log belongs to a sandbox."""
        if build:
            self._builds_of[sandbox] = build

    def build_of(self, sandbox: str) -> str:
        """The build that made a sandbox's image.

        Raises:
            NotFound: It was made from none, or by a former server.
        """
        if sandbox not in self._builds_of:
            raise NotFound("this sandbox's image was not built for it, so there is no log")
        return self._builds_of[sandbox]

    # inside

    async def _fill(self, made: Snapshot, text: str, paths: Sequence[Path], tenant: str) -> None:
        """Build, and write down what came of it."""
        try:
            built = await self._build(made.id, text, paths, tenant, None)
        except TidepoolError as error:
            made.state = "build_failed" if made.state == "building" else "error"
            made.error_reason = str(error)[:4000]
        except asyncio.CancelledError:
            made.state, made.error_reason = "error", "the server ended while it was made"
            await self._put(made, tenant)
            raise
        except Exception:
            log.exception("snapshot %s could not be made", made.id)
            made.state, made.error_reason = "error", "an internal error; the server's log has the details"
        else:
            made.image, made.config, made.bytes = built.base.image, built.base.config, built.bytes
            made.is_local, made.state = built.base.is_local, "active"
        await self._put(made, tenant)

    async def _build(
        self, number: str, text: str, paths: Sequence[Path], tenant: str, say: Say | None
    ) -> Built:
        written = self.logs.start(number)

        def tell(line: str) -> None:
            written.say(line)
            if say is not None:
                say(line)

        try:
            built = await self.builder.build(text, paths, tenant, tell)
        except TidepoolError as error:
            tell(f"failed: {error}")
            raise
        finally:
            self.logs.end(number)
        if built.base.image:
            (self._place / "used" / built.base.image).touch()
        await self._prune()
        return built

    async def _find(self, name: str, tenant: str) -> Base | None:
        """For FROM: a tenant's active snapshot."""
        if name == DEFAULT:
            return bases.local_base()
        body = await self._store.get(KIND, tenant, name)
        found = from_body(body) if body is not None else None
        return found.base if found is not None and found.state == "active" else None

    async def _is_local(self, image: str) -> bool:
        """Whether below an image lies the local base."""
        return not image or any(
            from_body(body).is_local for body in await self._store.list(KIND, None) if body["image"] == image
        )

    async def _prune(self) -> None:
        """Remove images that no snapshot names, no sandbox is made from, and nobody has used for a day."""
        named = {body["image"] for body in await self._store.list(KIND, None)}
        for image in await self._engine.stored("images"):
            if image in named or not image.startswith(_CACHED):
                continue
            used = self._place / "used" / image
            if not image.startswith("snap-"):
                if not used.exists():
                    used.touch()
                if time.time() - used.stat().st_mtime < CACHE_S:
                    continue
            with contextlib.suppress(Conflict):  # a sandbox is made from it: later
                await self._engine.delete_image(image)
                used.unlink(missing_ok=True)

    async def _give_up_unfinished(self) -> None:
        for tenant, found in await self._everybodys():
            if found.state in _MAKING:
                found.state, found.error_reason = "error", "the server ended while it was made"
                await self._put(found, tenant)

    async def _everybodys(self) -> list[tuple[str, Snapshot]]:
        return [(body["tenant"], from_body(body)) for body in await self._store.list(KIND, None)]

    async def _put(self, found: Snapshot, tenant: str, is_change: bool = True) -> None:
        if is_change:
            found.updated_at = datetime.now(UTC)
        body = {**msgspec.to_builtins(found), "tenant": tenant}
        await self._store.put(KIND, tenant, found.id, found.name, body)

    def _default(self) -> Snapshot:
        return Snapshot(
            id=DEFAULT_ID,
            name=DEFAULT,
            state="active",
            is_local=True,
            bytes=0,
            created_at=self._started,
            updated_at=self._started,
            general=True,
        )

    @staticmethod
    def _need_own(found: Snapshot) -> None:
        if found.general:
            raise WrongState(f"Snapshot {found.name} is there for everybody; it cannot be changed or deleted")

    def _spawn(self, work: Any) -> "asyncio.Task[Any]":
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # looked at: who waits has it, and its sentence is in the log


def _ref(base: Base, name: str, entrypoint: tuple[str, ...], build: str) -> ImageRef:
    its = base.config
    user: Literal["", "root"] = "root" if its.runs_as_root else ""
    return ImageRef(base.image, its.env, its.work_dir, user, entrypoint, name, build)
