"""The engine: makes, finds and destroys sandboxes on this host; owns pool, layers and spawner.

The process it lives in is unprivileged once `start` has returned (unless told otherwise): the spawner is the only one
left with rights. Nothing survives `close`: every process, mount and control group is gone when it returns.
"""

import asyncio
import contextlib
import os
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from tidepool.engine import host
from tidepool.engine.backends import namespaces
from tidepool.engine.backends.namespaces import Restore
from tidepool.engine.config import EngineConfig
from tidepool.engine.egress import Egress
from tidepool.engine.errors import (
    Conflict,
    Fault,
    InvalidSpec,
    NoCapacity,
    NotFound,
    SetupFailed,
    TidepoolError,
    WrongState,
)
from tidepool.engine.guest import faults
from tidepool.engine.layers import Layers
from tidepool.engine.lifecycle import Event, State
from tidepool.engine.network import Networks
from tidepool.engine.pool import Layer, Pool, Warm
from tidepool.engine.recovery import Entry, Recovery
from tidepool.engine.sandbox import Host, Sandbox
from tidepool.engine.spawner import protocol
from tidepool.engine.spec import Limits, Network, SandboxSpec, Secrets

_TOMBSTONE_S = 30.0
_LINE_IDLE_S = 300.0
_HOUSEKEEPING_S = 5.0

_RUNNING = (State.CREATING, State.STARTING, State.STARTED, State.STOPPING)

Progress = Callable[[str], None]


