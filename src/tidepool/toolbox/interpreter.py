"""Interpreter contexts of sandboxes: Python namespaces that stay between runs, and the runs in them as events.

Each context is one live process of the guest's worker (`tidepool.toolbox.worker`), started at its first run.
What the worker answers comes out of a sandbox: it is bounded, strictly decoded, and waited for with a deadline. A
context whose process has ended says why.
"""

import asyncio
import codecs
import contextlib
import time
import uuid
import weakref
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from tidepool.engine import CodeRun, Sandbox
from tidepool.engine.errors import Conflict, InvalidSpec, NotFound, TidepoolError, WrongState
from tidepool.engine.process import Process
from tidepool.wire.charts import Chart

DEFAULT = "default"
"""The shared context's id: it is not listed and cannot be deleted."""
DEFAULT_TIMEOUT_S = 600.0
MAX_TIMEOUT_S = 7 * 86400.0
GRACE_S = 2.0
"""How long an interrupted run may take to come to an end before its context is killed."""
MAX_CONTEXTS = 64
"""Of one sandbox."""
MAX_STATE = 96 << 20
"""Bytes of one answer that carries names; any other is at most `_MAX_LINE`."""
_MAX_LINE = 5 << 20
_STATE_TIMEOUT_S = 60.0
_COPY_S = 20.0
"""For all of a fork's names; a run under way is waited for within it."""
_SOURCE = Path(__file__).with_name("worker.py").read_text("utf-8")
"""Of the worker; read now, while files are still within reach."""


@dataclass(frozen=True)
class Output:
    """A piece of what a run wrote, as it came."""

    stream: str
    """stdout or stderr."""
    text: str


@dataclass(frozen=True)
class Shown:
    """A figure that a run showed."""

    chart: Chart


class Failure(msgspec.Struct, frozen=True):
    """An exception that ended a run."""

    name: str
    value: str
    traceback: str


@dataclass(frozen=True)
class Ended:
    """The last event of a run."""

    how: str
    """completed (also when it failed), interrupted, timeout or died."""
    reason: str = ""
    """Why the context died with it; empty when it lives."""


Event = Output | Shown | Failure | Ended


class _Line(msgspec.Struct):
    """What a worker may say: a chart, or the answer to a request."""

    id: int | None = None
    error: Failure | None = None
    chart: Chart | None = None
    state: str = ""
    lost: list[str] = []


_decode = msgspec.json.Decoder(_Line).decode
_encode = msgspec.json.Encoder().encode


class ContextDied(WrongState):
    """A context's process has ended; the message says why."""


@dataclass
class _Reader:
    """One request's answers from the worker's streams, as they arrive."""

    number: int
    """The request's."""
    limit: int
    lines: bytearray = field(default_factory=bytearray)
    decoders: dict[str, Any] = field(
        default_factory=lambda: {
            name: codecs.getincrementaldecoder("utf-8")("replace") for name in ("stdout", "stderr")
        }
    )

    def take(self, stream: str, data: bytes) -> list[Output | _Line]:
        """What a piece of a stream completes.

        Raises:
            ValueError: The worker said what it never says.
        """
        if stream != "report":
            text = self.decoders[stream].decode(data)
            return [Output(stream, text)] if text else []
        self.lines += data
        if len(self.lines) > self.limit:
            raise ValueError(f"an answer is longer than {self.limit} bytes")
        if b"\n" not in data:
            return []
        *whole, self.lines = self.lines.split(b"\n")
        try:
            found = [_decode(line) for line in whole]
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise ValueError(f"an answer is not as agreed: {error}") from None
        if any(line.chart is None and line.id != self.number for line in found):
            raise ValueError("an answer is to nothing that was asked")
        return list(found)

    def rest(self) -> list[Output]:
        """What is left of characters that never became whole."""
        texts = ((name, decoder.decode(b"", final=True)) for name, decoder in self.decoders.items())
        return [Output(name, text) for name, text in texts if text]


