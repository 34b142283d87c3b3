"""Two streams joined: what comes from one goes to the other, in both directions, until both have ended.

Nothing is looked at. At most one piece per direction is held, and silence in both directions has an end.
"""

import asyncio
import time
from dataclasses import dataclass, field

from tidepool.egress.stream import Stream

PIECE = 64 << 10
IDLE_S = 600.0
"""Without a byte in either direction; then both are closed."""
WRITE_TIMEOUT_S = 60.0


@dataclass
class Relay:
    """One pair of streams; neither is closed here.

    Args:
        idle_s: Seconds of silence.
    """

    idle_s: float = IDLE_S
    sent: int = 0
    """Bytes to the far side."""
    received: int = 0
    """Bytes from it."""
    _last: float = field(default_factory=time.monotonic)

    async def run(self, near: Stream, far: Stream) -> None:
        """Copies until both sides have ended, one has broken off, or there was silence for too long.

        Raises:
            OSError: One broke off.
            TimeoutError: Silence.
        """
        tasks = [asyncio.ensure_future(self._up(near, far)), asyncio.ensure_future(self._down(near, far))]
        try:
            while True:
                left = self._last + self.idle_s - time.monotonic()
                if left <= 0:
                    raise TimeoutError(f"nothing was said for {self.idle_s:g} s")
                done, pending = await asyncio.wait(tasks, timeout=left, return_when=asyncio.FIRST_EXCEPTION)
                for task in done:
                    task.result()
                if not pending:
                    return
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _up(self, near: Stream, far: Stream) -> None:
        while data := await near.receive(PIECE):
            await self._pass(far, data)
            self.sent += len(data)
        await far.end()

    async def _down(self, near: Stream, far: Stream) -> None:
        while data := await far.receive(PIECE):
            await self._pass(near, data)
            self.received += len(data)
        await near.end()

    async def _pass(self, stream: Stream, data: bytes) -> None:
        self._last = time.monotonic()
        async with asyncio.timeout(WRITE_TIMEOUT_S):
            await stream.send(data)
        self._last = time.monotonic()
