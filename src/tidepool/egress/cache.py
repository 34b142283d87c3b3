"""Answers kept for a while: one fetch at a time per key, bounded by cost, oldest use dropped first.

Shared by all sandboxes; only what an index itself sent is ever put in. A failure is never kept.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Made(Generic[T]):
    """A fresh value, what keeping it costs (bytes) and how long it stays true (seconds)."""

    value: T
    cost: int
    ttl_s: float


class Cache(Generic[T]):
    """Values by key.

    Args:
        max_cost: Bytes; beyond it the least recently used values go.
    """

    def __init__(self, max_cost: int) -> None:
        self._max_cost = max_cost
        self._cost = 0
        self._kept: OrderedDict[Hashable, tuple[float, Made[T]]] = OrderedDict()
        self._running: dict[Hashable, asyncio.Task[T]] = {}

    async def get(self, key: Hashable, make: Callable[[], Awaitable[Made[T]]]) -> T:
        """The value, made when absent or expired; callers that come meanwhile wait for the same making.

        Raises:
            Exception: Whatever `make` raises, to every waiting caller.
        """
        kept = self._kept.get(key)
        if kept is not None and kept[0] > time.monotonic():
            self._kept.move_to_end(key)
            return kept[1].value
        task = self._running.get(key)
        if task is None:
            task = asyncio.create_task(self._make(key, make))
            self._running[key] = task
            task.add_done_callback(lambda done: self._finished(key, done))
        # A caller that goes away must not take the making from the others.
        return await asyncio.shield(task)

    async def _make(self, key: Hashable, make: Callable[[], Awaitable[Made[T]]]) -> T:
        made = await make()
        self._drop(key)
        self._kept[key] = (time.monotonic() + made.ttl_s, made)
        self._cost += made.cost
        while self._cost > self._max_cost and self._kept:
            self._drop(next(iter(self._kept)))
        return made.value

    def _drop(self, key: Hashable) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self._cost -= kept[1].cost

    def _finished(self, key: Hashable, task: asyncio.Task[T]) -> None:
        del self._running[key]
        if not task.cancelled():
            task.exception()  # seen here, so that a failure nobody waits for is not reported as forgotten