class Context:
    """One namespace; made by `Contexts`."""

    language = "python"

    def __init__(self, sandbox: Sandbox, number: str, cwd: str) -> None:
        self.id = number
        self.cwd = cwd
        self.created_at = datetime.now(UTC)
        self.died: str | None = None
        """Why its process ended; None while it lives or has not been started."""
        self._sandbox = sandbox
        self._process: Process | None = None
        self._requests = 0
        self._turn = asyncio.Lock()

    @property
    def active(self) -> bool:
        """Whether runs are accepted."""
        return self.died is None and (self._process is None or not self._process.over)

    async def execute(
        self, code: str, envs: Mapping[str, str], timeout_s: float | None = DEFAULT_TIMEOUT_S
    ) -> AsyncIterator[Event]:
        """Run one cell and yield what happens, last `Ended`. Runs in one context wait for each other.

        Closing the iterator interrupts the run.

        Args:
            code: Python; the value of a last expression is displayed.
            envs: Added to the environment for this run.
            timeout_s: From the run's start; then it is interrupted, and killed with its context when that has no
                effect. None is no limit.

        Raises:
            ContextDied: The context had ended before.
            InvalidSpec: A variable is no such.
            WrongState, SandboxLost: The sandbox is not started, or has died.
        """
        CodeRun(code, env=envs)  # says what is wrong with either
        async with self._turn:
            run = {"op": "run", "code": code, "envs": dict(envs)}
            async with contextlib.aclosing(self._converse(run, timeout_s, _MAX_LINE)) as items:  # type: ignore[type-var]
                async for item in items:
                    for event in _events(item):
                        yield event

    @property
    def has_begun(self) -> bool:
        """Whether its process has been started."""
        return self._process is not None

    async def dump(self) -> tuple[bytes, list[str]]:
        """The context's names, and which of them could not be taken along.

        The bytes are for `load` of another context only: nobody but a sandbox's own Python reads them.

        Raises:
            ContextDied, WrongState, SandboxLost: As `execute`.
        """
        line = await self._ask({"op": "dump"})
        return line.state.encode(), line.lost

    async def load(self, state: bytes) -> list[str]:
        """Take over the names of another context; returns those that could not be.

        Raises:
            ContextDied, WrongState, SandboxLost: As `execute`.
        """
        return (await self._ask({"op": "load", "state": state.decode("ascii")})).lost

    async def close(self) -> None:
        """End the process and wait for its end."""
        self._die("the context was deleted")
        if self._process is not None:
            await self._process.kill()

    def _die(self, why: str) -> None:
        self.died = self.died or why

    async def _ask(self, request: dict[str, Any]) -> _Line:
        async with self._turn:
            async for item in self._converse(request, _STATE_TIMEOUT_S, MAX_STATE):
                if isinstance(item, _Line) and item.chart is None:
                    if item.error is not None:
                        raise WrongState(f"the context could not do that: {item.error.traceback[-2000:]}")
                    return item
        raise ContextDied(self.died or "the context gave no answer in time")

    async def _ready(self) -> Process:
        _ = self._sandbox.files  # refuses a sandbox that is not started
        if self._process is not None and self._process.over:
            self._die(await _last_words(self._process))
        if self.died is not None:
            raise ContextDied(f"the interpreter context {self.id} has ended: {self.died}")
        if self._process is None:
            self._process = await self._sandbox.open(CodeRun(_SOURCE, cwd=self.cwd), counts=False)
        return self._process

    async def _converse(
        self, request: dict[str, Any], timeout_s: float | None, limit: int
    ) -> AsyncIterator[Output | _Line | Ended]:
        """Send a request and yield what comes until its answer, which is an `Ended` where there is none."""
        process = await self._ready()
        self._requests += 1
        until = None if timeout_s is None else time.monotonic() + timeout_s
        reader = _Reader(self._requests, limit)
        state = _Wait(until)
        self._sandbox.busy += 1  # a context at rest does not keep its sandbox from being idle
        try:
            with contextlib.suppress(BrokenPipeError):  # it has ended: that is what is read next
                await process.write(_encode({"id": self._requests, **request}) + b"\n")
            while not state.over:
                for item in await self._next(process, reader, state):
                    yield item
        finally:
            self._sandbox.busy -= 1
            self._sandbox.touch()
            if not state.over:  # nobody listens any more
                await asyncio.shield(self._stop(process, reader, state))

    async def _next(self, process: Process, reader: _Reader, state: "_Wait") -> list[Output | _Line | Ended]:
        if state.left() == 0.0:  # also where there is always something to be read
            return await self._late(process, state)
        try:
            async with asyncio.timeout(state.left()):
                item = await process.read()
        except TimeoutError:
            return await self._late(process, state)
        if item is None:
            state.over = True
            self._die(await _last_words(process))
            return [*reader.rest(), Ended("died", self.died or "")]
        try:
            found = reader.take(*item)
        except ValueError as error:
            state.over = True
            self._die(f"its worker broke the agreed form and was killed: {error}")
            await process.kill()
            return [Ended("died", self.died or "")]
        if any(isinstance(line, _Line) and line.chart is None for line in found):
            state.over = True
            if state.interrupted:  # what the interrupt looked like inside is our own doing
                found = [line for line in found if not isinstance(line, _Line) or line.chart is not None]
                return [*found, *reader.rest(), Ended("timeout")]
            return [*reader.rest(), *found]
        return list(found)

    async def _late(self, process: Process, state: "_Wait") -> list[Output | _Line | Ended]:
        """At the deadline: interrupt first, kill when that had no effect."""
        if not state.interrupted:
            state.interrupt(GRACE_S)
            await process.interrupt()
            return []
        state.over = True
        self._die(f"a run did not stop within {GRACE_S:g} s after it was interrupted, and was killed")
        await process.kill()
        return [Ended("timeout", self.died or "")]

    async def _stop(self, process: Process, reader: _Reader, state: "_Wait") -> None:
        if not state.interrupted:
            await self._late(process, state)
        while not state.over:
            await self._next(process, reader, state)


