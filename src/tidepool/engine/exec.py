"""One run in a sandbox: pipes made here, output read here, the deadline kept here; the guest only starts it.

The answer comes at the leader's end, not at the pipes' end of file. Head and tail are kept under flood. When the
guest's init does not confirm a kill in time, `Outcome.stuck` tells the caller to kill the whole sandbox from outside.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from tidepool.engine.channel import Channel, close_all
from tidepool.engine.result import ExecResult, Verdict

KILL_GRACE_S = 2.0
"""How long init may take to end a tree at its deadline before the whole sandbox is killed."""
_CHUNK = 1 << 16
_REPORT_LIMIT = 16 << 20
_MAX_PEAK = 1 << 53
"""Of what init says a run has used: more than any host has, and exact in every JSON."""
_MAX_WAITING = 16
"""Chunks a reader may be behind."""

Sink = Callable[[str, bytes], Awaitable[None]]


@dataclass
class Stream:
    """What one stream wrote: the head, then the tail, with the number of bytes dropped between."""

    limit: int
    head: bytearray = field(default_factory=bytearray)
    tail: bytearray = field(default_factory=bytearray)
    dropped: int = 0

    def add(self, data: bytes) -> None:
        """Keep what fits: the first half of the limit as it came, then always the newest half."""
        half = self.limit // 2
        if len(self.head) < half:
            taken = data[: half - len(self.head)]
            self.head += taken
            data = data[len(taken) :]
        self.tail += data
        if (
            len(self.tail) > 2 * half
        ):  # cut rarely: moving the tail for every chunk would cost more than reading it
            self._cut(half)

    def _cut(self, half: int) -> None:
        over = len(self.tail) - half
        if over > 0:
            del self.tail[:over]
            self.dropped += over

    def value(self) -> bytes:
        """Everything kept, with a line that says how much is missing where something is."""
        self._cut(self.limit // 2)
        if not self.dropped:
            return bytes(self.head + self.tail)
        return bytes(self.head) + b"\n[... %d bytes left out ...]\n" % self.dropped + bytes(self.tail)


@dataclass(frozen=True)
class Order:
    """One run as init is asked for it."""

    message: dict[str, Any]
    """Of operation `run`, without its number."""
    stdin: bytes
    timeout_s: float | None
    max_output_bytes: int
    source: bytes | None = None
    """Program text, handed over in a memfd."""
    report: bool = False
    """Whether a third output is read: the test report, the charts."""
    live: bool = False
    """Whether stdin stays open for `Run.write`, and the third output is delivered as it comes."""
    control: bool = False
    """Whether there is a further pipe to it, for `Run.tell`: the sizes of its terminal."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended, before the host has asked for the reason."""

    result: ExecResult
    report: bytes
    status: int | None
    """Wait status of the leader; None when the sandbox was lost."""
    stuck: bool
    """The tree could not be ended from inside: the sandbox must be killed from outside."""


