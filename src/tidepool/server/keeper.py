"""Sandboxes nobody looks after: deleted when their time is over; and the server's own end when there is no work.

A sandbox has an end when its request gave it one: `ttlMinutes`, or `autoDeleteInterval` 0 (ephemeral) together with
`autoStopInterval` minutes without activity. On a server that exits when idle (the local one the SDK starts) every
sandbox that has been idle for its `autoStopInterval`, 15 minutes by default, is deleted: nothing is left behind.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from tidepool.engine import Engine, Sandbox
from tidepool.engine.errors import TidepoolError
from tidepool.server.translate import AUTO_STOP_MIN
from tidepool.wire.sandbox import CreateSandbox

TICK_S = 1.0


@dataclass
class _Term:
    sandbox: Sandbox
    idle_s: float | None
    """Deleted after so long without activity."""
    ttl_s: float | None
    """Deleted at this age."""

    def is_over(self, now: datetime) -> bool:
        idle = (now - self.sandbox.last_activity_at).total_seconds()
        age = (now - self.sandbox.created_at).total_seconds()
        return (self.idle_s is not None and not self.sandbox.busy and idle > self.idle_s) or (
            self.ttl_s is not None and age > self.ttl_s
        )


class Keeper:
    """Watches sandboxes and the server itself, once a second."""

    def __init__(self, engine: Engine, idle_s: float | None, stop: Callable[[], None]) -> None:
        self._engine = engine
        self._idle_s = idle_s
        self._stop = stop
        self._terms: dict[str, _Term] = {}
        self._requests = 0
        self._quiet_since = time.monotonic()

    def watch(self, sandbox: Sandbox, asked: CreateSandbox) -> None:
        """Note when a new sandbox's time is over."""
        interval = AUTO_STOP_MIN if asked.auto_stop_interval is None else asked.auto_stop_interval
        forgotten = self._idle_s is not None or asked.auto_delete_interval == 0
        idle_s = interval * 60.0 if interval > 0 and forgotten else None
        ttl_s = asked.ttl_minutes * 60.0 if asked.ttl_minutes else None
        if idle_s is not None or ttl_s is not None:
            self._terms[sandbox.id] = _Term(sandbox, idle_s, ttl_s)

    def enter(self) -> None:
        """A request has come."""
        self._requests += 1

    def leave(self) -> None:
        """A request has been answered."""
        self._requests -= 1
        self._quiet_since = time.monotonic()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(TICK_S)
            await self._delete_what_is_over()
            if self._idle_s is not None and self._is_idle(self._idle_s):
                self._stop()

    def _is_idle(self, idle_s: float) -> bool:
        quiet = time.monotonic() - self._quiet_since > idle_s
        return quiet and not self._requests and not self._engine.alive

    async def _delete_what_is_over(self) -> None:
        now = datetime.now(UTC)
        for number, term in list(self._terms.items()):
            if term.sandbox.state.value.startswith("destroy"):
                del self._terms[number]
            elif term.is_over(now):
                del self._terms[number]
                try:
                    await self._engine.delete(term.sandbox)
                except TidepoolError:
                    self._terms[number] = term  # the next tick tries again
