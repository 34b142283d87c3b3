"""Trees kept on disk: files of stopped sandboxes, frozen images, volumes; and the child processes that copy them.

Everything stands below one directory that only root may enter, owned by ids that nobody on the host has. A tree appears
under its name in one rename, when it is whole. The spawner's loop never waits for a copy: it watches the child's end.
"""

import contextlib
import fcntl
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from tidepool.engine.guest import faults, syscalls
from tidepool.engine.spawner import copying, protocol, unpacking

KINDS = ("saved", "images", "volumes")
_WHOLE = "whole"
"""Marks an image that has its own system."""
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_WAIT_S = 60.0
"""For the spawner of a server that has ended to save what its sandboxes wrote."""
_OLD = ".old~"
"""Ends the name of a tree that another is taking the place of."""
_MAX_REPORT = 64 << 10


class Report(msgspec.Struct):
    """What a child says at its end."""

    error: str = ""
    bytes: int = 0
    files: int = 0
    skipped: list[str] = []
    cut: bool = False
    """Whether it ended before it could say anything; said in its place."""


decode_report = msgspec.json.Decoder(Report).decode


@dataclass
class Task:
    """One child under way."""

    pid: int
    sock: socket.socket
    """Readable when it has ended."""

    def finish(self) -> Report:
        """Reap it; blocks only if it has not ended."""
        with self.sock:
            try:
                data = self.sock.recv(_MAX_REPORT)
            except OSError:
                data = b""
        _, status = os.waitpid(self.pid, 0)
        if not data:
            return Report(error=f"copying ended with status {status} and no report", cut=True)
        return decode_report(data)


class Tasks:
    """The children under way, and what follows each of them.

    Args:
        watch: Has a function called when a socket is readable.
        unwatch: Ends that.
    """

    def __init__(
        self, watch: Callable[[Any, Callable[[], None]], None], unwatch: Callable[[Any], object]
    ) -> None:
        self._watch = watch
        self._unwatch = unwatch
        self._then: dict[socket.socket, tuple[Task, Callable[[Report], None]]] = {}

    def run(
        self,
        work: Callable[[], copying.Copied],
        then: Callable[[Report], None],
        enter: Callable[[], None] | None = None,
    ) -> None:
        """Do work in a child; `then` is called with what came of it, even while this process is ending."""
        task = start(work, enter)
        self._then[task.sock] = (task, then)
        self._watch(task.sock, lambda: self._finish(task))

    def finish_all(self) -> None:
        """Wait for everything that is under way."""
        while self._then:
            self._finish(next(iter(self._then.values()))[0])

    def _finish(self, task: Task) -> None:
        self._unwatch(task.sock)
        _, then = self._then.pop(task.sock)
        then(task.finish())


Tree = tuple[Path, int]
"""Files in the parts of an upper, and the first id they belong to."""


