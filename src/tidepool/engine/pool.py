"""Warm sandboxes: one line per tenant, dependency layer, image and user, each with its zygote and a few parked boxes.

A parked box has default limits and no identity; taking one gives it both. A box is handed out once, never again.
Refilling happens in the background, one box at a time per line.
"""

import asyncio
import contextlib
import logging
import socket
import time
from collections import deque
from dataclasses import dataclass, field
from functools import partial

from tidepool.engine.backends.namespaces import Backend, Box, Restore
from tidepool.engine.channel import Channel
from tidepool.engine.errors import Fault, InvalidSpec, NoCapacity, SetupFailed, TidepoolError
from tidepool.engine.spec import Limits, SandboxSpec

log = logging.getLogger("tidepool.engine")

DEFAULT_LIMITS = Limits()
PROXY_PORT = 3128
"""Where a sandbox with a network finds the proxy on its loopback."""
_PAUSE_S = 0.012
"""Before a line is filled again: whoever took a box is answered before the processor is wanted for the next."""
_READY_TIMEOUT_S = 20.0
_MAX_BOXES_PER_ZYGOTE = 1000
_MADE_AT_ONCE = 16
"""More only wait for one another's processor time, and each for its deadline."""

Key = tuple[str, str, str, str, bool]
"""Tenant, layer, image, user, whether its zygote is apart."""


@dataclass(frozen=True)
class Layer:
    """One dependency layer as the pool needs it."""

    name: str = ""
    """Directory below the layers directory; empty for no dependencies."""
    modules: tuple[str, ...] = ()
    """Top-level modules worth preloading."""


@dataclass
class Warm:
    """A box with its open channel."""

    box: Box
    channel: Channel
    zygote: int
    is_ahead: bool = False
    """Whether its init has been told to get ready for a run."""
    listener: socket.socket | None = None
    """Made inside at PROXY_PORT while it was parked, for whoever serves its network; nobody accepts until then."""

    def take_listener(self) -> socket.socket | None:
        """The listening socket, the caller's from now on."""
        listener, self.listener = self.listener, None
        return listener

    def close(self) -> None:
        """Let go of our ends; its processes are the spawner's business."""
        self.channel.close()
        if self.listener is not None:
            self.listener.close()
            self.listener = None


@dataclass
class Line:
    """Everything kept warm for one key."""

    layer: Layer
    spec: SandboxSpec
    """Of what is parked."""
    is_apart: bool = False
    """Its sandboxes are behind a further wall, and their packages could undo it from the zygote: nothing of them runs
    there, and nothing is parked."""
    wanted: int = 0
    """Parked boxes to be kept whether anyone asks or not; at least as many as of any line in use are kept of this."""
    zygote: int | None = None
    made: int = 0
    parked: deque[Warm] = field(default_factory=deque)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    refill: asyncio.Task[None] | None = None
    used_at: float = field(default_factory=time.monotonic)


