"""What happens to sandboxes that nobody looks after, and the server's own end when there is no work.

What requests said about time is `Terms`: minutes without activity until a sandbox is stopped, minutes of rest until it
is archived or deleted, and the age at which it goes whatever it does. `due` is the whole policy.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

import msgspec

from tidepool.engine import Engine, Sandbox, State
from tidepool.engine.errors import TidepoolError

TICK_S = 1.0
_JUMP_S = 5.0
"""By which the wall clock may be off the time that has passed before it counts as having been set."""
NEVER = -1
AUTO_STOP_MIN = 15
MAX_AUTO_ARCHIVE_MIN = 43_200
AUTO_ARCHIVE_MIN = 10_080
log = logging.getLogger("tidepool.server")

Step = Literal["stop", "archive", "delete"]


class Terms(msgspec.Struct, frozen=True):
    """When a sandbox's time is over, in minutes."""

    auto_stop: int = AUTO_STOP_MIN
    """Without activity, until it is stopped; a run under way or an open stream is activity. 0: never."""
    auto_archive: int = AUTO_ARCHIVE_MIN
    """At rest, until it is archived. 0: as late as possible."""
    auto_delete: int = NEVER
    """At rest, until it is deleted. 0: at once when it stops; -1: never."""
    ttl: int = 0
    """Of age, until it is deleted whatever it does. 0: never."""

    def due(self, state: State, idle_s: float, rest_s: float, age_s: float, busy: bool) -> Step | None:
        """What is to be done now with a sandbox in this state, idle, at rest and old for so long."""
        if self.ttl and age_s > self.ttl * 60:
            return "delete"
        if state is State.STARTED:
            over = self.auto_stop and not busy and idle_s > self.auto_stop * 60
            return ("delete" if self.auto_delete == 0 else "stop") if over else None
        if state not in (State.STOPPED, State.ARCHIVED):
            return None
        if self.auto_delete != NEVER and rest_s >= self.auto_delete * 60:
            return "delete"
        archive_after = self.auto_archive or MAX_AUTO_ARCHIVE_MIN
        return "archive" if state is State.STOPPED and rest_s > archive_after * 60 else None


@dataclass
class Watched:
    """One sandbox and what was said about its time."""

    sandbox: Sandbox
    terms: Terms


class Keeper:
    """Watches sandboxes and the server itself, once a second."""

    def __init__(self, engine: Engine, idle_s: float | None, stop: Callable[[], None]) -> None:
        self._engine = engine
        self._idle_s = idle_s
        self._stop = stop
        self._watched: dict[str, Watched] = {}
        self._requests = 0
        self._quiet_since = time.monotonic()
        self._ahead: float | None = None
        """Seconds by which the wall clock is ahead of the time since the host's start."""

    def watch(self, sandbox: Sandbox, terms: Terms) -> None:
        """From now on these terms hold."""
        self._watched[sandbox.id] = Watched(sandbox, terms)

    def terms_of(self, sandbox: Sandbox) -> Terms:
        """What holds for a sandbox; the defaults when nothing was said."""
        return self._watched[sandbox.id].terms if sandbox.id in self._watched else Terms()

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
            now = datetime.now(UTC)
            self.keep_time(now, time.clock_gettime(time.CLOCK_BOOTTIME))
            await self.tidy(now)
            if self._idle_s is not None and self._is_idle(self._idle_s):
                self._stop()

    def keep_time(self, now: datetime, passed_s: float) -> None:
        """Notice that the wall clock was set: what sandboxes have of it moves along, so that no time is over by that.

        Args:
            now: The wall clock.
            passed_s: Of a clock that nobody sets and that runs while the host sleeps.
        """
        ahead = now.timestamp() - passed_s
        jump, self._ahead = (0.0 if self._ahead is None else ahead - self._ahead), ahead
        if abs(jump) > _JUMP_S:
            log.warning("the clock was set by %+.0f s", jump)
            for watched in self._watched.values():
                watched.sandbox.move_times(timedelta(seconds=jump))

    async def tidy(self, now: datetime) -> None:
        """Do what is due at this moment."""
        for watched in list(self._watched.values()):
            sandbox = watched.sandbox
            if sandbox.state in (State.DESTROYING, State.DESTROYED):
                del self._watched[sandbox.id]
                continue
            idle_s = (now - sandbox.last_activity_at).total_seconds()
            rest_s = (now - sandbox.updated_at).total_seconds()
            age_s = (now - sandbox.created_at).total_seconds()
            step = watched.terms.due(sandbox.state, idle_s, rest_s, age_s, bool(sandbox.busy))
            if step is not None:
                try:
                    await self._take(step, sandbox)
                except TidepoolError:  # the next tick tries again
                    log.exception("sandbox %s is due to %s, which failed", sandbox.id, step)

    async def _take(self, step: Step, sandbox: Sandbox) -> None:
        if step == "archive":
            self._engine.archive(sandbox)
            return
        steps: dict[str, Callable[[Sandbox], Awaitable[None]]] = {
            "stop": self._engine.stop,
            "delete": self._engine.delete,
        }
        await steps[step](sandbox)

    def _is_idle(self, idle_s: float) -> bool:
        quiet = time.monotonic() - self._quiet_since > idle_s
        return quiet and not self._requests and not self._engine.alive
