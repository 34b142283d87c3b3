"""The loop of a sandbox's init: start runs, reap, report their ends, open files as the sandbox's user.

Requests come from the host over one socket and are answered in order of completion, by id. Output never passes through
here: a run's stdin, stdout and stderr are descriptors that came with the request. The host trusts nothing said here.
"""

import contextlib
import mmap
import os
import select
import signal
import socket
from collections.abc import Callable
from typing import Any, NoReturn

from tidepool.engine.guest import faults, filesystem, frames, launch, sizes, spare, starter, tree

_OTHER_UID = 1000
"""Of a rehearsed run: one that owns no module, as most."""
_ONCE_MS = 10
"""A sandbox that has run one thing may have been made for that alone: another run is less sure then."""
_LULL_MS = 3
_IDLE_MS = 20_000
"""A child that waits costs about as much memory as all else of a sandbox."""


class Server:
    """Pid 1 of a sandbox, after it has been closed off."""

    def __init__(
        self,
        control: socket.socket,
        go: dict[str, Any],
        shown: sizes.Sizes | None,
        inner: socket.socket | None = None,
    ) -> None:
        self._control = control
        self._shown = shown
        """Limits as they are seen inside; None behind a further wall, which has its own /proc."""
        self._inner = inner
        """Another of these, behind a further wall: everything but files is its business."""
        self._env: dict[str, str] = dict(go["env"])
        launch.put_environment(self._env)  # for those who are forked
        self._runs: dict[int, int] = {}
        """Leader's pid to request id."""
        self._kinds: dict[int, str] = {}
        """Request id to how it was started: exec or fork."""
        self._notices: dict[int, mmap.mmap] = {}
        """Leader's pid to where it says that it is about to end: see `run.leaver`."""
        self._spare: spare.Spare | None = None
        self._starters: dict[int, spare.Spare] = {}
        """Leaders that have started a program and wait for its end, by their pids."""
        self._idle: spare.Spare | None = None
        """One of them whose program has ended."""
        self._poller = select.poll()
        self._adopts = True if inner is not None else launch.adopts()
        self._has_run = False
        self._lulls: list[tuple[int, Callable[[], None]]] = []
        """What to do next when nothing has been asked for so many milliseconds. Nothing while parked."""

    def serve(self) -> NoReturn:
        """Until the host closes the socket; then the kernel ends every process of the sandbox with us."""
        wake_read, wake_write = os.pipe()
        os.set_blocking(wake_read, False)
        os.set_blocking(wake_write, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        for file in (self._control, wake_read, *([self._inner] if self._inner is not None else ())):
            self._poller.register(file, select.POLLIN)
        while True:
            events = self._poller.poll(self._lulls[0][0] if self._lulls else None)
            if not events:
                self._lulls.pop(0)[1]()
            for fd, _ in events:
                if fd == wake_read:
                    os.read(wake_read, 512)
                    self._reap()
                elif fd == self._control.fileno():
                    self._on_request()
                elif self._inner is not None:
                    self._pass_on()
                else:
                    self._on_starter(fd)

    def _get_ready(self, after_ms: int) -> None:
        """Prepare the next run, as far as there is time before it comes; undo it when none comes for long."""
        self._lulls = [(_IDLE_MS, self._retire)]
        if self._spare is None:
            self._lulls[:0] = [(after_ms, self._fork_ahead), (_LULL_MS, self._rehearse)]

    def _fork_ahead(self) -> None:
        self._spare = spare.ahead(self._control, self._env)

    def _retire(self) -> None:
        for child in filter(None, (self._spare, self._idle)):
            child.dismiss()
        self._spare = self._idle = None

    def _rehearse(self) -> None:
        """Do for nothing what the next run needs, while nobody waits.

        A fork leaves every page to be copied when it is next written, and Python writes to whatever it looks at.
        """
        asked = {"kind": "source", "argv": [], "stdin": False, "env": self._env, "uid": _OTHER_UID}
        with contextlib.suppress(OSError, frames.BadFrame):  # a real run would say what fails
            launch.plan(frames.rehearse({**asked, "cwd": "/"}), self._env)

    def _on_request(self) -> None:
        received = frames.receive(self._control)
        if received is None:
            os._exit(0)
        message, fds = received
        try:
            self._dispatch(message, fds)
        except (OSError, ValueError, TypeError, KeyError) as error:
            # 22 is EINVAL: what a request may hold by mistake must not end every process of the sandbox.
            self._reply(message["id"], {"errno": getattr(error, "errno", None) or 22, "why": str(error)})
        finally:
            frames.close_all(fds)

    def _dispatch(self, message: dict[str, Any], fds: list[int]) -> None:
        operation = message["op"]
        if operation == "sizes":
            if self._shown is not None:
                self._shown.change(int(message["memory_bytes"]), float(message["cpu"]))
            self._reply(message["id"], {})
        elif self._inner is not None and operation not in filesystem.OPERATIONS:
            frames.send(self._inner, message, tuple(fds))
        elif operation == "run":
            self._run(message, fds)
        elif operation in ("kill", "interrupt", "pause", "resume"):
            self._reply(message["id"], self._signal(operation, message))
        elif operation == "ahead":
            self._get_ready(0)
            self._lulls.remove((_IDLE_MS, self._retire))  # it is taken next, whenever that is
            self._reply(message["id"], {})
        elif operation == "env":
            for name in message["unset"]:
                self._env.pop(name, None)
            self._env.update(message["set"])
            launch.put_environment(self._env)
            self._get_ready(0)
            self._reply(message["id"], {})
        else:
            answer, opened = filesystem.perform(message)
            faults.step("init.file.done")
            self._reply(message["id"], answer, opened)

    def _signal(self, operation: str, message: dict[str, Any]) -> dict[str, Any]:
        if operation == "kill":
            return {"killed": self._kill(int(message["run"]))}
        if operation == "interrupt":
            for leader in self._leaders(int(message["run"])):
                if leader in self._starters:
                    self._starters[leader].interrupt()
                else:
                    os.killpg(leader, signal.SIGINT)  # each leads a session, hence a group, of its own
            return {}
        # Everything but us: -1 never reaches its sender (kill(2)).
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, signal.SIGSTOP if operation == "pause" else signal.SIGCONT)
        return {}

    def _pass_on(self) -> None:
        assert self._inner is not None
        received = frames.receive(self._inner)
        if received is None:
            os._exit(0)  # with the inner wall everything has ended
        answer, fds = received
        frames.close_all(fds)
        frames.send(self._control, answer)

    def _reply(self, number: int, answer: dict[str, Any], opened: int = -1) -> None:
        try:
            frames.send(self._control, {"id": number, **answer}, (opened,) if opened >= 0 else ())
        except frames.BadFrame as error:
            frames.send(self._control, {"id": number, "errno": 90, "why": str(error)})  # EMSGSIZE
        finally:
            if opened >= 0:
                os.close(opened)

    def _run(self, message: dict[str, Any], fds: list[int]) -> None:
        faults.step("init.run.received")
        plan = launch.plan(message, self._env)
        self._lulls = []
        ready = self._child_for(plan, message)
        if ready is None or not ready.take(plan, message, fds):
            pid = self._fork(plan, message, fds)
        else:
            pid = ready.pid
            self._notices[pid] = ready.notice
            if ready.user is not None:
                self._starters[pid] = ready
                self._poller.register(ready, select.POLLIN)
        self._runs[pid] = message["id"]
        self._kinds[message["id"]] = plan.basis
        faults.step("init.run.started")

    def _child_for(self, plan: launch.Plan, message: dict[str, Any]) -> spare.Spare | None:
        is_program = starter.is_for(plan, message)
        if is_program and self._idle is not None:
            idle, self._idle = self._idle, None
            if idle.user == (int(message["uid"]), int(message["gid"])):
                return idle
            idle.dismiss()
        ready, self._spare = self._spare, None
        return spare.ahead(self._control, self._env) if ready is None and is_program else ready

    def _fork(self, plan: launch.Plan, message: dict[str, Any], fds: list[int]) -> int:
        pid, notice = spare.fork()
        if pid == 0:
            # A forked program is reached by leaving this stack, through the `finally` that closes `fds`.
            passed = fds.copy()
            fds.clear()
            launch.settle()
            launch.start(plan, message, passed, self._control)
        self._notices[pid] = notice
        return pid

    def _kill(self, run: int) -> int:
        leaders = self._leaders(run)
        if not leaders:
            return 0
        if self._adopts:
            return tree.kill(leaders[0])
        # Whose orphans they are cannot be told: what earlier runs have left behind ends too.
        others = self._known() - set(leaders)
        return tree.kill(leaders[0], also=lambda: tree.children(1) - others)

    def _known(self) -> set[int]:
        """Our children that are nobody's orphans."""
        return {*self._runs, *(child.pid for child in (self._spare, self._idle) if child is not None)}

    def _leaders(self, run: int) -> list[int]:
        return [pid for pid, number in self._runs.items() if number == run]

    def _reap(self) -> None:
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG | os.WUNTRACED)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if os.WIFSTOPPED(status):
                if pid not in self._notices or not self._notices[pid][0]:
                    continue  # by whatever else stops a process
                status = (self._notices[pid][0] - 1) << 8
                os.kill(pid, signal.SIGKILL)
            self._notices.pop(pid, None)
            # Of a run, or an orphan that was reparented to us, or one that waited and was killed by somebody.
            if pid in self._starters:
                self._on_death(pid)
            if pid in self._runs:
                self._on_end(pid, status, usage.ru_maxrss * 1024)
            if self._spare is not None and self._spare.pid == pid:
                self._spare = None

    def _on_end(self, leader: int, status: int, max_rss: int) -> None:
        number = self._runs.pop(leader)
        end = {"status": status, "max_rss": max_rss, "basis": self._kinds.pop(number)}
        with contextlib.suppress(BrokenPipeError):
            self._reply(number, {"end": end})
        self._get_ready(0 if self._has_run else _ONCE_MS)
        self._has_run = True

    def _on_starter(self, fd: int) -> None:
        # None when it was found dead in this very turn.
        for child in [child for child in self._starters.values() if child.fileno() == fd]:
            told = child.told()
            if told is None:
                self._poller.unregister(fd)  # how it has ended is soon heard
            else:
                self._on_told(child, told)

    def _on_told(self, child: spare.Spare, told: dict[str, Any]) -> None:
        if "pid" in told:
            child.started(int(told["pid"]))
        if "refused" in told:
            frames.send(self._control, {"id": self._runs[child.pid], "refused": told["refused"]})
        if "status" not in told:
            return
        end = int(told["status"]), int(told.get("max_rss", 0))
        if told.get("last"):
            child.end = end  # told when it is gone: then what it leaves behind hangs below us
            return
        del self._starters[child.pid]
        self._poller.unregister(child)
        self._on_end(child.pid, *end)
        if self._idle is not None:
            child.dismiss()
        else:
            self._idle = child

    def _on_death(self, leader: int) -> None:
        """A starter has died before its program, or with it: then that is ours, and the leader."""
        child = self._starters[leader]
        while leader in self._starters and (told := child.told()) is not None:
            self._on_told(child, told)
        if self._starters.pop(leader, None) is None:
            return
        with contextlib.suppress(KeyError):  # not any more
            self._poller.unregister(child)
        child.dismiss()
        if child.end is not None:
            self._on_end(leader, *child.end)
            return
        # It may have been killed before it could say what it had started, if anything: that is our child now.
        program = child.program or tree.first_of(tree.children(1) - self._known(), child.since)
        with contextlib.suppress(OSError):
            os.waitid(os.P_PID, program, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            self._runs[program] = self._runs.pop(leader)
