"""The guardian: starts the spawner, waits for it and, should it be killed, saves what it had in its care.

It holds the private mount namespace, and with it every sandbox's disk, the lock on the storage and the control groups.
It reads nothing from the engine while the spawner lives, and is too small to fail first. When the spawner is killed,
nothing of a sandbox runs any more once the guardian goes on, no file that was to be kept is lost, and a new spawner
serves the same engine.
"""

import contextlib
import os
import signal
import socket
import sys
import time
import traceback
from collections import deque
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from tidepool.engine.errors import HostUnsupported
from tidepool.engine.guest import faults, frames, syscalls
from tidepool.engine.kernel import cgroups
from tidepool.engine.spawner import protocol, storage, trees
from tidepool.engine.spawner.books import Ground, pids_max
from tidepool.engine.spawner.journal import Journal, Record
from tidepool.engine.spawner.spawner import Spawner

_RESTARTS = 5
_RESTARTS_WITHIN_S = 60.0
"""A spawner that is killed more often than that would be killed again."""
_AT_ONCE = 4
"""Disks that are saved at the same time."""
_REMOVE_TIMEOUT_S = 5.0


class Guardian:
    """The first process; it never serves a request itself."""

    def __init__(
        self, engine: socket.socket, start: protocol.Start, seccomp_fd: int, kind: type[Spawner]
    ) -> None:
        self._engine = engine
        self._start = start
        self._seccomp_fd = seccomp_fd
        self._kind = kind
        self._trees: trees.Trees = kind.make_trees(start)
        groups = cgroups.Tree.create(start.name, pids_max())
        try:
            store = storage.Storage.prepare(Path(start.storage))
            self._trees.prepare()
            # What a killed spawner leaves behind becomes ours, to be killed and waited for.
            syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
            self._ground = Ground(store, groups, Journal.create(), os.pidfd_open(os.getpid()))
        except OSError:
            groups.close()
            raise

    def serve(self) -> int:
        """Until a spawner has ended by itself, because the engine has; returns the exit status."""
        try:
            return self._guard()
        finally:
            self._ground.groups.close()

    def _guard(self) -> int:
        killed_at: deque[float] = deque(maxlen=_RESTARTS)
        status = self._run_spawner(is_first=True)
        while status != 0:
            why = _said(status)
            self._recover(why)
            killed_at.append(time.monotonic())
            if len(killed_at) == _RESTARTS and killed_at[-1] - killed_at[0] < _RESTARTS_WITHIN_S:
                self._tell(
                    {"error": f"{why}, for the {_RESTARTS}th time within a minute: none is started again"}
                )
                break
            faults.arm("")
            # What the engine has sent since waits in its socket for the new one, which answers it.
            self._tell({"restarted": why, "last": self._ground.journal.last_request})
            status = self._run_spawner(is_first=False)
        return 0 if status == 0 else 70

    def _run_spawner(self, is_first: bool) -> int:
        """Fork a spawner and wait for its end; returns its wait status."""
        spawner = os.fork()
        if spawner == 0:
            status = 70
            try:
                self._kind(self._engine, self._start, self._seccomp_fd, self._ground).serve(is_first)
                status = 0
            except BaseException:
                traceback.print_exc()  # it will be started again, but somebody should know why
            finally:
                os._exit(status)
        while True:
            pid, status = os.wait()
            if pid == spawner:
                return status

    def _tell(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):  # it has gone: that is seen when its socket is read
            self._engine.sendmsg([protocol.encode({"id": -2, **message})], (), socket.MSG_NOSIGNAL)

    # after a spawner was killed

    def _recover(self, why: str) -> None:
        """Nothing of a sandbox is left when this returns, but for the files that were to be kept."""
        end_children()
        self._drain()
        self._save(why)
        for top in ("s", "i"):
            for name in os.listdir(top):
                self._trees.remove(f"{top}/{name}")
        self._ground.journal.clear()
        self._ground.storage.mend()
        deadline = time.monotonic() + _REMOVE_TIMEOUT_S
        # A list: each leaf is tried, whatever becomes of the one before.
        while not all([self._ground.groups.remove(leaf) for leaf in self._ground.groups.leaves()]):
            if time.monotonic() > deadline:
                break
            time.sleep(0.005)

    def _drain(self) -> None:
        """Take what no spawner has done: the engine is told so, but which files it wants kept still counts."""
        journal = self._ground.journal
        slots = {record.slot for record in journal.records()}
        with contextlib.suppress(BlockingIOError, ConnectionResetError):
            while data := self._engine.recv(frames.MAX_FRAME, socket.MSG_DONTWAIT):
                with contextlib.suppress(msgspec.MsgspecError):  # nobody waits for what does not fit
                    request = protocol.decode_request(data)
                    journal.received(request.id)
                    if isinstance(request, protocol.Keep) and request.slot in slots:
                        journal.keep(request.slot, request.name)

    def _save(self, why: str) -> None:
        """Save every disk that was to be kept, and tell of each sandbox what became of it."""
        under_way: deque[tuple[Record, storage.Task]] = deque()
        for record in self._ground.journal.records():
            if not record.name:
                self._tell({"died": record.slot, "oom_kills": 0, "why": why})
            elif not os.path.isdir(f"s/{record.slot}/r"):
                # The spawner was about to take it away, and had saved it before.
                self._told(record, why, storage.Report(error=self._missing(record.name)))
            else:
                under_way.append((record, self._copy(record)))
            if len(under_way) == _AT_ONCE:
                self._finish(*under_way.popleft(), why)
        for record, task in under_way:
            self._finish(record, task, why)

    def _copy(self, record: Record) -> storage.Task:
        store, disk = self._ground.storage, f"s/{record.slot}"
        return storage.start(partial(store.put, disk, "saved", record.name, record.first_id))

    def _finish(self, record: Record, task: storage.Task, why: str) -> None:
        report = task.finish()
        if report.cut:
            report = self._copy(record).finish()
        self._told(record, why, report)

    def _missing(self, name: str) -> str:
        return "" if self._ground.storage.path("saved", name).exists() else "its disk is gone"

    def _told(self, record: Record, why: str, report: storage.Report) -> None:
        saved = msgspec.to_builtins(report)
        self._tell({"died": record.slot, "oom_kills": 0, "why": why, "saved": saved})


