"""The engine: makes, finds and destroys sandboxes on this host; owns pool, layers and spawner.

The process it lives in is unprivileged once `start` has returned (unless told otherwise): the spawner is the only one
left with rights. Nothing survives `close`: every process, mount and control group is gone when it returns.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tidepool.engine.backends import namespaces
from tidepool.engine.egress import Egress
from tidepool.engine.errors import Conflict, NoCapacity, NotFound, SetupFailed
from tidepool.engine.guest import syscalls
from tidepool.engine.layers import Layers
from tidepool.engine.lifecycle import Event, State
from tidepool.engine.pool import Layer, Pool, Warm
from tidepool.engine.sandbox import Host, Sandbox
from tidepool.engine.spawner import protocol
from tidepool.engine.spec import SandboxSpec

PROXY_PORT = 3128
"""Where a sandbox with network `packages` finds the package proxy on its loopback."""
_TOMBSTONE_S = 30.0
_LINE_IDLE_S = 300.0
_HOUSEKEEPING_S = 5.0
_MIN_FREE_MEMORY = 256 << 20

Progress = Callable[[str], None]


@dataclass(frozen=True)
class EngineConfig:
    """How one engine is set up."""

    state_dir: Path
    """Images and dependency layers; kept between starts."""
    runtime_dir: Path
    """Sockets and locks of this start."""
    pool_size: int = 2
    """Parked sandboxes per tenant and dependency layer in use."""
    max_sandboxes: int = 1000
    drop_root: bool = True
    """Whether `start` gives up root for the whole process after the spawner runs."""


@dataclass
class _Entry:
    sandbox: Sandbox
    warm: Warm | None = None
    gone_at: float | None = None


class Engine:
    """All sandboxes of one server."""

    def __init__(self, config: EngineConfig, backend: namespaces.Backend, egress: Egress) -> None:
        self._config = config
        self._backend = backend
        self._egress = egress
        self._pool = Pool(backend, config.pool_size)
        self._entries: dict[str, _Entry] = {}
        self._layers: Layers | None = None
        self._housekeeping: asyncio.Task[None] | None = None

    @classmethod
    async def start(cls, config: EngineConfig) -> "Engine":
        """Start spawner, egress proxy and pool; gives up root on the way.

        Raises:
            HostUnsupported: This host cannot isolate; the sentence says what to enable, and nothing was run.
        """
        _make_directories(config)
        launched = namespaces.launch(config.state_dir, f"tidepool-{os.getpid()}")
        egress = Egress.launch(config.state_dir, protocol.EGRESS_UID)
        if config.drop_root:
            drop_privileges(protocol.SERVER_UID)
        engine_ref: list[Engine] = []
        backend = namespaces.Backend(launched, lambda slot, kills: engine_ref[0]._on_death(slot, kills))
        engine = cls(config, backend, egress)
        engine_ref.append(engine)
        await backend.ready()
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
        """How many sandboxes there are, of all tenants."""
        return sum(1 for entry in self._entries.values() if entry.gone_at is None)

    async def create(self, spec: SandboxSpec, progress: Progress | None = None) -> Sandbox:
        """A started sandbox.

        Raises:
            Conflict: The tenant has one of this name.
            DependencyFailed: The dependencies cannot be resolved or installed.
            NoCapacity, SetupFailed.
        """
        self._admit(spec)
        sandbox = Sandbox(spec)
        entry = self._entries[sandbox.id] = _Entry(sandbox)
        try:
            layer = Layer()
            if spec.dependencies:
                assert self._layers is not None
                layer = await self._layers.get(spec.dependencies, progress)
            entry.warm = await self._pool.take(spec.tenant, layer, spec.limits)
            await self._furnish(sandbox, entry.warm)
        except BaseException:
            await asyncio.shield(self._abandon(entry))
            raise
        return sandbox

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

    async def close(self) -> None:
        """Destroy every sandbox and everything that made them."""
        if self._housekeeping is not None:
            self._housekeeping.cancel()
        await self._pool.close()
        for entry in self._entries.values():
            if entry.warm is not None:
                entry.warm.channel.close()
        await self._egress.close()
        await self._backend.close()

    # inside

    def _admit(self, spec: SandboxSpec) -> None:
        alive = [entry.sandbox for entry in self._entries.values() if entry.gone_at is None]
        if len(alive) >= self._config.max_sandboxes:
            raise NoCapacity(f"this host runs {len(alive)} sandboxes already; delete some or try again later")
        if _free_memory() < _MIN_FREE_MEMORY:
            raise NoCapacity("this host has less than 256 MiB of free memory; try again later")
        if spec.name and any(box.name == spec.name and box.spec.tenant == spec.tenant for box in alive):
            raise Conflict(f"Sandbox with name {spec.name} already exists")

    async def _furnish(self, sandbox: Sandbox, warm: Warm) -> None:
        """Give a box its identity: environment, network, channel."""
        slot = warm.box.slot
        env = {**_identity(sandbox), **sandbox.spec.env}
        if sandbox.spec.network == "packages":
            with await self._backend.listen(slot, PROXY_PORT) as listener:
                env |= await self._egress.serve(sandbox.id, listener, PROXY_PORT)

        async def destroy(reason: str) -> None:
            sandbox.lose(reason)
            await self._kill(warm)

        sandbox.attach(warm.channel, Host(lambda: self._backend.oom_kills(slot), destroy))
        await sandbox.set_env(env)

    async def _abandon(self, entry: _Entry) -> None:
        self._entries.pop(entry.sandbox.id, None)
        await self._remove(entry)

    async def _remove(self, entry: _Entry) -> None:
        entry.gone_at = time.monotonic()
        if entry.sandbox.spec.network != "none":
            await self._egress.stop(entry.sandbox.id)
        if entry.warm is not None:
            await self._kill(entry.warm)

    async def _kill(self, warm: Warm) -> None:
        warm.channel.close()
        await self._backend.kill(warm.box.slot)

    def _on_death(self, slot: int, oom_kills: int) -> None:
        for entry in self._entries.values():
            if entry.warm is not None and entry.warm.box.slot == slot:
                why = (
                    "its memory limit was reached and its init was killed" if oom_kills else "its init ended"
                )
                entry.sandbox.lose(why)

    async def _keep_house(self) -> None:
        while True:
            await asyncio.sleep(_HOUSEKEEPING_S)
            now = time.monotonic()
            for number, entry in list(self._entries.items()):
                if entry.gone_at is not None and now - entry.gone_at > _TOMBSTONE_S:
                    del self._entries[number]
            with contextlib.suppress(SetupFailed):
                await self._pool.trim(_LINE_IDLE_S)


def drop_privileges(uid: int) -> None:
    """Become `uid` for good: no groups, no way back, no core dumps with secrets in them.

    Raises:
        SetupFailed: It could not be done; the process must not go on.
    """
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    if os.getresuid() != (uid, uid, uid) or os.geteuid() == 0:
        raise SetupFailed("root could not be given up")


def _make_directories(config: EngineConfig) -> None:
    config.state_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
    layers = config.state_dir / "layers"
    layers.mkdir(mode=0o755, exist_ok=True)
    if os.geteuid() == 0 and config.drop_root:
        os.chown(layers, protocol.SERVER_UID, protocol.SERVER_UID)


def _identity(sandbox: Sandbox) -> dict[str, str]:
    user = sandbox.spec.user
    return {
        "DAYTONA_SANDBOX_ID": sandbox.id,
        "DAYTONA_SANDBOX_USER": user,
        "USER": user,
        "LOGNAME": user,
    }


def _free_memory() -> int:
    with open("/proc/meminfo") as file:
        for line in file:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return _MIN_FREE_MEMORY
