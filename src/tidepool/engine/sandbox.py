"""One sandbox: its identity, its state, and what can be done in it.

How it is made and taken away is in `engine` and `pool`. Every run's verdict is completed here, where the host can be
asked what the guest cannot be trusted to say.
"""

import asyncio
import contextlib
import os
import secrets
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from tidepool.engine import lifecycle, ports
from tidepool.engine.channel import Channel
from tidepool.engine.errors import Fault, InvalidSpec, SandboxLost, WrongState
from tidepool.engine.exec import Order, Outcome, Run, Sink
from tidepool.engine.files import Files
from tidepool.engine.lifecycle import Event, State
from tidepool.engine.process import KEPT_BYTES, Process, check_size
from tidepool.engine.report import parse_report
from tidepool.engine.result import ExecResult, TestReport, Usage, Verdict
from tidepool.engine.spec import HOME, CodeRun, Command, SandboxSpec, Shell, TestRun, check_env

_UIDS = {"daytona": 1000, "root": 0}
_LOG_BYTES = 64 << 10
_DEATH_NOTICE_S = 1.0
_QUEUED_CHUNKS = 64
_INTERPRETERS = {
    "javascript": ("node", "-"),
    "typescript": ("node", "--experimental-strip-types", "--input-type=module-typescript", "-"),
}


@dataclass
class Host:
    """What a sandbox may ask the host side for; the engine gives it."""

    usage: Callable[[], Awaitable[Usage]]
    socket: ports.MakeSocket
    destroy: Callable[[str], Awaitable[None]]
    """Kill the sandbox from outside, with the reason it had to be."""
    volumes_on: frozenset[int] = frozenset()
    """Types of the filesystems (statfs(2)) that its volumes are on."""


