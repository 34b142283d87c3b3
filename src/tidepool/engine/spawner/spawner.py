"""The spawner's loop and its books: zygotes, slots, slices; each request answered when it is really done.

Rules of the room: nothing here blocks on a sandbox. A zygote is only waited for through its socket or its pidfd. A
slice of ids is used again only after the pidfd of the init that had it has shown that its whole pid namespace is dead.
"""

import array
import contextlib
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from tidepool.engine.errors import HostUnsupported
from tidepool.engine.guest import frames
from tidepool.engine.kernel import cgroups, net, pidfd, probe
from tidepool.engine.spawner import birth, copying, protocol, storage, trees
from tidepool.engine.spawner.books import Slot, Zygote, claim_block, pids_max

_SWEEP_S = 0.02
_INIT_NICE = -10
_ZYGOTE_LIMITS = cgroups.GroupLimits(memory_bytes=4 << 30, pids=8192, cpu=1024.0)
"""It preloads packages, which run code; sandboxes leave its group for their own before they run anything."""


class Spawner:
    """All state of the one privileged process."""

    def __init__(self, engine: socket.socket, start: protocol.Start, seccomp_fd: int) -> None:
        self._engine = engine
        self._start = start
        self._seccomp_fd = seccomp_fd
        self._selector = selectors.DefaultSelector()
        self._trees = trees.Trees(start)
        self._storage = storage.Storage(Path(start.storage))
        self._groups = cgroups.Tree.create(start.name, pids_max())
        self._zygotes: dict[int, Zygote] = {}
        self._slots: dict[int, Slot] = {}
        self._next = 1
        self._to_remove: list[str] = []
        """Control groups whose last process is still being counted."""
        self._tasks: dict[socket.socket, tuple[storage.Task, Callable[[storage.Report], None]]] = {}
        """Copies under way, and what follows them."""
        self._passed: list[int] = []
        """Descriptors that came with the request in hand."""
        self._running = True

    def serve(self) -> None:
        """Until the engine closes its socket; then everything is killed and removed."""
        self._storage = storage.Storage.prepare(Path(self._start.storage))
        self._trees.prepare()
        self._watch(self._engine, self._on_engine)
        hello = {
            "controllers": self._groups.controllers,
            "cgroup_version": self._groups.version,
            "alone": self._storage.alone,
        }
        self._answer(0, hello)
        try:
            while self._running:
                timeout = _SWEEP_S if self._to_remove else None
                for key, _ in self._selector.select(timeout):
                    key.data()
                self._sweep()
        finally:
            self._end()

    def _watch(self, source: Any, handler: Callable[[], None]) -> None:
        self._selector.register(source, selectors.EVENT_READ, handler)

    # requests

    def _on_engine(self) -> None:
        try:
            data, ancillary, _, _ = self._engine.recvmsg(frames.MAX_FRAME, 64, socket.MSG_CMSG_CLOEXEC)
        except ConnectionResetError:  # it has gone without reading what we had sent
            data, ancillary = b"", []
        self._passed = _passed(ancillary)
        try:
            if data:
                self._on_request(data)
            else:
                self._running = False
        finally:
            frames.close_all(self._passed)
            self._passed = []

    def _on_request(self, data: bytes) -> None:
        try:
            request = protocol.decode_request(data)
        except msgspec.MsgspecError as error:
            self._answer(-1, {"error": f"a request does not fit: {error}"})
            return
        try:
            self._handlers[type(request)](self, request)
        except (OSError, LookupError, ValueError) as error:
            self._answer(request.id, {"error": f"{type(request).__name__}: {error}"})

    def _answer(self, number: int, answer: dict[str, Any], fds: tuple[int, ...] = ()) -> None:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        with contextlib.suppress(BrokenPipeError):  # the engine is gone: the loop will see it
            self._engine.sendmsg([protocol.encode({"id": number, **answer})], rights, socket.MSG_NOSIGNAL)

    def _start_zygote(self, request: protocol.Zygote) -> None:
        block, lock = claim_block({zygote.block for zygote in self._zygotes.values()})
        number = self._number()
        first_id = protocol.FIRST_BLOCK_UID + block * protocol.BLOCK
        try:
            # The zygote runs on this host's image whatever its sandboxes see.
            own = "" if request.image and self._storage.is_whole(request.image) else request.image
            lowers = self._trees.lowers(f"i/{number}-0", first_id, request.layers, own)
            mounts = (*self._trees.zygote_mounts(lowers), self._trees.devices())
            self._groups.add(f"z{number}", _ZYGOTE_LIMITS)
            attach = partial(self._groups.attach, f"z{number}")
            fd, control = birth.start(mounts, first_id, protocol.BLOCK, attach, self._start.debug)
        except OSError:
            self._trees.remove(f"i/{number}-0")
            self._groups.remove(f"z{number}")
            lock.close()
            raise
        zygote = Zygote(number, block, lock, fd, control, request.layers, request.image, request.id)
        self._zygotes[number] = zygote
        config = {
            "modules": request.modules,
            "pytest": request.pytest,
            "capabilities": self._start.capabilities,
            "landlock": self._start.landlock,
        }
        frames.send(control, config, (self._seccomp_fd,))
        self._watch(control, lambda: self._on_zygote(zygote))
        self._watch(fd, lambda: self._on_zygote_death(zygote))

    def _create(self, request: protocol.Create) -> None:
        zygote = self._zygotes[request.zygote]
        if not zygote.ready or zygote.ending is not None or not zygote.free:
            raise ValueError("zygote is full or not ready")
        slot = Slot(self._number(), zygote, zygote.free.pop(), request, None)
        first_id = zygote.first_id + slot.slice * protocol.SLICE
        try:
            limits = request.limits
            self._groups.add(slot.leaf, cgroups.GroupLimits(limits.memory_bytes, limits.pids, limits.cpu))
            self._trees.make_upper(slot.upper, first_id, request.disk_bytes)
        except OSError:
            self._release(slot)
            raise
        self._slots[slot.number] = slot
        if not request.restore:
            self._fork(slot)
            return

        def restored(report: storage.Report) -> None:
            error = report.error or ("the zygote has ended" if slot.dead else "")
            if error:
                self._answer(request.id, {"error": f"its files could not be brought back: {error}"})
                self._drop(slot)
            else:
                self._fork(slot)

        # In its control group: what is copied is the sandbox's memory from the start.
        attach = partial(self._groups.attach, slot.leaf)
        work = partial(self._storage.take, "saved", request.restore, slot.upper, first_id)
        slot.copying = True
        self._run(work, restored, attach)

    def _fork(self, slot: Slot) -> None:
        """Ask the zygote for a sandbox whose upper is ready."""
        zygote, request = slot.zygote, slot.request
        first_id = zygote.first_id + slot.slice * protocol.SLICE
        slot.copying = False
        fds: list[int] = []
        try:
            lowers = self._trees.lowers(
                f"i/{zygote.number}-{slot.slice}", first_id, zygote.layers, zygote.image
            )
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            slot.control = ours
            fds = [theirs.detach(), *self._trees.sandbox_mounts(slot.upper, lowers), self._trees.devices()]
            for volume in request.volumes:
                directory = self._storage.open_volume(volume.name, volume.subpath)
                fds.append(self._trees.volume(directory, first_id))
            order = {
                "op": "fork",
                "slot": slot.number,
                "slice": slot.slice,
                "ids": protocol.SLICE,
                "volumes": [volume.path for volume in request.volumes],
            }
            frames.send(zygote.control, order, tuple(fds))
        except OSError as error:
            self._answer(request.id, {"error": f"mounts: {error}"})
            self._drop(slot)
        finally:
            frames.close_all(fds)

    def _limit(self, request: protocol.Limit) -> None:
        limits, slot = request.limits, self._slots[request.slot]
        self._groups.limit(slot.leaf, cgroups.GroupLimits(limits.memory_bytes, limits.pids, limits.cpu))
        if request.disk_bytes:
            self._trees.resize_upper(slot.upper, request.disk_bytes)
        self._answer(request.id, {})

    def _counters(self, request: protocol.Counters) -> None:
        leaf = self._slots[request.slot].leaf
        self._answer(request.id, {"oom_kills": self._groups.oom_kills(leaf), **self._groups.usage(leaf)})

    def _listen(self, request: protocol.Listen) -> None:
        listener = net.listener_inside(self._slots[request.slot].pidfd, request.port)
        with listener:
            self._answer(request.id, {}, (listener.fileno(),))

    def _connect(self, request: protocol.Connect) -> None:
        family = socket.AF_INET if request.family == "inet" else socket.AF_INET6
        with net.socket_inside(self._slots[request.slot].pidfd, family) as unconnected:
            self._answer(request.id, {}, (unconnected.fileno(),))

    def _kill(self, request: protocol.Kill) -> None:
        slot = self._slots.get(request.slot)
        if slot is None:
            self._answer(request.id, {})
            return
        slot.ends.append(request.id)
        if not request.save:
            slot.keep = ""
        if slot.dead:
            return  # its files are being saved
        if slot.pidfd >= 0:
            pidfd.kill(slot.pidfd)
        elif slot.copying:
            slot.dead = True  # seen when the copy has ended
        elif slot.control is not None:
            slot.control.close()  # not forked yet: it will find its socket closed and exit

    def _keep(self, request: protocol.Keep) -> None:
        self._slots[request.slot].keep = request.name

    def _freeze(self, request: protocol.Freeze) -> None:
        slot = self._slots[request.slot]
        base = slot.zygote.image if request.kind == "images" else ""
        first_id = slot.zygote.first_id + slot.slice * protocol.SLICE
        work = partial(self._storage.put, slot.upper, request.kind, request.name, first_id, base)
        self._run(work, partial(self._report, request.id))

    def _copy(self, request: protocol.Copy) -> None:
        source = self._storage.path("saved", request.source)
        work = partial(
            self._storage.put, source, request.kind, request.name, protocol.STORED_UID, request.base
        )
        self._run(work, partial(self._report, request.id))

    def _import(self, request: protocol.Import) -> None:
        if len(self._passed) != 1:
            raise ValueError("one descriptor is needed")
        # The child's copy is closed by it, ours when this request is done.
        work = partial(self._storage.unpack, self._passed[0], request.name)
        self._run(work, partial(self._report, request.id))

    def _stored(self, request: protocol.Stored) -> None:
        self._answer(request.id, {"names": self._storage.names(request.kind)})

    def _forget(self, request: protocol.Forget) -> None:
        def work() -> copying.Copied:
            self._storage.remove(request.kind, request.name)
            return copying.Copied()

        self._run(work, partial(self._report, request.id))

    def _make_volume(self, request: protocol.MakeVolume) -> None:
        self._storage.make_volume(request.name)
        self._answer(request.id, {})

    def _report(self, number: int, report: storage.Report) -> None:
        if report.error:
            self._answer(number, {"error": report.error})
        else:
            self._answer(number, {"bytes": report.bytes, "files": report.files, "skipped": report.skipped})

    def _run(
        self,
        work: Callable[[], copying.Copied],
        then: Callable[[storage.Report], None],
        attach: Callable[[int], None] | None = None,
    ) -> None:
        """Do work in a child; `then` is called with what came of it, even while this process is ending."""
        task = storage.start(work, attach)
        self._tasks[task.sock] = (task, then)
        self._watch(task.sock, lambda: self._finish(task))

    def _finish(self, task: storage.Task) -> None:
        self._selector.unregister(task.sock)
        _, then = self._tasks.pop(task.sock)
        then(task.finish())

    def _end_zygote(self, request: protocol.EndZygote) -> None:
        zygote = self._zygotes[request.zygote]
        zygote.ending = request.id
        pidfd.kill(zygote.pidfd)

    _handlers: dict[type, Callable[["Spawner", Any], None]] = {  # noqa: RUF012 -- a dispatch table, never changed
        protocol.Zygote: _start_zygote,
        protocol.Create: _create,
        protocol.Limit: _limit,
        protocol.Counters: _counters,
        protocol.Listen: _listen,
        protocol.Connect: _connect,
        protocol.Kill: _kill,
        protocol.EndZygote: _end_zygote,
        protocol.Keep: _keep,
        protocol.Freeze: _freeze,
        protocol.Copy: _copy,
        protocol.Import: _import,
        protocol.Stored: _stored,
        protocol.Forget: _forget,
        protocol.MakeVolume: _make_volume,
    }

    # what zygotes and sandboxes do

    def _on_zygote(self, zygote: Zygote) -> None:
        try:
            received = frames.receive(zygote.control)
        except (frames.BadFrame, OSError):
            received = None
        if received is None:
            self._selector.unregister(zygote.control)
            pidfd.kill(zygote.pidfd)
            return
        message, fds = received
        event = message.get("ev")
        if event == "ready" and not zygote.ready:
            zygote.ready = True
            report = {key: message.get(key) for key in ("loaded", "failed", "refused")}
            self._answer(zygote.request, {"zygote": zygote.number, "preload": report})
        slot = self._slots.get(message["slot"]) if isinstance(message.get("slot"), int) else None
        if slot is not None and slot.zygote is zygote and slot.pidfd < 0:
            if event == "forked" and len(fds) == 1:
                self._on_forked(slot, fds.pop())
            elif event == "failed":
                self._answer(slot.request.id, {"error": f"fork: {str(message.get('why'))[:300]}"})
                self._bury(slot)
        frames.close_all(fds)

    def _on_forked(self, slot: Slot, fd: int) -> None:
        slot.pidfd = fd
        self._watch(fd, lambda: self._on_death(slot))
        try:
            pid = pidfd.pid_of(fd)
            self._groups.attach(slot.leaf, pid)
            # Inside its control group only: init must come through when hundreds of its guests want the processor.
            os.setpriority(os.PRIO_PROCESS, pid, _INIT_NICE)
            assert slot.control is not None
            request = slot.request
            env = birth.ENVIRONMENT | request.env
            go = {
                "hostname": request.hostname,
                "shm_bytes": request.shm_bytes,
                "env": env,
                "open_root": request.open_root,
            }
            frames.send(slot.control, go)
        except (OSError, AssertionError) as error:
            # Not in its control group: it must not run.
            pidfd.kill(fd)
            self._answer(slot.request.id, {"error": f"control group: {error}"})
            return
        self._answer(slot.request.id, {"slot": slot.number}, (slot.control.fileno(),))
        slot.control.close()
        slot.control = None

    def _on_death(self, slot: Slot) -> None:
        if slot.dead or not pidfd.is_dead(slot.pidfd):
            return
        self._selector.unregister(slot.pidfd)
        self._bury(slot)

    def _bury(self, slot: Slot) -> None:
        """All its processes are dead: save what is to be kept, then let go of everything."""
        slot.dead = True
        if slot.pidfd >= 0:
            pidfd.close(slot.pidfd)
        if slot.control is not None:
            slot.control.close()
            slot.control = None
        if slot.copying:
            return  # the end of the copy finds it dead
        if not slot.keep:
            self._let_go(slot, {})
            return
        first_id = slot.zygote.first_id + slot.slice * protocol.SLICE
        work = partial(self._storage.put, slot.upper, "saved", slot.keep, first_id)
        self._run(work, lambda report: self._let_go(slot, {"saved": msgspec.to_builtins(report)}))

    def _let_go(self, slot: Slot, more: dict[str, Any]) -> None:
        oom_kills = self._groups.oom_kills(slot.leaf)
        asked = bool(slot.ends)
        self._drop(slot, more)
        if not asked:
            self._answer(-2, {"died": slot.number, "oom_kills": oom_kills, **more})

    def _drop(self, slot: Slot, more: dict[str, Any] | None = None) -> None:
        """Forget a sandbox of which nothing runs, and tell those who wait for that."""
        slot.dead = True
        if slot.control is not None:
            slot.control.close()
            slot.control = None
        self._slots.pop(slot.number, None)
        self._release(slot)
        for number in slot.ends:
            self._answer(number, more or {})

    def _release(self, slot: Slot) -> None:
        self._trees.remove(slot.upper)
        if not self._groups.remove(slot.leaf):
            self._to_remove.append(slot.leaf)
        slot.zygote.free.append(slot.slice)

    def _on_zygote_death(self, zygote: Zygote) -> None:
        """A zygote is pid 1 of the namespace all its sandboxes are in: when it is dead, so are they."""
        self._selector.unregister(zygote.pidfd)
        with contextlib.suppress(KeyError):
            self._selector.unregister(zygote.control)
        for slot in [slot for slot in self._slots.values() if slot.zygote is zygote and not slot.dead]:
            if slot.pidfd >= 0:
                self._selector.unregister(slot.pidfd)
            self._bury(slot)
        with contextlib.suppress(ChildProcessError):
            os.waitid(os.P_PIDFD, zygote.pidfd, os.WEXITED)
        for number in range(protocol.SLICES):
            self._trees.remove(f"i/{zygote.number}-{number}")
            self._trees.forget_ids(zygote.first_id + number * protocol.SLICE)
        if not self._groups.remove(f"z{zygote.number}"):
            self._to_remove.append(f"z{zygote.number}")
        del self._zygotes[zygote.number]
        pidfd.close(zygote.pidfd)
        zygote.control.close()
        zygote.lock.close()
        if zygote.ending is not None:
            self._answer(zygote.ending, {})
        elif not zygote.ready:
            self._answer(zygote.request, {"error": "the zygote died while it preloaded"})
        else:
            self._answer(-2, {"zygote_died": zygote.number})

    # ends

    def _sweep(self) -> None:
        self._to_remove = [leaf for leaf in self._to_remove if not self._groups.remove(leaf)]

    def _end(self) -> None:
        for zygote in list(self._zygotes.values()):
            pidfd.kill(zygote.pidfd)
        for zygote in list(self._zygotes.values()):
            os.waitid(os.P_PIDFD, zygote.pidfd, os.WEXITED)
            zygote.ending = None
            self._on_zygote_death(zygote)
        for task, _ in list(self._tasks.values()):
            self._finish(task)  # what was acknowledged is on disk before we go
        deadline = time.monotonic() + 5
        while self._to_remove and time.monotonic() < deadline:
            self._sweep()
            time.sleep(0.005)
        self._groups.close()

    def _number(self) -> int:
        self._next += 1
        return self._next - 1


def _passed(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    numbers = array.array("i")
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            numbers.frombytes(payload[: len(payload) - len(payload) % numbers.itemsize])
    return list(numbers)


def main(fd: int) -> None:
    """Read the start message from the engine's socket and serve."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the engine ends us by closing its socket
    engine = socket.socket(fileno=fd)
    data, ancillary, _, _ = engine.recvmsg(frames.MAX_FRAME, socket.CMSG_SPACE(4))
    start = protocol.decode_start(data)
    numbers = array.array("i", ancillary[0][2])
    try:
        probe.require(probe.features())
        Spawner(engine, start, numbers[0]).serve()
    except (OSError, HostUnsupported) as error:
        with contextlib.suppress(BrokenPipeError):  # an engine that has gone need not be told
            engine.send(protocol.encode({"id": 0, "error": str(error)}))
        sys.exit(70)