@dataclass
class _Wait:
    """What is waited for, and until when."""

    until: float | None
    interrupted: bool = False
    over: bool = False

    def left(self) -> float | None:
        """Seconds until the next step must be taken; None: no limit."""
        return None if self.until is None else max(0.0, self.until - time.monotonic())

    def interrupt(self, grace_s: float) -> None:
        """From now on only the end is waited for."""
        self.interrupted, self.until = True, time.monotonic() + grace_s


def _events(item: Output | _Line | Ended) -> list[Event]:
    if not isinstance(item, _Line):
        return [item]
    if item.chart is not None:
        return [Shown(item.chart)]
    if item.error is None:
        return [Ended("completed")]
    return [item.error, Ended("interrupted" if item.error.name == "KeyboardInterrupt" else "completed")]


async def _last_words(process: Process) -> str:
    result = await process.wait()
    said = result.stderr[-500:].decode("utf-8", "replace").strip()
    return f"its process ended ({result.verdict.value}, exit code {result.exit_code})" + (
        said and f": {said}"
    )


class Contexts:
    """The contexts of one sandbox."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._default = Context(sandbox, DEFAULT, sandbox.work_dir)
        self._made: dict[str, Context] = {}

    async def create(self, cwd: str | None = None, language: str | None = None) -> Context:
        """A new, empty context.

        Raises:
            InvalidSpec: The language is not Python, or `cwd` is no directory.
            NotFound: There is no such directory.
            Conflict: There are `MAX_CONTEXTS` already.
        """
        if language not in (None, "", "python"):
            raise InvalidSpec(f"language is {language[:40]!r}; interpreter contexts run python only")
        if len(self._made) >= MAX_CONTEXTS:
            raise Conflict(f"the sandbox has {MAX_CONTEXTS} interpreter contexts; delete one first")
        cwd = cwd or self._sandbox.work_dir
        if not (await self._sandbox.files.info(cwd)).is_dir:
            raise InvalidSpec(f"cwd {cwd[:200]} is not a directory")
        context = Context(self._sandbox, str(uuid.uuid4()), cwd)
        self._made[context.id] = context
        return context

    def list(self) -> "list[Context]":
        """Those that were created, oldest first; the shared one is not among them."""
        return list(self._made.values())

    @property
    def shared_is_used(self) -> bool:
        """Whether anything has been run in the shared context that lives now."""
        return self._default.active and self._default.has_begun

    def get(self, number: str | None = None) -> Context:
        """A context by its id; without one the shared context, anew where it has died.

        Raises:
            NotFound: There is none.
        """
        if number in (None, "", DEFAULT):
            if not self._default.active:
                self._default = Context(self._sandbox, DEFAULT, self._sandbox.work_dir)
            return self._default
        if number not in self._made:
            raise NotFound(f"interpreter context {number[:80]} not found")
        return self._made[number]

    async def delete(self, number: str) -> None:
        """End a context; a run in it ends with it.

        Raises:
            InvalidSpec: It is the shared one.
            NotFound: There is none.
        """
        if number == DEFAULT:
            raise InvalidSpec("the default interpreter context cannot be deleted")
        context = self.get(number)
        del self._made[number]
        await context.close()


_of_sandbox: "weakref.WeakKeyDictionary[Sandbox, Contexts]" = weakref.WeakKeyDictionary()


async def copy_names(source: Sandbox, target: Sandbox) -> tuple[str, ...]:
    """Take the names of a sandbox's shared context to another's; a sentence for each thing that was not taken along.

    Contexts that were created are processes of their own and stay where they are.
    """
    contexts = contexts_of(source)
    left = [f"interpreter context {context.id} was not copied" for context in contexts.list()]
    if not contexts.shared_is_used:
        return tuple(left)
    try:
        async with asyncio.timeout(_COPY_S):
            state, lost = await contexts.get().dump()
            lost += await contexts_of(target).get().load(state)
    except (TidepoolError, TimeoutError) as error:
        return (*left, f"the interpreter's names were not copied: {error or 'a run in it took too long'}")
    return (*left, *(f"{name[:100]} of the interpreter was not copied" for name in sorted(set(lost))[:100]))


def contexts_of(sandbox: Sandbox) -> Contexts:
    """The contexts of a sandbox; they live as long as it does."""
    found = _of_sandbox.get(sandbox)
    if found is None:
        found = _of_sandbox[sandbox] = Contexts(weakref.proxy(sandbox))  # else neither would ever go
    return found