class Sandbox:
    """A started sandbox; made by `Engine.create`."""

    home = HOME

    def __init__(self, spec: SandboxSpec, number: str | None = None) -> None:
        self.id = number or str(uuid.uuid4())
        self.spec = spec
        self.work_dir = spec.work_dir
        self.name = spec.name or self.id
        self.labels = dict(spec.labels)
        self.state = State.CREATING
        self.error_reason: str | None = None
        """Why it is in state error, or was stopped without having been asked to; None otherwise."""
        self.created_at = self.updated_at = self.last_activity_at = datetime.now(UTC)
        self.env_changes: dict[str, str | None] = {}
        """What `change_env` has changed since it was made; None: unset."""
        self.source = ""
        """What its maker says it was made from; the engine only keeps it."""
        self.public = False
        """Whether whoever exposes its ports may do so without a token; the engine only keeps it."""
        self.signing_key = secrets.token_urlsafe(32)
        """Signs what gives a right to this one sandbox; the engine only keeps it."""
        self.on_change: Callable[[Sandbox, State], None] | None = None
        """Called after each change of state, with the state before."""
        self.has_saved_files = False
        """Whether its files are on disk: as they were when it last stopped."""
        self.not_kept: tuple[str, ...] = ()
        """A sentence for each thing that could not be saved when it last stopped."""
        self.busy = 0
        """Runs under way."""
        self.log = bytearray()
        """The newest 64 KiB of what its runs wrote."""
        self._channel: Channel | None = None
        self._files: Files | None = None
        self._host: Host | None = None
        self._oom_seen = 0
        self._died: asyncio.Event = asyncio.Event()
        self._expelled: asyncio.Task[None] | None = None

    @property
    def identity(self) -> dict[str, str]:
        """Variables that tell its programs where they are."""
        user = self.spec.user
        return {
            "DAYTONA_SANDBOX_ID": self.id,
            "DAYTONA_SANDBOX_USER": user,
            "USER": user,
            "LOGNAME": user,
        }

    # called by the engine

    def attach(self, channel: Channel, host: Host, env: Mapping[str, str]) -> None:
        """Give it the box it lives in and the environment of its runs; it is started from now on."""
        channel.post({"op": "env", "set": dict(env), "unset": []})
        self._channel, self._host = channel, host
        self._files = Files(channel, _UIDS[self.spec.user], self.work_dir, host.volumes_on)
        self._oom_seen = 0
        self._died = asyncio.Event()
        self.error_reason = None
        channel.on_misconduct = self._expel
        self.happen(Event.READY)

    def detach(self) -> None:
        """Its box is gone, as it was asked for."""
        self._died.set()
        self._channel = self._files = self._host = None

    def move_times(self, by: timedelta) -> None:
        """The wall clock was set: what was noted of it is as long ago as it was."""
        self.created_at, self.updated_at = self.created_at + by, self.updated_at + by
        self.last_activity_at += by

    def note_saved(self, not_kept: tuple[str, ...] | None) -> None:
        """Its files are on disk as they were when it last ended, but for these; None: there was nothing to save."""
        self.has_saved_files = self.has_saved_files or not_kept is not None
        self.not_kept = not_kept or ()

    def happen(self, event: Event) -> None:
        """Move along the lifecycle's table."""
        before = self.state
        self.state = lifecycle.after(before, event)
        self.updated_at = datetime.now(UTC)
        if self.on_change is not None:
            self.on_change(self, before)

    def lose(self, reason: str, is_stopped: bool = False) -> None:
        """The box has died without being asked to; `is_stopped`: and the sandbox is none the worse for it."""
        self._died.set()
        if self.state is State.STARTED:
            self.error_reason = reason
            for event in (Event.STOP, Event.STOPPED) if is_stopped else (Event.FAIL,):
                self.happen(event)

    # what a user can do

    @property
    def files(self) -> Files:
        """Its files.

        Raises:
            WrongState: It is not started.
        """
        self._need_started()
        assert self._files is not None
        self.touch()
        return self._files

    def touch(self) -> None:
        """Note activity now."""
        self.last_activity_at = datetime.now(UTC)

    async def exec(self, command: Command) -> ExecResult:
        """Run one command and wait for its end; however it ends is a result.

        Raises:
            WrongState: The sandbox is not started.
            SandboxLost: The sandbox died before the command could be asked for.
        """
        return (await self._finish(_command_order(command, self.spec))).result

    async def run_code(self, run: CodeRun) -> ExecResult:
        """Run one program text; a Python text is forked from the preloaded interpreter where that cannot be told.

        Raises:
            WrongState, SandboxLost: As `exec`.
        """
        return (await self._finish(_code_order(run, self.spec))).result

    async def run_tests(self, run: TestRun) -> TestReport:
        """Run pytest and judge by its out-of-band report and exit code.

        Raises:
            WrongState, SandboxLost: As `exec`.
        """
        outcome = await self._finish(_tests_order(run, self.spec))
        return parse_report(outcome.report, outcome.result)

    async def stream(self, run: Command | CodeRun) -> AsyncIterator[tuple[str, bytes] | ExecResult]:
        """Run something and yield its output as it comes, ("stdout" | "stderr", bytes), and last its result.

        Closing the iterator kills the run. A reader that stops reading stops the run at a full pipe.
        """
        order = _order(run, self.spec)
        queue: asyncio.Queue[tuple[str, bytes] | None] = asyncio.Queue()
        room = asyncio.Event()

        async def sink(name: str, data: bytes) -> None:
            queue.put_nowait((name, data))  # first: the run's end may cancel the waiting
            while queue.qsize() >= _QUEUED_CHUNKS:
                room.clear()
                await room.wait()

        task = asyncio.create_task(self._finish(order, sink))
        task.add_done_callback(lambda _: queue.put_nowait(None))
        try:
            while (item := await queue.get()) is not None:
                room.set()
                yield item
            yield (await task).result
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, SandboxLost):
                await task

    async def open(
        self,
        run: Command | CodeRun | Shell,
        terminal: tuple[int, int] | None = None,
        *,
        counts: bool = True,
    ) -> Process:
        """Start something that is written to and read from while it runs.

        Args:
            run: Its `stdin` and its bound on output are not looked at. A Python text may write to descriptor 4.
            terminal: Columns and rows of a terminal for a command: then all its output is `stdout`.
            counts: Whether the sandbox is busy as long as it runs.

        Raises:
            InvalidSpec: No terminal is of that size, or it is for no command.
            WrongState, SandboxLost: As `exec`.
        """
        self._need_started()
        assert self._channel is not None
        live = _live_order(run, self.spec, terminal)
        process = Process(Run(self._channel, live), lambda run: self._complete(run, counts))
        await process.started()
        return process

    async def set_env(self, values: Mapping[str, str], unset: Iterable[str] = ()) -> None:
        """Change the environment of runs to come, until it stops."""
        assert self._channel is not None
        await self._channel.call({"op": "env", "set": dict(values), "unset": list(unset)})

    async def change_env(self, values: Mapping[str, str], unset: Iterable[str] = ()) -> None:
        """Change the environment of runs to come, also of those after it was started again.

        Raises:
            InvalidSpec: A name is no identifier, or all of them are too long.
            WrongState: It is not started.
        """
        changes = {**self.env_changes, **dict.fromkeys(unset), **values}
        check_env({name: value or "" for name, value in changes.items()})
        self._need_started()
        await self.set_env(values, unset)
        self.env_changes = changes
        self.touch()

    async def connect(self, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to a TCP port that a program inside listens on.

        Raises:
            InvalidSpec: It is no port.
            Unavailable: Nothing listens there.
            WrongState: It is not started.
        """
        self._need_started()
        assert self._host is not None
        self.touch()
        return await ports.connect(self._host.socket, port)

    async def usage(self) -> Usage:
        """What it uses now.

        Raises:
            WrongState: It is not started.
        """
        self._need_started()
        assert self._host is not None
        return await self._host.usage()

    async def hold_still(self, still: bool) -> None:
        """Stop all its processes for a moment, or let them go on; a sandbox that does not answer goes on."""
        if self._channel is not None:
            with contextlib.suppress(SandboxLost):
                await self._channel.call({"op": "pause" if still else "resume"}, timeout_s=5.0)

    # inside

    def _need_started(self) -> None:
        if self.state is not State.STARTED:
            why = f" ({self.error_reason})" if self.error_reason else ""
            raise WrongState(f"sandbox {self.name} is {self.state.value}{why}; it must be started")

    async def _finish(self, order: Order, sink: Sink | None = None) -> Outcome:
        self._need_started()
        assert self._channel is not None
        return await self._complete(Run(self._channel, order, sink))

    async def _complete(self, run: Run, counts: bool = True) -> Outcome:
        self.touch()
        self.busy += counts
        try:
            outcome = await self._judge(await run.finish())
        finally:
            self.busy -= counts
            self.touch()
            if run.stuck and self.state is State.STARTED:  # whoever waited for it has gone meanwhile
                await asyncio.shield(self._give_up_on_run())
        self._note(outcome.result)
        return outcome

    async def _judge(self, outcome: Outcome) -> Outcome:
        """Complete the verdict with what the host knows."""
        result = outcome.result
        if self._host is None:  # it was stopped meanwhile, as it was asked to
            return outcome
        if outcome.stuck:
            await self._give_up_on_run()
            return outcome
        if result.verdict is Verdict.LOST:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_DEATH_NOTICE_S):
                    await self._died.wait()
            memory = self.error_reason is not None and "memory" in self.error_reason
            return (
                replace(outcome, result=replace(result, verdict=Verdict.OUT_OF_MEMORY)) if memory else outcome
            )
        if result.exit_code == 0 or result.verdict is Verdict.TIMED_OUT:
            return outcome
        kills = (await self._host.usage()).oom_kills
        if kills > self._oom_seen:
            self._oom_seen = kills
            return replace(outcome, result=replace(result, verdict=Verdict.OUT_OF_MEMORY))
        return outcome

    async def _give_up_on_run(self) -> None:
        assert self._host is not None
        await self._host.destroy("a run could not be ended from inside; the sandbox was killed")

    def _expel(self, why: str) -> None:
        """Its init has broken the protocol: nothing in it may run on."""
        if self._host is not None:
            self._expelled = asyncio.get_running_loop().create_task(_expelled(self._host.destroy, why))

    def _note(self, result: ExecResult) -> None:
        self.log += result.output[-_LOG_BYTES:]
        del self.log[:-_LOG_BYTES]


async def _expelled(destroy: Callable[[str], Awaitable[None]], why: str) -> None:
    with contextlib.suppress(Fault):  # then the spawner has ended, and with it every process
        await destroy(f"{why}; it was killed")


def _order(run: Command | CodeRun | Shell, spec: SandboxSpec) -> Order:
    if isinstance(run, Command):
        return _command_order(run, spec)
    if isinstance(run, CodeRun):
        return _code_order(run, spec)
    return Order(_message("session", spec, run), b"", None, KEPT_BYTES)


def _message(kind: str, spec: SandboxSpec, run: Command | CodeRun | TestRun | Shell) -> dict[str, Any]:
    uid = _UIDS[spec.user]
    cwd = os.path.join(spec.work_dir, run.cwd or "")
    return {"kind": kind, "cwd": cwd, "env": dict(run.env), "uid": uid, "gid": uid}


def _argv(command: Command) -> list[str]:
    return ["/bin/sh", "-c", command.shell] if command.shell is not None else list(command.argv)


def _command_order(command: Command, spec: SandboxSpec) -> Order:
    argv = _argv(command)
    if argv[0] in ("python", "python3") and len(argv) > 1 and not argv[1].startswith("-"):
        message = {**_message("script", spec, command), "path": argv[1], "argv": argv[2:]}
    else:
        message = {**_message("exec", spec, command), "argv": argv}
    return Order(message, command.stdin, command.timeout_s, command.max_output_bytes)


def _live_order(run: Command | CodeRun | Shell, spec: SandboxSpec, terminal: tuple[int, int] | None) -> Order:
    if terminal is None:
        order = _order(run, spec)
        return replace(order, stdin=b"", live=True, max_output_bytes=KEPT_BYTES)
    if not isinstance(run, Command):
        raise InvalidSpec("a terminal is for a command, not for a program text")
    cols, rows = terminal
    check_size(cols, rows)
    message = {**_message("exec", spec, run), "argv": _argv(run), "terminal": [rows, cols]}
    return Order(message, b"", run.timeout_s, KEPT_BYTES, live=True, control=True)


def _code_order(run: CodeRun, spec: SandboxSpec) -> Order:
    code = run.code.encode("utf-8", "surrogatepass")
    if run.language == "python":
        message = {**_message("source", spec, run), "argv": list(run.argv), "charts": True}
        return Order(message, run.stdin, run.timeout_s, run.max_output_bytes, source=code, report=True)
    message = {**_message("exec", spec, run), "argv": [*_INTERPRETERS[run.language], *run.argv]}
    return Order(message, code, run.timeout_s, run.max_output_bytes)


def _tests_order(run: TestRun, spec: SandboxSpec) -> Order:
    message = {**_message("pytest", spec, run), "paths": list(run.paths)}
    return Order(message, b"", run.timeout_s, run.max_output_bytes, report=True)