class Run:
    """One run under way; used once."""

    def __init__(self, channel: Channel, order: Order, sink: Sink | None = None) -> None:
        self._channel = channel
        self._order = order
        self._sink = sink
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[dict[str, Any]] = self._loop.create_future()
        self._number = channel.open(self._on_answer)
        self._streams = {name: Stream(order.max_output_bytes) for name in ("stdout", "stderr", "output")}
        self._report = bytearray()
        self._readers: dict[int, str] = {}
        self._feeder: asyncio.Task[None] | None = None
        self._stdin: int | None = None
        self._control: int | None = None
        self._refused: str | None = None
        self._timed_out = False
        self.stuck = False
        """Whether the tree could not be ended from inside, also where nobody waits for the outcome any more."""
        self._deliveries: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()

    @property
    def over(self) -> bool:
        """Whether its leader has ended."""
        return self._ended.done()

    def deliver_to(self, sink: Sink) -> None:
        """Hand output over as it comes; before it is started."""
        self._sink = sink

    async def finish(self) -> Outcome:
        """Start it and wait for its end.

        Raises:
            SandboxLost: It could not even be asked for.
        """
        started = time.monotonic()
        try:
            self._start()
            answer = await self._wait()
            duration = time.monotonic() - started
            for fd in list(self._readers):
                self._readable(fd, to_the_end=True)
            await self._deliver()
            return self._outcome(answer, duration)
        finally:
            await self._close()

    def _start(self) -> None:
        passed: list[int] = []
        try:
            if self._order.live or self._order.stdin:
                read, self._stdin = os.pipe2(os.O_CLOEXEC)
                passed.append(read)
                os.set_blocking(self._stdin, False)
                if not self._order.live:
                    self._feeder = self._loop.create_task(self._feed())
            for name in ("stdout", "stderr"):
                passed.append(self._pipe(name))
            if self._order.source is not None:
                passed.append(_memfd(self._order.source))
            if self._order.report:
                passed.append(self._pipe("report"))
            if self._order.control:
                read, self._control = os.pipe2(os.O_CLOEXEC)
                passed.append(read)
                os.set_blocking(self._control, False)
            message = {
                **self._order.message,
                "id": self._number,
                "op": "run",
                "stdin": self._stdin is not None,
            }
            self._channel.send(message, tuple(passed))
        finally:
            close_all(passed)

    def _pipe(self, name: str) -> int:
        # The two ends are open file descriptions of their own: nothing the guest does to its end changes ours.
        read, write = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(read, False)
        self._readers[read] = name
        self._loop.add_reader(read, self._readable, read)
        return write

    def _readable(self, fd: int, to_the_end: bool = False) -> None:
        name = self._readers[fd]
        budget = 64 if to_the_end else 1  # what a background child goes on writing is not waited for
        while budget:
            budget -= 1
            try:
                data = os.read(fd, _CHUNK)
            except BlockingIOError:
                return
            if not data:
                self._forget(fd)
                return
            if name == "report" and self._order.live:  # what was written before it is kept before it
                for other in [other for other, kind in self._readers.items() if kind != "report"]:
                    self._readable(other)
            self._keep(name, data)

    def _keep(self, name: str, data: bytes) -> None:
        if name == "report" and not self._order.live:
            if len(self._report) < _REPORT_LIMIT:
                self._report += data
            return
        if name != "report":
            self._streams[name].add(data)
            self._streams["output"].add(data)
        if self._sink is not None:
            self._deliveries.put_nowait((name, data))
            if self._deliveries.qsize() >= _MAX_WAITING:
                self._listen(
                    False
                )  # a slow reader stops the run at a full pipe instead of filling our memory

    def _listen(self, on: bool) -> None:
        for fd in self._readers:
            if on:
                self._loop.add_reader(fd, self._readable, fd)
            else:
                self._loop.remove_reader(fd)

    async def _wait(self) -> dict[str, Any]:
        """The leader's end; the tree is killed at the deadline. An answer with `lost` when the sandbox is gone."""
        deliveries = self._loop.create_task(self._deliver_always()) if self._sink else None
        try:
            async with asyncio.timeout(self._order.timeout_s):
                return await asyncio.shield(self._ended)
        except TimeoutError:
            self._timed_out = True
            return await self.kill()
        finally:
            if deliveries is not None:
                deliveries.cancel()
                await asyncio.wait([deliveries])

    async def write(self, data: bytes) -> None:
        """Write to a live run's stdin; waits while its pipe is full.

        Raises:
            BrokenPipeError: The run reads no more, or its stdin was closed here.
        """
        if self._stdin is None:
            raise BrokenPipeError("the run's stdin is closed")
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._stdin, view) :]
            except BlockingIOError:
                await self._writable(self._stdin)
                if self._stdin is None:
                    raise BrokenPipeError("the run has ended") from None

    async def _feed(self) -> None:
        with contextlib.suppress(BrokenPipeError):  # an end that is closed early is the run's right
            await self.write(self._order.stdin)
        self.close_stdin()

    async def _writable(self, fd: int) -> None:
        writable = self._loop.create_future()
        self._loop.add_writer(fd, _wake, writable)
        try:
            await asyncio.wait((writable, self._ended), return_when=asyncio.FIRST_COMPLETED)
        finally:
            if self._stdin == fd:  # else it is closed, and its number may be another's
                self._loop.remove_writer(fd)

    def tell(self, data: bytes) -> None:
        """Write to the further pipe, at once and whole; dropped where it is not read or the run has ended.

        Args:
            data: At most 512 bytes: such a write is never cut (pipe(7)).
        """
        if self._control is not None:
            with contextlib.suppress(BlockingIOError, BrokenPipeError):
                os.write(self._control, data)

    def close_stdin(self) -> None:
        """A live run reads the end of its input."""
        if self._stdin is not None:
            self._loop.remove_writer(self._stdin)
            os.close(self._stdin)
            self._stdin = None

    async def interrupt(self) -> None:
        """SIGINT to the leader's process group; no error where it has ended."""
        if not self._ended.done() and self._channel.lost is None:
            await self._channel.call({"op": "interrupt", "run": self._number})

    async def kill(self) -> dict[str, Any]:
        """End the tree and wait for its leader; an answer with `stuck` when that does not come in time."""
        number = self._channel.open(lambda _, fds: close_all(fds))
        try:
            if not self._ended.done():
                self._channel.send({"id": number, "op": "kill", "run": self._number})
            async with asyncio.timeout(KILL_GRACE_S):
                return await asyncio.shield(self._ended)
        except TimeoutError:
            self.stuck = True
            return {"stuck": True}
        finally:
            self._channel.close_request(number)

    async def end(self) -> None:
        """`kill` from beside `finish`, which comes to its end by it in any case."""
        answer = await self.kill()
        if not self._ended.done():
            self._ended.set_result(answer)

    async def _deliver_always(self) -> None:
        assert self._sink is not None
        while True:
            await self._sink(*await self._deliveries.get())
            if self._deliveries.qsize() == _MAX_WAITING // 2:
                self._listen(True)

    async def _deliver(self) -> None:
        while self._sink is not None and not self._deliveries.empty():
            await self._sink(*self._deliveries.get_nowait())

    def _on_answer(self, answer: dict[str, Any], fds: list[int]) -> None:
        close_all(fds)
        if "refused" in answer:
            self._refused = str(answer["refused"])
        elif not self._ended.done():
            self._ended.set_result(answer)

    def _outcome(self, answer: dict[str, Any], duration: float) -> Outcome:
        end = answer.get("end")
        status = end.get("status") if isinstance(end, dict) else None
        peak = end.get("max_rss") if isinstance(end, dict) else 0
        if not isinstance(status, int) or not isinstance(peak, int) or not _is_end(status):
            status, peak = None, 0
        exit_code, verdict = self._judge(answer, status)
        result = ExecResult(
            exit_code=exit_code,
            verdict=verdict,
            stdout=self._streams["stdout"].value(),
            stderr=self._streams["stderr"].value(),
            output=self._streams["output"].value(),
            truncated_bytes=self._streams["output"].dropped,
            duration_s=duration,
            peak_memory_bytes=min(max(0, peak), _MAX_PEAK),
            basis="fork" if isinstance(end, dict) and end.get("basis") == "fork" else "exec",
            charts=bytes(self._report) if self._order.source is not None else b"",
        )
        return Outcome(result, bytes(self._report), status, bool(answer.get("stuck")))

    def _judge(self, answer: dict[str, Any], status: int | None) -> tuple[int, Verdict]:
        if self._timed_out:
            return 124, Verdict.TIMED_OUT
        if "errno" in answer:
            self._keep("stderr", f"the run could not be started: {answer.get('why')}\n".encode())
            return 126, Verdict.NOT_STARTED
        if status is None:
            return 137, Verdict.LOST
        code = os.waitstatus_to_exitcode(status)
        if self._refused is not None and code in (126, 127):
            return code, Verdict.NOT_STARTED
        return (code, Verdict.EXITED) if code >= 0 else (128 - code, Verdict.SIGNALED)

    def _forget(self, fd: int) -> None:
        self._loop.remove_reader(fd)
        del self._readers[fd]
        os.close(fd)

    async def _close(self) -> None:
        """Whatever happened, cancellation too: no process, descriptor or task is left behind."""
        try:
            if not self._ended.done() and self._channel.lost is None:
                await asyncio.shield(self.kill())
        finally:
            self._channel.close_request(self._number)
            for fd in list(self._readers):
                self._forget(fd)
            self.close_stdin()
            if self._control is not None:
                os.close(self._control)
                self._control = None
            if self._feeder is not None:
                self._feeder.cancel()


def _is_end(status: int) -> bool:
    """Whether it is a wait status (wait(2)) of a process that has ended; init may say anything."""
    return 0 <= status <= 0xFFFF and (os.WIFEXITED(status) or os.WIFSIGNALED(status))


def _memfd(data: bytes) -> int:
    fd = os.memfd_create("source", os.MFD_CLOEXEC)
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def _wake(waiting: "asyncio.Future[None]") -> None:
    if not waiting.done():
        waiting.set_result(None)
