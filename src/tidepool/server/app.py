"""The whole application on one screen: routes, middleware in order, errors."""

import asyncio
import fcntl
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Mount

from tidepool.engine import Engine, Sandbox, State
from tidepool.engine.errors import TidepoolError
from tidepool.server import events, openapi, translate
from tidepool.server.auth import Auth, Judge
from tidepool.server.config import ServerConfig
from tidepool.server.connection import UnderWay
from tidepool.server.errors import on_engine_error, on_fault, on_http_error
from tidepool.server.gate import Gate
from tidepool.server.keeper import Keeper
from tidepool.server.keys import Identity, Keys
from tidepool.server.objects import Objects
from tidepool.server.preview import SignedPreviews
from tidepool.server.records import Listener, Registry
from tidepool.server.routes import (
    elsewhere,
    files,
    git,
    info,
    interpreter,
    keys,
    lifecycle,
    lsp,
    network,
    object_storage,
    organization,
    preview,
    process,
    pty,
    sandboxes,
    secrets,
    sessions,
    signing,
    snapshots,
    ssh,
    system,
    volumes,
    warm_pools,
)
from tidepool.server.snapshots import Snapshots
from tidepool.server.ssh_access import Accesses
from tidepool.server.store import Store
from tidepool.server.vault import Vault
from tidepool.wire import paths

log = logging.getLogger("tidepool.server")


def routes() -> list[BaseRoute]:
    """Every route: first the more exact of two that fit, last what is not served."""
    toolbox = [
        *process.routes,
        *interpreter.routes,
        *sessions.routes,
        *pty.routes,
        *lsp.routes,
        *files.routes,
        *git.routes,
        *info.toolbox_routes,
        *system.routes,
        *elsewhere.toolbox_routes,
    ]
    control = [
        *info.control_routes,
        *organization.routes,  # has /sandbox/regions, which is no sandbox
        *ssh.routes,  # has /sandbox/ssh-access, which is no sandbox either
        *sandboxes.routes,
        *lifecycle.routes,
        *system.control_routes,
        *network.routes,
        *snapshots.routes,
        *object_storage.control_routes,
        *keys.routes,
        *secrets.routes,
        *volumes.routes,
        *warm_pools.routes,
        *signing.routes,
        *preview.routes,
        *events.routes,
        *elsewhere.control_routes,
        Mount(paths.OLD_TOOLBOX_ONE, routes=toolbox),
    ]
    return [
        *openapi.routes,
        *object_storage.storage_routes,
        Mount(paths.TOOLBOX_ONE, routes=toolbox),
        Mount(paths.API, routes=control),
    ]


def build_app(
    engine: Engine, config: ServerConfig, stop: Callable[[], None], ssh_listener: socket.socket | None = None
) -> Starlette:
    """The application for one engine; `stop` ends the server. The engine is closed by who started it.

    SSH is served on `ssh_listener`, a bound socket, where there is one.
    """
    keeper = Keeper(engine, config.idle_s, stop)

    async def find_key(key: str) -> Identity | None:
        made: Keys = app.state.keys
        return await made.find(key)

    judge = Judge(config, find_key)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        lock = _lock(config.records_dir)
        app.state.store = store = await _opened(config.database_url)
        app.state.keys, app.state.vault = Keys(store), Vault(store, config.records_dir)
        app.state.warm_pools, app.state.events = warm_pools.WarmPools(store), events.Events(judge)
        app.state.objects = objects = Objects.open(config.records_dir)
        app.state.snapshots = await _snapshots(engine, store, config, objects)
        app.state.registry = registry = Registry(
            engine, keeper, store, _teller(app.state.events, engine, keeper)
        )
        await _restored(registry)
        tasks = [asyncio.create_task(keeper.run()), asyncio.create_task(registry.run())]
        app.state.ssh_access = accesses = Accesses(store)
        if ssh_listener is not None:
            tasks.append(await _ssh(engine, config, accesses, ssh_listener))
        for task in tasks:
            task.add_done_callback(ended)
        yield
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await app.state.events.close()
        await app.state.snapshots.close()
        await store.close()
        os.close(lock)

    def ended(watching: asyncio.Task[None]) -> None:
        if not watching.cancelled():  # without it sandboxes would be left behind: better no server
            log.critical("the keeper failed; the server ends", exc_info=watching.exception())
            stop()

    app = Starlette(
        routes=routes(),
        middleware=[
            Middleware(UnderWay, enter=keeper.enter, leave=keeper.leave),
            Middleware(Gate, judge=judge, domain=config.preview_domain),
            Middleware(Auth, judge=judge),
        ],
        exception_handlers={
            TidepoolError: on_engine_error,
            HTTPException: on_http_error,
            Exception: on_fault,
        },
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    app.state.engine, app.state.config, app.state.keeper = engine, config, keeper
    app.state.started_at, app.state.previews = datetime.now(UTC), SignedPreviews()
    app.state.ssh_listener = ssh_listener
    return app


def _teller(listeners: events.Events, engine: Engine, keeper: Keeper) -> Listener:
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