class Pool:
    """All lines of one engine."""

    def __init__(self, backend: Backend, size: int) -> None:
        self._backend = backend
        self._size = size
        self._lines: dict[Key, Line] = {}
        self._closed = False
        self._expelling: set[asyncio.Task[None]] = set()
        """Kills under way of boxes whose init broke the protocol."""
        self._turns = asyncio.Semaphore(_MADE_AT_ONCE)
        self.hits = 0
        self.misses = 0

    async def take(self, spec: SandboxSpec, layer: Layer, restore: Restore = "") -> Warm:
        """A box for a spec: a parked one when there is one that can become it, else a new one.

        With `restore`, those files are in it.

        Raises:
            SetupFailed, NoCapacity, Fault.
        """
        line = self._line(spec, layer)
        line.used_at = time.monotonic()
        is_plain = not restore and not spec.volumes and spec.isolation == "namespaces"
        is_default = is_plain and spec.limits == DEFAULT_LIMITS
        # Without root the limits of what is parked are fixed.
        warm = self._pop(line) if is_default or (is_plain and not self._backend.weaker) else None
        if warm is None:
            self.misses += 1
            try:
                warm = await self._make(line, spec, restore)
            except NoCapacity:
                await self._give_up_parked(line)
                warm = self._pop(line) if is_default else None
                warm = warm or await self._make(line, spec, restore)
        else:
            self.hits += 1
            if spec.limits != DEFAULT_LIMITS:
                other_disk = spec.limits.disk_bytes != DEFAULT_LIMITS.disk_bytes
                await self.limit(warm, spec.limits, other_disk)
        self._refill(line)
        return warm

    async def limit(self, warm: Warm, limits: Limits, disk: bool) -> None:
        """Change a box's limits, with `disk` the size of its disk too, and what is seen of them inside.

        Raises:
            SetupFailed: They cannot be changed to that.
        """
        await self._backend.limit(warm.box.slot, limits, disk)
        warm.channel.post({"op": "sizes", "memory_bytes": limits.memory_bytes, "cpu": limits.cpu})

    async def keep(self, spec: SandboxSpec, count: int) -> None:
        """From now on keep so many boxes parked that can become what a spec asks for; 0: as of any other line."""
        line = self._line(spec, Layer())
        line.wanted = count
        while len(line.parked) > max(count, self._size):
            await self._drop(line.parked.pop())
        if count:
            self._refill(line)

    def parked(self, spec: SandboxSpec) -> int:
        """How many boxes are parked that can become what a spec asks for."""
        return len(self._line(spec, Layer()).parked)

    async def drop_image(self, image: str) -> None:
        """End everything that is kept warm from an image; nothing in use may be made from it."""
        for key in [key for key in self._lines if key[2] == image]:
            line = self._lines.pop(key)
            if line.refill is not None:
                line.refill.cancel()
                await asyncio.wait([line.refill])
            for warm in line.parked:
                warm.close()
            if line.zygote is not None:
                await self._backend.end_zygote(line.zygote)

    def start_over(self) -> None:
        """Nothing that was made is there any more: forget it, and make again what is kept warm."""
        for line in self._lines.values():
            for warm in line.parked:
                warm.close()
            line.parked.clear()
            line.zygote = None
            if line.wanted:
                self._refill(line)

    def _line(self, spec: SandboxSpec, layer: Layer) -> Line:
        apart = bool(layer.name) and spec.isolation != "namespaces"
        key = (spec.tenant, layer.name, spec.image, spec.user, apart)
        if key not in self._lines:
            plain = SandboxSpec(tenant=spec.tenant, image=spec.image, user=spec.user)
            self._lines[key] = Line(layer, plain, apart)
        return self._lines[key]

    async def trim(self, idle_s: float) -> None:
        """Give up lines nobody has used for a while; sandboxes in use keep their zygote."""
        for key, line in list(self._lines.items()):
            if (
                time.monotonic() - line.used_at > idle_s
                and (line.parked or line.is_apart)
                and not line.wanted
                and (key[1] or key[2])
            ):
                for warm in list(line.parked):
                    await self._drop(warm)
                line.parked.clear()
                self._retire(line, line.zygote)

    async def close(self) -> None:
        """Stop refilling and let go of parked boxes; the spawner kills them with the rest."""
        self._closed = True
        tasks = [line.refill for line in self._lines.values() if line.refill is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for line in self._lines.values():
            for warm in line.parked:
                warm.close()
            line.parked.clear()

    def _pop(self, line: Line) -> Warm | None:
        while line.parked:
            warm = line.parked.popleft()
            if warm.channel.lost is None:
                return warm
            warm.close()
        return None

    def _get_ahead(self, line: Line) -> None:
        """Have the next one to be taken ready for its first run; for all, that would take twice the memory."""
        warm = line.parked[0] if line.parked else None
        if warm is not None and not warm.is_ahead and warm.channel.lost is None:
            warm.is_ahead = True
            warm.channel.post({"op": "ahead"})

    def _refill(self, line: Line) -> None:
        if self._closed or line.is_apart or (line.refill is not None and not line.refill.done()):
            return
        if len(line.parked) < max(line.wanted, self._size):
            line.refill = asyncio.get_running_loop().create_task(self._fill(line))

    async def _fill(self, line: Line) -> None:
        # A failure here is not lost: the next take finds no parked box, makes one itself and meets the same error.
        with contextlib.suppress(TidepoolError):
            if line.parked:
                await asyncio.sleep(_PAUSE_S)
            self._get_ahead(line)
            while len(line.parked) < max(line.wanted, self._size):
                line.parked.append(await self._listening(await self._make(line, line.spec)))
                self._get_ahead(line)

    async def _make(self, line: Line, spec: SandboxSpec, restore: Restore = "") -> Warm:
        async with self._turns:
            return await self._make_now(line, spec, restore)

    async def _make_now(self, line: Line, spec: SandboxSpec, restore: Restore) -> Warm:
        zygote: int | None = None
        try:
            zygote = await self._zygote(line)
            return await self._make_from(zygote, spec, restore)
        except (NoCapacity, SetupFailed):
            # The zygote may be full or dead: once more from a new one.
            self._retire(line, zygote)
            return await self._make_from(await self._zygote(line), spec, restore)

    async def _give_up_parked(self, wanting: Line) -> None:
        """Let go of what other lines keep ready unasked: a zygote that serves nobody leaves its ids to a new one."""
        for line in [line for line in self._lines.values() if not line.wanted]:
            if line.refill is not None:
                await asyncio.wait([line.refill])
            while line is not wanting and line.parked:
                await self._drop(line.parked.popleft())

    def _retire(self, line: Line, zygote: int | None) -> None:
        """Let a line's zygote end with its last sandbox, unless the line has another by now."""
        if zygote is not None and line.zygote == zygote:
            line.zygote = None
            self._backend.retire_zygote(zygote)

    async def _zygote(self, line: Line) -> int:
        async with line.lock:
            if line.made >= _MAX_BOXES_PER_ZYGOTE:
                self._retire(line, line.zygote)
            if line.zygote is None:
                layers = [line.layer.name] if line.layer.name else []
                loaded = () if line.is_apart else line.layer.modules
                modules = [name for name in loaded if name != "pytest"]
                line.zygote, report = await self._backend.start_zygote(
                    layers, modules, "pytest" in loaded, line.spec.image, line.is_apart
                )
                if report.get("refused") or report.get("failed"):
                    log.warning("preload of %s: %s", line.layer.modules, report)
                line.made = 0
            line.made += 1
            return line.zygote

    async def _make_from(self, zygote: int, spec: SandboxSpec, restore: Restore) -> Warm:
        box = await self._backend.create(zygote, spec, restore)
        ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def on_event(message: dict[str, object]) -> None:
            if not ready.done():
                ready.set_result("" if message.get("ev") == "ready" else f"{message.get('why') or message}")

        def on_lost(why: str) -> None:
            if not ready.done():
                ready.set_result(why)

        channel = Channel(box.control, on_event, on_lost)
        channel.on_misconduct = partial(self._expel, box.slot)  # until a sandbox has it
        try:
            async with asyncio.timeout(_READY_TIMEOUT_S):
                why = await ready
        except TimeoutError:
            why = "its init did not become ready in time"
        if why:
            channel.close()
            await self._backend.kill(box.slot)
            if spec.isolation != "namespaces":
                raise InvalidSpec(f"isolation {spec.isolation} cannot be had on this host: {why}")
            raise SetupFailed(f"a sandbox could not be closed off: {why}")
        return Warm(box, channel, zygote)

    def _expel(self, slot: int, _: str) -> None:
        task = asyncio.get_running_loop().create_task(self._kill(slot))
        self._expelling.add(task)
        task.add_done_callback(self._expelling.discard)

    async def _kill(self, slot: int) -> None:
        with contextlib.suppress(Fault):  # then the spawner has ended, and with it every process
            await self._backend.kill(slot)

    async def _listening(self, warm: Warm) -> Warm:
        try:
            warm.listener = await self._backend.listen(warm.box.slot, PROXY_PORT)
        except TidepoolError:
            await self._drop(warm)
            raise
        return warm

    async def _drop(self, warm: Warm) -> None:
        warm.close()
        await self._kill(warm.box.slot)
