"""Control API: warm pools (protocol section 5.6): which snapshots are kept ready, and how many of each.

What is asked for is kept in the store; that it is so is for `WarmPools.on_change` to see to, and `size_of` to tell.
"""

import math
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tidepool.engine import Limits, SandboxSpec
from tidepool.engine.errors import InvalidSpec, NotFound
from tidepool.server import translate
from tidepool.server.answers import json_answer, read_json, timestamp
from tidepool.server.routes import tenant_of
from tidepool.server.snapshots import Snapshots
from tidepool.server.store import Store
from tidepool.wire import paths
from tidepool.wire import warm_pools as wire
from tidepool.wire.sandbox import CreateSandbox

KIND = "warm_pool"


class Pool(msgspec.Struct):
    """One pool as the store has it."""

    id: str
    tenant: str
    snapshot: str
    pool: int
    created_at: str
    updated_at: str


class WarmPools:
    """The pools that were asked for; one of each snapshot for a tenant."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.on_change: Callable[[Pool], Awaitable[None]] | None = None
        """Called after a pool was made or changed, and with `pool` 0 after it was deleted."""
        self.size_of: Callable[[Pool], int] = _nothing_ready

    async def list(self, tenant: str | None) -> list[Pool]:
        """A tenant's pools, oldest first; None: everybody's."""
        return [msgspec.convert(body, Pool) for body in await self._store.list(KIND, tenant)]

    async def get(self, tenant: str, number: str) -> Pool:
        """By id.

        Raises:
            NotFound: The tenant has none such.
        """
        body = await self._store.get(KIND, tenant, number)
        if body is None or body["id"] != number:
            raise NotFound(f"Warm pool {number[:200]} not found")
        return msgspec.convert(body, Pool)

    async def save(self, pool: Pool) -> None:
        """Insert or replace.

        Raises:
            Conflict: The tenant has a pool of this snapshot.
        """
        body: dict[str, Any] = msgspec.to_builtins(pool)
        await self._store.put(KIND, pool.tenant, pool.id, pool.snapshot, body)
        await self._tell(pool)

    async def delete(self, pool: Pool) -> None:
        """Forget it."""
        await self._store.delete(KIND, pool.tenant, pool.id)
        pool.pool = 0
        await self._tell(pool)

    async def _tell(self, pool: Pool) -> None:
        if self.on_change is not None:
            await self.on_change(pool)


def _nothing_ready(pool: Pool) -> int:
    """The size of every pool while nobody keeps sandboxes for it."""
    return 0


async def create(request: Request) -> Response:
    """`POST /warm-pools`."""
    asked = await read_json(request, wire.CreateWarmPool)
    if asked.target not in (None, "", translate.TARGET):
        raise InvalidSpec(f"target is {asked.target[:60]!r}; the only region there is is {translate.TARGET}")
    snapshots: Snapshots = request.app.state.snapshots
    # Refused now, and not only when the first sandbox is to be made.
    await snapshots.image_for(CreateSandbox(snapshot=asked.snapshot), tenant_of(request))
    now = timestamp(datetime.now(UTC))
    pool = Pool(str(uuid.uuid4()), tenant_of(request), asked.snapshot, asked.pool, now, now)
    await _pools(request).save(pool)
    return json_answer(_body(request, pool), 201)


async def list_all(request: Request) -> Response:
    """`GET /warm-pools`."""
    return json_answer([_body(request, pool) for pool in await _pools(request).list(tenant_of(request))])


async def update(request: Request) -> Response:
    """`PATCH /warm-pools/{pool}`."""
    asked = await read_json(request, wire.UpdateWarmPool)
    pool = await _pools(request).get(tenant_of(request), request.path_params["pool"])
    pool.pool, pool.updated_at = asked.pool, timestamp(datetime.now(UTC))
    await _pools(request).save(pool)
    return json_answer(_body(request, pool))


async def delete(request: Request) -> Response:
    """`DELETE /warm-pools/{pool}`."""
    pool = await _pools(request).get(tenant_of(request), request.path_params["pool"])
    await _pools(request).delete(pool)
    return Response(status_code=204)


def _pools(request: Request) -> WarmPools:
    pools: WarmPools = request.app.state.warm_pools
    return pools


def _body(request: Request, pool: Pool) -> wire.WarmPool:
    limits = Limits()
    return wire.WarmPool(
        id=pool.id,
        organization_id=translate.ORGANIZATION,
        snapshot=pool.snapshot,
        target=translate.TARGET,
        pool=pool.pool,
        current_size=_pools(request).size_of(pool),
        cpu=math.ceil(limits.cpu),
        mem=math.ceil(limits.memory_bytes / translate.GIB),
        disk=math.ceil(limits.disk_bytes / translate.GIB),
        os_user=SandboxSpec().user,
        env={},
        created_at=pool.created_at,
        updated_at=pool.updated_at,
    )


routes = [
    Route(paths.WARM_POOLS, create, methods=["POST"]),
    Route(paths.WARM_POOLS, list_all, methods=["GET"]),
    Route(paths.WARM_POOL, update, methods=["PATCH"]),
    Route(paths.WARM_POOL, delete, methods=["DELETE"]),
]
