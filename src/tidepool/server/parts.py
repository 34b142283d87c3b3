"""What the application is made of: opened in order when it starts, closed in reverse when it ends.

Whatever cannot be opened is said in one logged sentence, and the server does not start.
"""

import asyncio
import fcntl
import logging
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from starlette.datastructures import State as AppState

from tidepool.engine import Engine, Sandbox, SandboxSpec, State
from tidepool.engine.errors import Refused, TidepoolError
from tidepool.server import translate
from tidepool.server.auth import Judge
from tidepool.server.config import ServerConfig
from tidepool.server.events import Events
from tidepool.server.keeper import Keeper
from tidepool.server.keys import Keys
from tidepool.server.objects import Objects
from tidepool.server.records import Listener, Registry
from tidepool.server.routes.warm_pools import Pool, WarmPools
from tidepool.server.snapshots import Snapshots
from tidepool.server.ssh_access import Accesses
from tidepool.server.store import Store
from tidepool.server.vault import Vault
from tidepool.wire.sandbox import CreateSandbox

log = logging.getLogger("tidepool.server")


@asynccontextmanager
async def opened(state: AppState, judge: Judge) -> AsyncIterator[list[asyncio.Task[None]]]:
    """All parts, in the application's state; gives the tasks without which the server must not go on.

    Raises:
        CannotStart: A part could not be opened; the log has the reason.
    """
    engine, config, keeper = state.engine, state.config, state.keeper
    lock = _lock(config.records_dir)
    state.store = store = await _opened(config.database_url)
    state.keys, state.vault = Keys(store), Vault(store, config.records_dir)
    state.warm_pools, state.events = WarmPools(store), Events(judge)
    state.objects = objects = Objects.open(config.records_dir)
    state.snapshots = await _snapshots(engine, store, config, objects)
    state.registry = registry = Registry(engine, keeper, store, _teller(state.events, engine, keeper))
    await _restored(registry)
    await _warmed(engine, state.snapshots, state.warm_pools)
    tasks = [asyncio.create_task(keeper.run()), asyncio.create_task(registry.run())]
    state.ssh_access = accesses = Accesses(store)
    if state.ssh_listener is not None:
        tasks.append(await _ssh(engine, config, accesses, state.ssh_listener))
    yield tasks
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    await state.events.close()
    await state.snapshots.close()
    await store.close()
    os.close(lock)


async def _warmed(engine: Engine, snapshots: Snapshots, pools: WarmPools) -> None:
    """Keep ready what warm pools ask for, from now on and as they change."""
    specs: dict[str, SandboxSpec] = {}

    async def keep(pool: Pool) -> None:
        base = await snapshots.image_for(CreateSandbox(snapshot=pool.snapshot), pool.tenant)
        specs[pool.id] = SandboxSpec(tenant=pool.tenant, image=base.image, user=base.user or "daytona")
        await engine.keep_warm(specs[pool.id], pool.pool)

    def size_of(pool: Pool) -> int:
        return engine.warm_count(specs[pool.id]) if pool.id in specs else 0

    pools.on_change, pools.size_of = keep, size_of
    for pool in await pools.list(None):
        try:
            await keep(pool)
        except Refused as error:  # its snapshot has gone
            log.warning("warm pool of %s: %s", pool.snapshot, error)


def _teller(listeners: Events, engine: Engine, keeper: Keeper) -> Listener:
    """Tells clients that listen of each change of a sandbox's state."""

    def tell(sandbox: Sandbox, before: State, after: State) -> None:
        def data(url: str) -> Any:
            terms = keeper.terms_of(sandbox)
            body = translate.sandbox_body(sandbox, terms, url, engine.enforced, engine.not_enforced)
            return {"sandbox": body, "oldState": before.value, "newState": after.value}

        listeners.emit(sandbox.spec.tenant, "sandbox.state.updated", data)

    return tell


class CannotStart(Exception):
    """The start ends here; the reason has been logged."""


async def _snapshots(engine: Engine, store: Store, config: ServerConfig, objects: Objects) -> Snapshots:
    try:
        return await Snapshots.open(engine, store, config, objects.paths)
    except ValueError as error:  # of the registry's URL
        log.critical("cannot start: %s", error)
        raise CannotStart(error) from None


async def _ssh(
    engine: Engine, config: ServerConfig, accesses: Accesses, listener: socket.socket
) -> asyncio.Task[None]:
    from tidepool.server.ssh import Gateway  # it needs an optional library

    gateway = Gateway(engine, accesses)
    try:
        await gateway.listen(listener, config.records_dir)
    except (OSError, ValueError) as error:
        log.critical("cannot start: %s", error)
        raise CannotStart(error) from None
    return asyncio.create_task(gateway.run())


def _lock(directory: Path) -> int:
    """A descriptor that keeps other servers out of this one's records."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        log.critical(
            "cannot start: another server uses %s; give this one a TIDEPOOL_REALM or another TIDEPOOL_STATE_DIR",
            directory,
        )
        raise CannotStart(directory) from None
    return fd


async def _restored(registry: Registry) -> None:
    try:
        await registry.restore()
    except TidepoolError as error:
        log.critical("cannot start: %s", error)
        raise CannotStart(error) from None


async def _opened(url: str) -> Store:
    try:
        return await Store.open(url)
    except TidepoolError as error:
        log.critical("cannot start: %s", error)
        raise CannotStart(error) from None
