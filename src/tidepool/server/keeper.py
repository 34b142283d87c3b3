"""Sandboxes nobody looks after: deleted when their time is over; and the server's own end when there is no work.

What a request said about time is `Terms`. Here no sandbox is ever stopped and kept: where Daytona would stop it, it is
deleted, and only if its request called it ephemeral or the server is the local one, which must leave nothing behind.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from tidepool.engine import Engine, Sandbox, State
from tidepool.engine.errors import TidepoolError

TICK_S = 1.0
log = logging.getLogger("tidepool.server")


@dataclass(frozen=True)
class Terms:
    """When a sandbox's time is over; None: never."""

    idle_min: int | None = None
    """Minutes without activity; a run under way is activity."""
    ttl_min: int | None = None
    """Age in minutes, whatever it does."""

    def are_over(self, idle_s: float, age_s: float, busy: bool) -> bool:
        """Whether a sandbox this long idle and this old is to be deleted."""
        forgotten = self.idle_min is not None and not busy and idle_s > self.idle_min * 60
        return forgotten or (self.ttl_min is not None and age_s > self.ttl_min * 60)


class Keeper:
    """Watches sandboxes and the server itself, once a second."""

    def __init__(self, engine: Engine, idle_s: float | None, stop: Callable[[], None]) -> None:
        self._engine = engine
        self._idle_s = idle_s
        self._stop = stop
        self._watched: dict[str, tuple[Sandbox, Terms]] = {}
        self._requests = 0
        self._quiet_since = time.monotonic()

    def watch(self, sandbox: Sandbox, terms: Terms) -> None:
        """From now on delete it when its time is over."""
        self._watched[sandbox.id] = (sandbox, terms)

    def terms_of(self, sandbox: Sandbox) -> Terms:
        """What was said when it was made."""
        return self._watched[sandbox.id][1] if sandbox.id in self._watched else Terms()

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
            await self.tidy(datetime.now(UTC))
            if self._idle_s is not None and self._is_idle(self._idle_s):
                self._stop()

    async def tidy(self, now: datetime) -> None:
        """Delete the sandboxes whose time is over at this moment."""
        for sandbox, terms in list(self._watched.values()):
            idle_s = (now - sandbox.last_activity_at).total_seconds()
            age_s = (now - sandbox.created_at).total_seconds()
            if sandbox.state in (State.DESTROYING, State.DESTROYED):
                del self._watched[sandbox.id]
            elif terms.are_over(idle_s, age_s, bool(sandbox.busy)):
                try:
                    await self._engine.delete(sandbox)
                except TidepoolError:  # the next tick tries again
                    log.exception("sandbox %s, whose time is over, could not be deleted", sandbox.id)

    def _is_idle(self, idle_s: float) -> bool:
        quiet = time.monotonic() - self._quiet_since > idle_s
        return quiet and not self._requests and not self._engine.alive