class Engine:
    """All sandboxes of one server."""

    def __init__(self, config: EngineConfig, backend: namespaces.Backend, egress: Egress) -> None:
        self._config = config
        self._backend = backend
        self._egress = egress
        self._networks = Networks(egress, backend.listen)
        self._pool = Pool(backend, config.pool_size)
        self._entries: dict[str, Entry] = {}
        self._recovery = Recovery(self._entries, self._pool, self._networks, backend)
        self._layers: Layers | None = None
        self._volumes_on = frozenset({host.filesystem_of(config.state_dir)})
        self._housekeeping: asyncio.Task[None] | None = None

    @classmethod
    async def start(cls, config: EngineConfig, meanwhile: Callable[[], None] = lambda: None) -> "Engine":
        """Start spawner, egress proxy and pool; gives up root on the way, after `meanwhile` has been called.

        Raises:
            HostUnsupported: This host cannot isolate; the sentence says what to enable, and nothing was run.
        """
        host.make_directories(config.state_dir, config.drop_root)
        launched = namespaces.launch(config.state_dir, config.storage, config.pool_size > 0)
        egress = Egress.launch(config.state_dir, protocol.EGRESS_UID, config.egress_options)
        meanwhile()
        if config.drop_root:
            host.drop_privileges(protocol.SERVER_UID)
        engine_ref: list[Engine] = []
        backend = namespaces.Backend(
            launched,
            lambda death: engine_ref[0]._recovery.on_death(death),
            lambda why: engine_ref[0]._recovery.on_restart(why),
        )
        engine = cls(config, backend, egress)
        engine_ref.append(engine)
        try:
            await backend.ready()
        except BaseException:
            await egress.close()
            await backend.close()
            raise
        egress.watch()
        engine._layers = Layers(
            config.state_dir, launched.python, engine.create, engine.delete, egress.identity
        )
        engine._housekeeping = asyncio.get_running_loop().create_task(engine._keep_house())
        return engine

    @property
    def enforced(self) -> tuple[str, ...]:
        """What isolates a sandbox on this host."""
        return self._backend.enforced

    @property
    def not_enforced(self) -> tuple[str, ...]:
        """What this host cannot enforce, with the reason."""
        return self._backend.not_enforced

    @property
    def alive(self) -> int:
        """How many sandboxes run or are about to, of all tenants."""
        return sum(entry.sandbox.state in _RUNNING for entry in self._entries.values())

    async def create(
        self, spec: SandboxSpec, progress: Progress | None = None, *, number: str | None = None
    ) -> Sandbox:
        """A started sandbox.

        Args:
            spec: What it is to be.
            progress: Told in sentences what takes long.
            number: Id of a sandbox whose files were saved; it begins with them. None: a new one.

        Raises:
            Conflict: The tenant has one of this name.
            DependencyFailed: The dependencies cannot be resolved or installed.
            NoCapacity, SetupFailed.
        """
        self._admit(spec)
        sandbox = Sandbox(spec, number)
        sandbox.has_saved_files = number is not None
        return await self._create(sandbox, number or "", progress)

    async def _create(self, sandbox: Sandbox, restore: Restore, progress: Progress | None = None) -> Sandbox:
        entry = self._entries[sandbox.id] = Entry(sandbox)
        try:
            await self._bring_up(entry, restore, progress)
        except BaseException:
            await asyncio.shield(self._abandon(entry))
            raise
        return sandbox

    def announce(self, spec: SandboxSpec) -> Sandbox:
        """A sandbox whose image is still being built: in state pending_build until `complete`.

        Raises:
            Conflict, NoCapacity: As `create`.
        """
        self._admit(spec)
        sandbox = Sandbox(spec)
        sandbox.state = State.PENDING_BUILD
        self._entries[sandbox.id] = Entry(sandbox)
        return sandbox

    async def complete(
        self, sandbox: Sandbox, spec: Awaitable[SandboxSpec], progress: Progress | None = None
    ) -> None:
        """Start an announced sandbox when its spec is known; whatever fails is said in its `error_reason`.

        Deleting it meanwhile is no failure.
        """
        entry = self._entries[sandbox.id]
        sandbox.happen(Event.BUILD)
        try:
            sandbox.spec = await spec
            if sandbox.state is State.BUILDING:
                await self._bring_up(entry, "", progress)
        except TidepoolError as error:
            sandbox.error_reason = str(error)
            if sandbox.state is State.BUILDING:
                sandbox.happen(Event.FAIL)
        finally:
            if sandbox.state is not State.STARTED:
                await asyncio.shield(self._kill(entry))

    def get(self, ref: str, tenant: str) -> Sandbox:
        """By id or name; destroyed ones stay visible for 30 s.

        Raises:
            NotFound: There is none, or it is another tenant's.
        """
        entry = self._entries.get(ref)
        if entry is not None and entry.sandbox.spec.tenant == tenant:
            return entry.sandbox
        for entry in self._entries.values():
            sandbox = entry.sandbox
            if sandbox.name == ref and sandbox.spec.tenant == tenant and entry.gone_at is None:
                return sandbox
        raise NotFound(f"Sandbox with ID or name {ref[:100]} not found")

    def find(self, number: str) -> Sandbox | None:
        """By id whoever's it is: for who has shown a right to this one sandbox instead of a tenant's key."""
        entry = self._entries.get(number)
        return entry.sandbox if entry is not None and entry.gone_at is None else None

    def list(self, tenant: str) -> "list[Sandbox]":
        """A tenant's sandboxes in order of creation, without destroyed ones."""
        entries = self._entries.values()
        return [
            entry.sandbox
            for entry in entries
            if entry.sandbox.spec.tenant == tenant and entry.gone_at is None
        ]

    async def delete(self, sandbox: Sandbox) -> None:
        """Destroy a sandbox; returns when all its processes are verified dead."""
        if sandbox.state in (State.DESTROYING, State.DESTROYED):
            return
        sandbox.happen(Event.DELETE)
        await asyncio.shield(self._remove(self._entries[sandbox.id]))
        sandbox.happen(Event.GONE)

    # what outlives a sandbox's processes

    async def stop(self, sandbox: Sandbox) -> None:
        """End all its processes and keep its files on disk; what could not be kept is in `not_kept`.

        Raises:
            WrongState: It is not started.
            SetupFailed: The files could not be saved; it is in state error.
        """
        entry = self._entries[sandbox.id]
        sandbox.happen(Event.STOP)
        await asyncio.shield(self._stop(entry))

    async def start_again(self, sandbox: Sandbox, progress: Progress | None = None) -> None:
        """Bring a stopped, archived or failed sandbox back with its files.

        Raises:
            WrongState: It is in another state, or it failed before its files were saved.
            NoCapacity, SetupFailed: It stays as it was.
        """
        entry = await self._recovery.saved(sandbox.id)
        if sandbox.state is State.ERROR and not sandbox.has_saved_files:
            raise WrongState(f"sandbox {sandbox.name} cannot be brought back: {sandbox.error_reason}")
        self._check_room()
        sandbox.happen(Event.START)
        try:
            await self._bring_up(entry, sandbox.id, progress)
        except BaseException:
            await asyncio.shield(self._kill(entry))
            if sandbox.state is State.STARTING:
                sandbox.happen(Event.STOPPED)
            raise

    def archive(self, sandbox: Sandbox) -> None:
        """Mark a stopped sandbox as one that will not be needed soon. Its files are on disk either way.

        Raises:
            WrongState: It is not stopped.
        """
        sandbox.happen(Event.ARCHIVE)

    async def resize(self, sandbox: Sandbox, limits: Limits) -> None:
        """Other limits: at once when it runs, else from its next start on.

        Raises:
            InvalidSpec: The disk holds more than it would have room for.
            WrongState: It is neither started nor stopped.
        """
        entry = self._entries[sandbox.id]
        if sandbox.state not in (State.STARTED, State.STOPPED):
            raise WrongState(
                f"sandbox {sandbox.name} is {sandbox.state.value}; it can be resized when started or stopped"
            )
        if entry.warm is not None:
            try:
                await self._pool.limit(entry.warm, limits, disk=True)
            except SetupFailed as error:
                raise InvalidSpec(f"sandbox {sandbox.name} cannot be resized: {error}") from None
        sandbox.spec = replace(sandbox.spec, limits=limits)

    async def set_network(
        self, sandbox: Sandbox, network: Network, allow: Sequence[str] = (), secrets: Secrets | None = None
    ) -> None:
        """Another network, as in `SandboxSpec`; what it forbids is cut at once. None leaves the secrets."""
        await self._networks.change(sandbox, self._entries[sandbox.id].warm, network, allow, secrets)

    async def fork(self, sandbox: Sandbox, spec: SandboxSpec) -> Sandbox:
        """Another sandbox that begins with the files of this one as they are now.

        Raises:
            WrongState: It has no files yet, or no longer.
            Conflict, NoCapacity, SetupFailed: As `create`.
        """
        self._admit(spec)
        source = self._entries[sandbox.id].warm
        if source is None:
            number = str(uuid.uuid4())
            await self._copy_files(sandbox, "saved", number)
            return await self.create(spec, number=number)
        await sandbox.hold_still(True)
        try:
            return await self._create(Sandbox(spec), source.box.slot)
        finally:
            await sandbox.hold_still(False)

    async def freeze(self, sandbox: Sandbox, image: str) -> int:
        """Make a read-only image of the files of a sandbox as they are now, with those of the image it started from.

        Returns bytes of the files that are its own.

        Raises:
            WrongState: It has no files yet, or no longer.
            SetupFailed: They could not be copied.
        """
        return (await self._copy_files(sandbox, "images", image)).bytes

    async def import_image(self, image: str, tar: Path) -> int:
        """Make an image of the tar of a whole system, one that does not lie on this host's; returns its bytes.

        Raises:
            SetupFailed: The tar is damaged, or there is no room.
        """
        fd = os.open(tar, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return (await self._backend.unpack(fd, image)).bytes
        finally:
            os.close(fd)

    async def delete_image(self, image: str) -> None:
        """Remove an image; no error when it is not there.

        Raises:
            Conflict: A sandbox was made from it.
        """
        for entry in self._entries.values():
            if entry.gone_at is None and entry.sandbox.spec.image == image:
                raise Conflict(f"the image is in use by sandbox {entry.sandbox.name}; delete that first")
        await self._pool.drop_image(image)
        await self._backend.forget("images", image)

    async def keep_warm(self, spec: SandboxSpec, count: int) -> None:
        """Keep so many sandboxes ready that can become what a spec of no dependencies asks for."""
        await self._pool.keep(spec, count)

    def warm_count(self, spec: SandboxSpec) -> int:
        """How many are ready."""
        return self._pool.parked(spec)

    async def make_volume(self, name: str) -> None:
        """An empty volume; no error when it is there."""
        await self._backend.make_volume(name)

    async def delete_volume(self, name: str) -> None:
        """Remove a volume with all its files; no error when it is not there.

        Raises:
            Conflict: A sandbox has it mounted, or will when it starts.
        """
        for entry in self._entries.values():
            spec = entry.sandbox.spec
            if entry.gone_at is None and any(volume.name == name for volume in spec.volumes):
                raise Conflict(f"the volume is in use by sandbox {entry.sandbox.name}; delete that first")
        await self._backend.forget("volumes", name)

    async def stored(self, kind: str) -> tuple[str, ...]:
        """What is on disk: ids of sandboxes (`saved`), names of `images` and of `volumes`."""
        return tuple(await self._backend.stored(kind))

    async def forget_others(self) -> None:
        """Remove saved files of sandboxes that this engine does not know, unless another engine may know them."""
        for number in await self._backend.stored("saved") if self._backend.alone else ():
            if number not in self._entries:
                await self._backend.forget("saved", number)

    def adopt(self, spec: SandboxSpec, number: str, has_files: bool) -> Sandbox:
        """A sandbox of a former engine: stopped when its files were saved, else only there to be told about."""
        sandbox = Sandbox(spec, number)
        sandbox.has_saved_files = has_files
        sandbox.state = State.STOPPED if has_files else State.ERROR
        self._entries[number] = Entry(sandbox)
        return sandbox

    async def close(self) -> None:
        """End every sandbox and everything that made them; files of those that are not ephemeral are saved."""
        if self._housekeeping is not None:
            self._housekeeping.cancel()
        await self._pool.close()
        for entry in self._entries.values():
            if entry.warm is not None:
                entry.warm.close()
        await self._egress.close()
        await self._backend.close()

    # inside

    def _admit(self, spec: SandboxSpec) -> None:
        self._check_room()
        if spec.name and any(box.name == spec.name for box in self.list(spec.tenant)):
            raise Conflict(f"Sandbox with name {spec.name} already exists")

    def _check_room(self) -> None:
        if (
            len(self._entries) >= self._config.max_sandboxes
            and (running := self.alive) >= self._config.max_sandboxes
        ):
            raise NoCapacity(f"this host runs {running} sandboxes already; delete some or try again later")
        if host.free_memory() < host.MIN_FREE_MEMORY:
            raise NoCapacity("this host has less than 256 MiB of free memory; try again later")

    async def _bring_up(self, entry: Entry, restore: Restore, progress: Progress | None) -> None:
        spec = entry.sandbox.spec
        layer = Layer()
        if spec.dependencies:
            assert self._layers is not None
            layer = await self._layers.get(spec.dependencies, progress)
        entry.warm = await self._pool.take(spec, layer, restore)
        faults.step("engine.create.taken")
        if not spec.ephemeral:
            self._backend.keep(entry.warm.box.slot, entry.sandbox.id)
        await self._furnish(entry.sandbox, entry.warm)
        faults.step("engine.create.furnished")

    async def _stop(self, entry: Entry) -> None:
        sandbox, warm = entry.sandbox, entry.warm
        assert warm is not None
        await self._networks.take(sandbox.id)
        entry.warm = None
        sandbox.detach()
        warm.close()
        faults.step("engine.stop.detached")
        try:
            kept = await self._backend.kill(warm.box.slot, save=True)
            faults.step("engine.stop.saved")
        except Fault as error:
            sandbox.error_reason = str(error)
            entry.held = warm.box.slot if error.holds_files else None
            if sandbox.state is State.STOPPING:
                sandbox.happen(Event.FAIL)
            raise
        sandbox.note_saved(None if kept is None else kept.not_kept)
        if sandbox.state is State.STOPPING:
            sandbox.happen(Event.STOPPED)

    async def _copy_files(self, sandbox: Sandbox, kind: str, name: str) -> namespaces.Kept:
        entry = self._entries[sandbox.id]
        base = sandbox.spec.image if kind == "images" else ""
        if entry.warm is None:
            if not sandbox.has_saved_files:
                raise WrongState(f"sandbox {sandbox.name} is {sandbox.state.value} and has no files to copy")
            return await self._backend.copy(sandbox.id, kind, name, base)
        await sandbox.hold_still(True)
        faults.step("engine.freeze.held")
        try:
            return await self._backend.freeze(entry.warm.box.slot, kind, name)
        finally:
            await sandbox.hold_still(False)

    async def _furnish(self, sandbox: Sandbox, warm: Warm) -> None:
        """Give a box its identity: environment, network, channel."""
        slot = warm.box.slot
        changed = {**sandbox.identity, **sandbox.spec.env, **sandbox.env_changes}
        env = {name: value for name, value in changed.items() if value is not None}
        env |= await self._networks.give(sandbox.id, sandbox.spec, warm)
        volumes_on = self._volumes_on if sandbox.spec.volumes else frozenset()

        async def destroy(reason: str) -> None:
            kept = await self._backend.kill(slot, save=True)
            entry = self._entries.get(sandbox.id)
            if entry is not None and entry.warm is warm:
                self._recovery.lose(entry, namespaces.Death(slot, reason, kept, False, True))

        host = Host(
            partial(self._backend.usage, slot), partial(self._backend.connect, slot), destroy, volumes_on
        )
        sandbox.attach(warm.channel, host, env)

    async def _abandon(self, entry: Entry) -> None:
        self._entries.pop(entry.sandbox.id, None)
        await self._remove(entry)

    async def _remove(self, entry: Entry) -> None:
        entry.gone_at = time.monotonic()
        entry.sandbox.detach()
        kept, _ = await asyncio.gather(self._kill(entry), self._recovery.let_go(entry))
        faults.step("engine.delete.killed")
        if entry.sandbox.has_saved_files or kept is not None:
            await self._backend.forget("saved", entry.sandbox.id)

    async def _kill(self, entry: Entry) -> namespaces.Kept | None:
        """Its files are not to be saved; what is returned were saved before that was known."""
        if entry.warm is None:
            return None
        entry.warm.close()
        kept = await self._backend.kill(entry.warm.box.slot)
        entry.warm = None  # what is gone is remembered for a while, and that must not keep its channel
        return kept

    async def _keep_house(self) -> None:
        while True:
            await asyncio.sleep(_HOUSEKEEPING_S)
            now = time.monotonic()
            for number, entry in list(self._entries.items()):
                if entry.gone_at is not None and now - entry.gone_at > _TOMBSTONE_S:
                    del self._entries[number]
            with contextlib.suppress(SetupFailed):
                await self._pool.trim(_LINE_IDLE_S)
