"""Sandboxes as the store knows them: written when they change, read when a server starts.

What the store says and what is on disk decide together what becomes of a sandbox whose server ended: with its files it
is there again, stopped; without them it is in state error with the reason, until somebody deletes it.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import datetime
from typing import Any, Protocol

import msgspec

from tidepool.engine import Engine, Sandbox, SandboxSpec, State
from tidepool.engine.errors import TidepoolError, Unavailable
from tidepool.server.keeper import Keeper, Terms

KIND = "sandboxes"
_REST = (State.STOPPED, State.ARCHIVED)
_GONE = "the server ended while it ran, and its files could not be saved"
_ENDED = "the server ended while it ran; its files were saved, it can be started again"
log = logging.getLogger("tidepool.server")

Listener = Callable[[Sandbox, State, State], None]
"""Told of a sandbox's old and new state."""


class Records(Protocol):
    """What is needed of a store."""

    async def put(self, kind: str, tenant: str, id: str, name: str, body: dict[str, Any]) -> None:
        """Insert or replace."""

    async def list(self, kind: str, tenant: str | None) -> list[dict[str, Any]]:
        """In order of creation; of all tenants for None."""

    async def delete(self, kind: str, tenant: str, id: str) -> bool:
        """Whether there was one."""


class Record(msgspec.Struct):
    """One sandbox."""

    id: str
    name: str
    spec: SandboxSpec
    terms: Terms
    labels: dict[str, str]
    env: dict[str, str | None]
    """What was changed of it since it was made; None: unset."""
    state: State
    error_reason: str | None
    created_at: datetime
    updated_at: datetime
    last_activity_at: datetime
    source: str
    public: bool
    signing_key: str = ""
    """Empty in records of an older server."""


def to_body(sandbox: Sandbox, terms: Terms) -> dict[str, Any]:
    """A sandbox as a document; values of secrets stay out of it."""
    record = Record(
        id=sandbox.id,
        name=sandbox.name,
        spec=_without_values(sandbox.spec),
        terms=terms,
        labels=dict(sandbox.labels),
        env=dict(sandbox.env_changes),
        state=sandbox.state,
        error_reason=sandbox.error_reason,
        created_at=sandbox.created_at,
        updated_at=sandbox.updated_at,
        last_activity_at=sandbox.last_activity_at,
        source=sandbox.source,
        public=sandbox.public,
        signing_key=sandbox.signing_key,
    )
    found: dict[str, Any] = msgspec.to_builtins(record, enc_hook=dict)
    return found


def _without_values(spec: SandboxSpec) -> SandboxSpec:
    return replace(spec, secrets={name: replace(one, value="") for name, one in spec.secrets.items()})


def from_body(body: dict[str, Any]) -> Record:
    """What was written.

    Raises:
        ValueError: It was written by something else.
    """
    return msgspec.convert(body, Record)


class Registry:
    """Keeps the store true to the engine."""

    def __init__(self, engine: Engine, keeper: Keeper, store: Records, listener: Listener) -> None:
        self._engine = engine
        self._keeper = keeper
        self._store = store
        self._listener = listener
        self._dirty: dict[str, Sandbox] = {}
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def add(self, sandbox: Sandbox, terms: Terms) -> None:
        """A new sandbox: watched from now on, and on record unless it is ephemeral."""
        self._keeper.watch(sandbox, terms)
        sandbox.on_change = self._changed
        await self.save(sandbox)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Go on with something whose client need not wait; it ends with the server."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def save(self, sandbox: Sandbox) -> None:
        """Write down how a sandbox is now."""
        self._dirty.pop(sandbox.id, None)
        if sandbox.spec.ephemeral:
            return
        tenant = sandbox.spec.tenant
        if sandbox.state in (State.DESTROYING, State.DESTROYED):
            await self._store.delete(KIND, tenant, sandbox.id)
        else:
            body = to_body(sandbox, self._keeper.terms_of(sandbox))
            await self._store.put(KIND, tenant, sandbox.id, sandbox.name, body)

    async def run(self) -> None:
        """Write down changes that nobody waits for, until cancelled; then the last of them."""
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                await self._flush()
        finally:
            for task in self._tasks:
                task.cancel()
            await self._flush()

    async def restore(self) -> None:
        """Take over what a former server left behind.

        Raises:
            Unavailable: A record cannot be read; nothing was changed.
        """
        saved = set(await self._engine.stored("saved"))
        for body in await self._store.list(KIND, None):
            try:
                record = from_body(body)
            except ValueError as error:
                raise Unavailable(
                    f"the record of sandbox {str(body.get('id'))[:64]} cannot be read; repair or delete it: {error}"
                ) from None
            if record.terms.auto_delete == 0:  # it stopped with its server, which was to be its end
                await self._store.delete(KIND, record.spec.tenant, record.id)
                continue
            sandbox = self._engine.adopt(record.spec, record.id, has_files=record.id in saved)
            _describe(sandbox, record)
            self._keeper.watch(sandbox, record.terms)
            sandbox.on_change = self._changed
        await self._engine.forget_others()  # a fork or a delete that was cut off

    def _changed(self, sandbox: Sandbox, before: State) -> None:
        self._listener(sandbox, before, sandbox.state)
        self._dirty[sandbox.id] = sandbox
        self._wake.set()

    async def _flush(self) -> None:
        while self._dirty:
            _, sandbox = self._dirty.popitem()
            try:
                await self.save(sandbox)
            except TidepoolError as error:  # the next change writes all of it again
                log.error("sandbox %s could not be written down: %s", sandbox.id, error)


def _describe(sandbox: Sandbox, record: Record) -> None:
    sandbox.name, sandbox.labels, sandbox.env_changes = record.name, record.labels, record.env
    sandbox.source, sandbox.public = record.source, record.public
    sandbox.signing_key = record.signing_key or sandbox.signing_key
    sandbox.created_at, sandbox.updated_at = record.created_at, record.updated_at
    sandbox.last_activity_at = record.last_activity_at
    if sandbox.has_saved_files and record.state in _REST:
        sandbox.state, sandbox.error_reason = record.state, record.error_reason
    elif sandbox.has_saved_files:
        sandbox.error_reason = record.error_reason or _ENDED
    else:
        sandbox.state, sandbox.error_reason = State.ERROR, record.error_reason or _GONE