@dataclass(frozen=True)
class Storage:
    """The trees of one state directory."""

    root: Path
    alone: bool = False
    """Whether no other spawner was at work here when this one came."""
    _at_work: int = -1
    """A descriptor whose lock says that this one has not begun to end."""

    @classmethod
    def prepare(cls, root: Path) -> "Storage":
        """Make the directories; what was left unfinished is removed, unless another spawner works here."""
        root.mkdir(mode=0o700, exist_ok=True)
        os.chown(root, 0, 0)
        os.chmod(root, 0o700)
        for kind in KINDS:
            (root / kind).mkdir(mode=0o755, exist_ok=True)
        # Both held as long as this process lives, and what it forks.
        lock, at_work = (os.open(place, _DIRECTORY) for place in (root, root / KINDS[0]))
        deadline = time.monotonic() + _WAIT_S
        while not (alone := _try_lock(lock)) and _try_lock(at_work) and time.monotonic() < deadline:
            fcntl.flock(at_work, fcntl.LOCK_UN)
            time.sleep(0.02)  # all that are here are ending: they are saving files
        storage = cls(root, alone, at_work)
        storage.mend()
        fcntl.flock(lock, fcntl.LOCK_SH)
        fcntl.flock(at_work, fcntl.LOCK_SH)
        return storage

    def let_others_wait(self) -> None:
        """Say that this spawner is ending: one that comes now waits until what it saves is there."""
        fcntl.flock(self._at_work, fcntl.LOCK_UN)

    def mend(self) -> None:
        """Finish or undo what was left unfinished, unless another spawner may be about to finish it."""
        for kind in KINDS if self.alone else ():
            unfinished = [name for name in os.listdir(self.root / kind) if name.endswith("~")]
            for name in {name.removesuffix(_OLD).removesuffix("~") for name in unfinished}:
                self._mend(kind, name)

    def _mend(self, kind: str, name: str) -> None:
        new, old, place = (self.path(kind, f"{name}{end}") for end in ("~", _OLD, ""))
        if old.exists() and not place.exists():  # it was ended between the two renames of `_appear`
            os.rename(new if new.exists() else old, place)
        for path in (new, old):
            self.remove(kind, path.name)

    def path(self, kind: str, name: str) -> Path:
        """Where a tree stands; it need not exist."""
        return self.root / kind / name

    def names(self, kind: str) -> list[str]:
        """What there is of a kind."""
        return sorted(name for name in os.listdir(self.root / kind) if not name.endswith("~"))

    def remove(self, kind: str, name: str) -> None:
        """Remove a tree; no error when it is not there."""
        parent = os.open(self.root / kind, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            copying.remove_tree(parent, name)
        finally:
            os.close(parent)

    def forget(self, kind: str, name: str) -> copying.Copied:
        """As `remove`, as work for a child."""
        self.remove(kind, name)
        return copying.Copied()

    def make_volume(self, name: str) -> None:
        """An empty directory that belongs to root inside; no error when it is there.

        Anyone inside may write to its top, as to /tmp: sandboxes of one tenant share it under several users.
        """
        place = self.path("volumes", name)
        if not place.exists():
            place.mkdir(mode=0o700)
            os.chown(place, protocol.STORED_UID, protocol.STORED_UID)
            os.chmod(place, 0o1777)

    def open_volume(self, name: str, subpath: str) -> int:
        """An open directory of a volume; what is missing of `subpath` is made. Follows no link a sandbox planted.

        Raises:
            OSError: There is no such volume, or something else stands in the way.
        """
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(self.path("volumes", name), flags)
        for part in filter(None, subpath.split("/")):
            try:
                made = True
                try:
                    os.mkdir(part, 0o700, dir_fd=fd)
                except FileExistsError:
                    made = False
                inner = os.open(part, flags, dir_fd=fd)
                if made:
                    os.fchown(inner, protocol.STORED_UID, protocol.STORED_UID)
                    os.fchmod(inner, 0o1777)
            finally:
                os.close(fd)
            fd = inner
        return fd

    def put(self, source: str | Path, kind: str, name: str, first_id: int, base: str = "") -> copying.Copied:
        """Copy a sandbox's upper to `kind/name`, replacing what was there; whole or not at all.

        With `base`, an image, what comes out is that image with the upper on top.

        Raises:
            OSError: It could not be copied; what was there before is still there.
        """
        faults.step("copier.put.begun")
        new = f"{name}~"
        self._mend(kind, name)
        ids = copying.shift(first_id, protocol.STORED_UID, protocol.SLICE)
        os.mkdir(self.path(kind, new), 0o755)
        try:
            copied = copying.Copied()
            if base and self.is_whole(base):
                (self.path(kind, new) / _WHOLE).touch()
            for letter in ("r", "u", "l"):
                target = self.path(kind, new) / letter
                target.mkdir()
                os.chown(target, protocol.STORED_UID, protocol.STORED_UID)
                if base:
                    with _opened(self.path("images", base) / letter) as below, _opened(target) as above:
                        copying.link_tree(below, above)
                copy_tree(Path(source) / letter, target, ids, copied, bool(base))
        except OSError:
            self.remove(kind, new)
            raise
        self._appear(kind, name)
        return copied

    def _appear(self, kind: str, name: str) -> None:
        """Let what was made under the unfinished name have its own."""
        if self.path(kind, name).exists():
            old = f"{name}{_OLD}"
            os.rename(self.path(kind, name), self.path(kind, old))
            faults.step("copier.put.halfway")
            os.rename(self.path(kind, f"{name}~"), self.path(kind, name))
            self.remove(kind, old)
        else:
            os.rename(self.path(kind, f"{name}~"), self.path(kind, name))

    def is_whole(self, image: str) -> bool:
        """Whether an image has its own system and does not lie on this host's."""
        return (self.path("images", image) / _WHOLE).exists()

    def of_zygote(self, image: str) -> str:
        """The image that a zygote itself runs on: this host's, where its sandboxes see a whole one."""
        return "" if image and self.is_whole(image) else image

    def unpack(self, fd: int, image: str) -> copying.Copied:
        """Make an image of the tar of a whole system; closes `fd`.

        Raises:
            OSError: It is damaged, or there is no room; nothing is left of it.
        """
        new = f"{image}~"
        self._mend("images", image)
        os.mkdir(self.path("images", new), 0o755)
        try:
            with os.fdopen(fd, "rb") as file:
                copied = unpacking.unpack(file, self.path("images", new))
            (self.path("images", new) / _WHOLE).touch()
        except OSError:
            self.remove("images", new)
            raise
        self._appear("images", image)
        return copied

    def saved(self, name: str) -> Tree:
        """The saved files of that name."""
        return self.path("saved", name), protocol.STORED_UID

    def take(self, origin: Tree, upper: str, first_id: int) -> copying.Copied:
        """Copy saved files, or those of a sandbox that holds still, into a new sandbox's upper.

        Raises:
            OSError: There is no such tree, or the upper is too small for it.
        """
        source, its_first_id = origin
        ids = copying.shift(its_first_id, first_id, protocol.SLICE)
        copied = copying.Copied()
        for letter in ("r", "u", "l"):
            copy_tree(source / letter, Path(upper) / letter, ids, copied)
        return copied

    def copy(self, kind: str, name: str, to_kind: str, to_name: str) -> copying.Copied:
        """Copy one tree on disk to another."""
        return self.put(self.path(kind, name), to_kind, to_name, protocol.STORED_UID)


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def _opened(directory: Path) -> Iterator[int]:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def copy_tree(
    source: Path, target: Path, ids: copying.Ids, copied: copying.Copied, over: bool = False
) -> None:
    """Copy what is in one directory into another and add to `copied` what it came to; as `copying.Copy`."""
    with _opened(source) as source_fd, _opened(target) as target_fd:
        part = copying.Copy(ids, over).run(source_fd, target_fd)
    copied.bytes += part.bytes
    copied.files += part.files
    copied.skipped += part.skipped[: 20 - len(copied.skipped)]


def start(work: Callable[[], copying.Copied], enter: Callable[[], None] | None = None) -> Task:
    """Do `work` in a child that dies with us; it calls `enter`, which puts it into a control group, before it begins.

    Raises:
        OSError: There can be no more processes.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if pid == 0:
        status = 70
        try:
            syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
            ours.close()
            report = Report()
            try:
                if enter is not None:
                    enter()
                copied = work()
                report = Report("", copied.bytes, copied.files, [text[:300] for text in copied.skipped])
            except OSError as error:
                report.error = f"{error.strerror or error}"
            except RecursionError:
                report.error = "directories are nested too deeply"
            theirs.send(msgspec.json.encode(report))
            status = 0
        finally:
            os._exit(status)
    theirs.close()
    return Task(pid, ours)
