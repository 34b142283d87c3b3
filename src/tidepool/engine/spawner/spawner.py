"""The spawner's loop and its books: zygotes, slots, slices; each request answered when it is really done.

Rules of the room: nothing here blocks on a sandbox. A zygote is only waited for through its socket or its pidfd. A
slice of ids is used again only after the pidfd of the init that had it has shown that its whole pid namespace is dead.
"""

import array
import contextlib
import os
import selectors
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import msgspec

from tidepool.engine.guest import faults, frames
from tidepool.engine.kernel import cgroups, net, pidfd, probe, strays
from tidepool.engine.spawner import birth, burial, joining, orders, protocol, reports, storage, trees
from tidepool.engine.spawner.books import Ground, Ids, Slot, Zygote, claim_block, group_limits

_SWEEP_S = 0.02
_ZYGOTE_LIMITS = cgroups.GroupLimits(memory_bytes=4 << 30, pids=8192, cpu=1024.0)
"""It preloads packages, which run code; sandboxes leave its group for their own before they run anything."""


class Spawner:
    """All state of the one privileged process; what an ordinary user's does otherwise is in `rootless`."""

    ids = Ids()
    init_nice = -10
    weaker: ClassVar[dict[str, str]] = {}
    """What is not as strong as it could be, and why."""
    make_trees: type[trees.Trees] = trees.Trees

    @classmethod
    def enter(cls) -> None:
        """Get ready to isolate; raises HostUnsupported when this host cannot."""
        probe.require(probe.features())

    def __init__(self, engine: socket.socket, start: protocol.Start, seccomp_fd: int, ground: Ground) -> None:
        self._engine = engine
        self._start = start
        self._seccomp_fd = seccomp_fd
        self._selector = selectors.DefaultSelector()
        self._trees = self.make_trees(start)
        self._storage, self._groups, self._journal = ground.storage, ground.groups, ground.journal
        self._guardian = ground.guardian
        self._zygotes: dict[int, Zygote] = {}
        self._slots: dict[int, Slot] = {}
        self._to_remove: list[str] = []
        """Control groups to be removed as soon as the kernel counts no dying process in them."""
        self._joining = joining.Joining(self._groups, self._watch, self._selector.unregister)
        self._tasks = storage.Tasks(self._watch, self._selector.unregister)
        self._run = self._tasks.run
        self._burial = burial.Burial(self._storage, self._tasks.run, self._tell, self._let_go)
        self._passed: list[int] = []
        """Descriptors that came with the request in hand."""
        self._running = True

    def rlimits(self, limits: protocol.Limits) -> dict[str, int]:
        """Limits that init takes upon itself and all it starts, by setrlimit(2)'s names; here control groups do."""
        return {}

    def serve(self, is_first: bool) -> None:
        """Until the engine closes its socket; then everything is killed and removed. The first one says hello."""
        self._watch(self._engine, self._on_engine)
        self._watch(self._guardian, self._on_guardian_death)
        if is_first:
            kinds = {"controllers": self._groups.controllers, "cgroup_version": self._groups.version}
            self._answer(0, {**kinds, "alone": self._storage.alone, "weaker": self.weaker})
            if self._start.early_zygote:
                self._on_request(protocol.encode(protocol.Zygote(protocol.EARLY, [], "", [], False)))
        try:
            while self._running:
                timeout = _SWEEP_S if self._to_remove else None
                for key, _ in self._selector.select(timeout):
                    key.data()
                self._sweep()
        finally:
            self._end()

    def _on_guardian_death(self) -> None:
        """Go on: nothing is lost by it, as long as this process is not killed as well."""
        self._selector.unregister(self._guardian)
        self._guardian = -1
        self._answer(-2, {"error": "the guardian was killed; were this too, files would be lost"})

    def _watch(self, source: Any, handler: Callable[[], None]) -> None:
        self._selector.register(source, selectors.EVENT_READ, handler)

    # requests

    def _on_engine(self) -> None:
        # A request stays in the socket until it is done: should this process be killed, the guardian finds it.
        flags = socket.MSG_PEEK | socket.MSG_CMSG_CLOEXEC
        try:
            data, ancillary, _, _ = self._engine.recvmsg(frames.MAX_FRAME, 64, flags)
        except ConnectionResetError:  # it has gone without reading what we had sent
            data, ancillary = b"", []
        self._passed = protocol.descriptors(ancillary)
        try:
            if data:
                self._on_request(data)
            else:
                self._running = False
        finally:
            frames.close_all(self._passed)
            self._passed = []
            if data:
                self._engine.recv(1)  # all of the packet

    def _on_request(self, data: bytes) -> None:
        try:
            request = protocol.decode_request(data)
        except msgspec.MsgspecError as error:
            self._answer(-1, {"error": f"a request does not fit: {error}"})
            return
        self._journal.received(request.id)
        try:
            self._handlers[type(request)](self, request)
        except (OSError, LookupError, ValueError) as error:
            self._answer(request.id, {"error": f"{type(request).__name__}: {error}"})

    def _answer(self, number: int, answer: dict[str, Any], fds: tuple[int, ...] = ()) -> None:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        with contextlib.suppress(BrokenPipeError):  # the engine is gone: the loop will see it
            self._engine.sendmsg([protocol.encode({"id": number, **answer})], rights, socket.MSG_NOSIGNAL)

    def _start_zygote(self, request: protocol.Zygote) -> None:
        block, lock = claim_block(self.ids, {zygote.block for zygote in self._zygotes.values()})
        number = self._journal.number()
        first_id = self.ids.first(block)
        try:
            own, guard = self._storage.of_zygote(request.image), orders.guard(request, self._seccomp_fd)
            lowers = self._trees.lowers(f"i/{number}-0", first_id, request.seen_layers, own)
            mounts = (*self._trees.zygote_mounts(lowers), self._trees.devices())
            self._groups.add(f"z{number}", _ZYGOTE_LIMITS)
            join = partial(self._groups.attach, f"z{number}")
            fd, control = birth.start(mounts, first_id, self.ids.block, join, lock, guard, self._start.debug)
        except OSError:
            self._trees.remove(f"i/{number}-0")
            self._groups.remove(f"z{number}")
            lock.close()
            raise
        zygote = Zygote(number, block, lock, fd, control, request.layers, request.image, request.id, self.ids)
        self._zygotes[number] = zygote
        faults.step("spawner.zygote.started")
        frames.send(control, orders.config(self._start, request, number), (self._seccomp_fd,))
        control.setblocking(False)  # one that does not read is an error, not a wait
        self._watch(control, lambda: self._on_zygote(zygote))
        self._watch(fd, lambda: self._on_zygote_death(zygote))

    def _create(self, request: protocol.Create) -> None:
        zygote = self._zygotes[request.zygote]
        if not zygote.ready or zygote.ending is not None or not zygote.free:
            raise ValueError("zygote is full or not ready")
        origin = (
            self._slots[name].disk if isinstance(name := request.restore, int) else self._storage.saved(name)
        )
        slot = Slot(self._journal.number(), zygote, zygote.free.pop(), request, None)
        try:
            self._groups.add(slot.leaf, slot.group_limits)
            faults.step("spawner.create.group")
            self._journal.write(slot.record)
            self._trees.make_upper(slot.upper, slot.first_id, request.disk_bytes)
            faults.step("spawner.create.upper")
        except OSError:
            self._release(slot)
            self._journal.remove(slot.number)
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

        # In its control group: what is copied is its memory from the start.
        slot.copying, enter = True, partial(self._groups.enter, slot.leaf)
        self._run(partial(self._storage.take, origin, slot.upper, slot.first_id), restored, enter)

    def _fork(self, slot: Slot) -> None:
        """Ask the zygote for a sandbox whose upper is ready."""
        zygote, request, first_id = slot.zygote, slot.request, slot.first_id
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
            frames.send(zygote.control, orders.fork(slot), tuple(fds))
            faults.step("spawner.create.ordered")
        except OSError as error:
            self._answer(request.id, {"error": f"mounts: {error}"})
            self._drop(slot)
        finally:
            frames.close_all(fds)

    def _limit(self, request: protocol.Limit) -> None:
        slot = self._slots[request.slot]
        self._groups.limit(slot.leaf, group_limits(request.limits))
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
        faults.step("spawner.kill.read")
        slot.ends.append(request.id)
        if not request.save:
            slot.keep = ""
            self._journal.write(slot.record)
        if slot.unsaved:
            slot.tries = 0
            self._burial.begin(slot)
        if slot.dead:
            return  # its files are being saved
        if slot.pidfd >= 0:
            pidfd.kill(slot.pidfd)
            faults.step("spawner.kill.sent")
        elif slot.copying:
            slot.dead = True  # seen when the copy has ended
        elif slot.control is not None:
            slot.hang_up()  # not forked yet: it will find its socket closed and exit

    def _keep(self, request: protocol.Keep) -> None:
        slot = self._slots[request.slot]
        faults.step("spawner.keep.read")
        slot.keep = request.name
        self._journal.write(slot.record)
        faults.step("spawner.keep.noted")

    def _freeze(self, request: protocol.Freeze) -> None:
        slot = self._slots[request.slot]
        base = slot.zygote.image if request.kind == "images" else ""
        work = partial(self._storage.put, slot.upper, request.kind, request.name, slot.first_id, base)
        self._run(work, partial(self._report, request.id))
        faults.step("spawner.freeze.begun")

    def _copy(self, request: protocol.Copy) -> None:
        source, kind = self._storage.path("saved", request.source), request.kind
        work = partial(self._storage.put, source, kind, request.name, protocol.STORED_UID, request.base)
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
        faults.step("spawner.forget.read")
        work = partial(self._storage.forget, request.kind, request.name)
        self._run(work, partial(self._report, request.id))

    def _retire(self, request: protocol.Retire) -> None:
        if request.zygote in self._zygotes:
            self._zygotes[request.zygote].retired = True
            self._end_if_idle(self._zygotes[request.zygote])
        self._answer(request.id, {})

    def _end_if_idle(self, zygote: Zygote) -> None:
        is_idle = len(zygote.free) == self.ids.slices - 1
        if zygote.retired and is_idle and zygote.number in self._zygotes:
            pidfd.kill(zygote.pidfd)

    def _make_volume(self, request: protocol.MakeVolume) -> None:
        self._storage.make_volume(request.name)
        self._answer(request.id, {})

    def _report(self, number: int, report: storage.Report) -> None:
        if report.error:
            self._answer(number, {"error": report.error})
        else:
            self._answer(number, {"bytes": report.bytes, "files": report.files, "skipped": report.skipped})

    def _end_zygote(self, request: protocol.EndZygote) -> None:
        zygote = self._zygotes.get(request.zygote)
        if zygote is None:
            self._answer(request.id, {})
            return
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
        protocol.Retire: _retire,
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
            received = reports.receive(zygote.control, zygote.strays)
        except (reports.NotFitting, OSError):
            received = None
        if received is None or not self._on_report(zygote, *received):
            self._selector.unregister(zygote.control)
            pidfd.kill(zygote.pidfd)

    def _on_report(self, zygote: Zygote, report: reports.Report, fd: int) -> bool:
        """Whether it is what this zygote may say now."""
        if isinstance(report, reports.Ready):
            if not zygote.ready:
                self._answer(
                    zygote.request, {"zygote": zygote.number, "preload": msgspec.structs.asdict(report)}
                )
            first, zygote.ready = not zygote.ready, True
            return first
        slot = self._slots.get(report.slot)
        if slot is None or slot.zygote is not zygote or slot.pidfd >= 0 or slot.dead or slot.copying:
            if fd >= 0:
                pidfd.close(fd)
            return False
        if isinstance(report, reports.Forked):
            self._on_forked(slot, fd)
        else:
            self._answer(slot.request.id, {"error": f"fork: {report.why[:300]}"})
            self._bury(slot)
        return True

    def _on_forked(self, slot: Slot, fd: int) -> None:
        slot.pidfd = fd
        self._watch(fd, lambda: self._on_death(slot))
        self._joining.begin(slot, partial(self._let_in, slot), partial(self._turn_away, slot))

    def _let_in(self, slot: Slot, control: socket.socket) -> None:
        try:
            # Inside its control group only: init must come through when hundreds of its guests want the processor.
            os.setpriority(os.PRIO_PROCESS, pidfd.pid_of(slot.pidfd), self.init_nice)
            frames.send(control, orders.go(slot.request, self.rlimits(slot.request.limits)))
        except OSError as error:
            self._turn_away(slot, error)
            return
        faults.step("spawner.create.forked")
        self._answer(slot.request.id, {"slot": slot.number}, (control.fileno(),))
        slot.hand_over()
        faults.step("spawner.create.answered")

    def _turn_away(self, slot: Slot, error: Exception) -> None:
        pidfd.kill(slot.pidfd)
        self._answer(slot.request.id, {"error": f"control group: {error}"})

    def _on_death(self, slot: Slot) -> None:
        if slot.dead or not pidfd.is_dead(slot.pidfd):
            return
        self._selector.unregister(slot.pidfd)
        self._bury(slot)

    def _bury(self, slot: Slot) -> None:
        """All its processes are dead: save what is to be kept, then let go of everything."""
        slot.dead = True
        self._joining.stop(slot)
        if slot.pidfd >= 0:
            pidfd.close(slot.pidfd)
            slot.pidfd = -1
        slot.hang_up()
        if not slot.copying:  # else the end of the copy finds it dead
            self._burial.begin(slot)

    def _tell(self, slot: Slot, more: dict[str, Any]) -> None:
        if not slot.ends:
            oom_kills = self._groups.oom_kills(slot.leaf)
            self._answer(
                -2, {"died": slot.number, "oom_kills": oom_kills, "why": slot.why, "by_itself": True, **more}
            )
        for number in slot.ends:
            self._answer(number, more)
        slot.ends.clear()

    def _let_go(self, slot: Slot, more: dict[str, Any]) -> None:
        if not slot.ends:
            self._tell(slot, more)
        self._drop(slot, more)

    def _drop(self, slot: Slot, more: dict[str, Any] | None = None) -> None:
        """Forget a sandbox of which nothing runs, and tell those who wait for that."""
        slot.dead = True
        slot.hang_up()
        self._slots.pop(slot.number, None)
        self._release(slot)
        for number in slot.ends:
            self._answer(number, more or {})
        faults.step("spawner.drop.answered")
        self._journal.remove(slot.number)  # last: until then its files are saved once more

    def _release(self, slot: Slot) -> None:
        self._trees.remove(slot.upper)
        faults.step("spawner.drop.upper")
        self._to_remove.append(slot.leaf)
        slot.zygote.free.append(slot.slice)
        self._end_if_idle(slot.zygote)

    def _on_zygote_death(self, zygote: Zygote) -> None:
        """A zygote is pid 1 of the namespace all its sandboxes are in: when it is dead, so are they."""
        self._selector.unregister(zygote.pidfd)
        with contextlib.suppress(KeyError):
            self._selector.unregister(zygote.control)
        for slot in [slot for slot in self._slots.values() if slot.zygote is zygote and not slot.dead]:
            slot.why = "the zygote that it came from ended"
            if slot.pidfd >= 0:
                self._selector.unregister(slot.pidfd)
            elif not slot.copying:
                self._answer(slot.request.id, {"error": f"fork: {slot.why}"})
            self._bury(slot)
        with contextlib.suppress(ChildProcessError):
            os.waitid(os.P_PIDFD, zygote.pidfd, os.WEXITED)
        for number in range(self.ids.slices):
            self._trees.remove(f"i/{zygote.number}-{number}")
            self._trees.forget_ids(zygote.first_id + number * protocol.SLICE)
        self._to_remove.append(f"z{zygote.number}")
        del self._zygotes[zygote.number]
        pidfd.close(zygote.pidfd)
        zygote.strays += strays.drain(zygote.control)
        zygote.control.close()
        strays.shed(zygote.strays)
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
        if not self._running:
            self._storage.let_others_wait()
        for zygote in list(self._zygotes.values()):
            pidfd.kill(zygote.pidfd)
        for zygote in list(self._zygotes.values()):
            os.waitid(os.P_PIDFD, zygote.pidfd, os.WEXITED)
            zygote.ending = None
            self._on_zygote_death(zygote)
        for slot in [slot for slot in self._slots.values() if slot.unsaved]:
            self._burial.begin(slot)
        self._tasks.finish_all()  # what was acknowledged is on disk before we go
        for slot in [slot for slot in self._slots.values() if slot.unsaved]:
            self._let_go(slot, {})  # memory ends with us: what was saved of it before is all there is
        deadline = time.monotonic() + 5
        while self._to_remove and time.monotonic() < deadline:
            self._sweep()
            time.sleep(0.005)
        if self._guardian < 0:
            self._groups.close()