def _said(status: int) -> str:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return f"the spawner was killed by signal {number} ({signal.Signals(number).name})"
    return f"the spawner ended with status {os.WEXITSTATUS(status)}"


def end_children() -> None:
    """Kill what a spawner has left, each with its whole pid namespace, and wait until it is dead."""
    while children := _children():
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in children:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


def _children() -> list[int]:
    own, found = os.getpid(), []
    for name in os.listdir("/proc"):
        if name.isdecimal():
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
                if int(fields[1]) == own:
                    found.append(int(name))
    return found


def main(fd: int, kind: type[Spawner] = Spawner) -> NoReturn:
    """Read the start message from the engine's socket, and have it served."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the engine ends us by closing its socket
    engine = socket.socket(fileno=fd)
    data, ancillary, _, _ = engine.recvmsg(frames.MAX_FRAME, socket.CMSG_SPACE(4))
    start = protocol.decode_start(data)
    seccomp_fd = protocol.descriptors(ancillary)[0]
    try:
        faults.arm(start.fault)
        kind.enter()
        guardian = Guardian(engine, start, seccomp_fd, kind)
    except (OSError, ValueError, HostUnsupported) as error:
        with contextlib.suppress(BrokenPipeError):  # an engine that has gone need not be told
            engine.send(protocol.encode({"id": 0, "error": str(error)}))
        sys.exit(70)
    sys.exit(guardian.serve())
