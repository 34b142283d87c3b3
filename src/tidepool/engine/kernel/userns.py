"""Becoming root of a user namespace of one's own: what an ordinary user can have instead of root on the host.

The ids in it are the user's own, as 0, and ranges that the administrator has given the user in /etc/subuid and
/etc/subgid; only newuidmap(1) and newgidmap(1), which are set-user-id root, may map those. Nothing here knows what the
ids are for. Who has entered never comes back.
"""

import functools
import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from tidepool.engine.errors import HostUnsupported
from tidepool.engine.guest import syscalls
from tidepool.engine.kernel.idmap import Extent

PROGRAMS = ("newuidmap", "newgidmap")
_PLACES = "/usr/bin:/bin:/usr/sbin:/sbin:/usr/local/bin"
_KILLED = 70
_DOCTOR = "`tidepool doctor` says what to enable"
_FILES = ("/etc/subuid", "/etc/subgid")
ALL_IDS = ["0", "0", "4294967295"]
"""The map of the initial user namespace."""


@dataclass(frozen=True)
class Range:
    """Ids of the host that a user may give away."""

    first: int
    count: int


@functools.cache
def owns_host() -> bool:
    """Whether this process is root of the host itself and not of a namespace, or nobody special."""
    return os.geteuid() == 0 and Path("/proc/self/uid_map").read_text().split() == ALL_IDS


def largest_range(text: str, names: Sequence[str]) -> Range | None:
    """The largest range that a file as of subuid(5) gives to one of these names. Pure."""
    found = []
    for line in text.splitlines():
        fields = line.strip().split(":")
        if len(fields) == 3 and fields[0] in names and fields[1].isdecimal() and fields[2].isdecimal():
            found.append(Range(int(fields[1]), int(fields[2])))
    return max(found, key=lambda one: one.count, default=None)


def ranges(needed: int) -> tuple[Range, Range]:
    """The user's ranges of user and of group ids, each of at least `needed`.

    Raises:
        HostUnsupported: There are none, or they are too small, or nothing can map them; the sentence says what to do.
    """
    missing = [name for name in PROGRAMS if shutil.which(name, path=_PLACES) is None]
    if missing:
        raise HostUnsupported(
            f"{' and '.join(missing)} are not installed, which sandboxes need without root: install the package uidmap "
            "(shadow-utils on Fedora), or start the server as root"
        )
    uid = os.getuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        raise HostUnsupported(
            f"user id {uid} has no name in /etc/passwd, and newuidmap serves named users only: add one, or start the "
            "server as root"
        ) from None
    uids, gids = (_range(file, name, uid, needed) for file in _FILES)
    return uids, gids


def _range(file: str, name: str, uid: int, needed: int) -> Range:
    try:
        found = largest_range(Path(file).read_text(), [name, str(uid)])
    except FileNotFoundError:
        found = None
    if found is None or found.count < needed:
        what = f"one of only {found.count} ids" if found else "no range of ids"
        option = f"--add-{Path(file).name}s"
        raise HostUnsupported(
            f"{file} gives {name} {what}, and sandboxes without root need {needed} so that each has its own: "
            f"run `usermod {option} 100000-165535 {name}` as root (a range that no other line names), or start the "
            "server as root"
        )
    return found


def enter(uids: Sequence[Extent], gids: Sequence[Extent]) -> None:
    """Become root of a new user namespace with these maps, with no further groups; 0 must be mapped.

    The caller must be single-threaded and must not have given up new privileges (prctl(2)), which both programs need.

    Raises:
        HostUnsupported: The kernel or one of the programs refused; the sentence has its words.
    """
    entered_read, entered_write = os.pipe()
    said_read, said_write = os.pipe()
    parent = os.getpid()
    # The maps are written from outside, by a process of the namespace that we leave.
    pid = os.fork()
    if pid == 0:
        os.close(entered_write)
        _write_maps(parent, (uids, gids), entered_read, said_write)
    for fd in (entered_read, said_write):
        os.close(fd)
    refused = ""
    try:
        syscalls.unshare(syscalls.CLONE_NEWUSER)
        os.write(entered_write, b"1")
    except OSError as error:
        refused = f"no user namespace can be made ({error.strerror}): {_DOCTOR}"
    finally:
        os.close(entered_write)
        with os.fdopen(said_read, "rb") as pipe:
            said = pipe.read(4096).decode("utf-8", "replace")
        os.waitpid(pid, 0)
    if refused or said != "mapped":
        raise HostUnsupported(refused or said or "the ids of a user namespace could not be mapped")
    try:
        os.setgroups([])
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
    except OSError as error:  # AppArmor lets the namespace be made, and takes its rights away
        raise HostUnsupported(f"the user namespace has no rights ({error.strerror}): {_DOCTOR}") from None
    # The change of ids has made us undumpable: what we open below /proc/self would be the host root's.
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 1)


def go_on_as_init() -> None:
    """Go on as process 1 of a pid namespace of our own, with its /proc; everything in it ends with us.

    A process that has entered a pid namespace of its own can come back from those below it only to one that its user
    namespace owns. Who called stays outside, waits for us and ends with our exit status.
    """
    syscalls.unshare(syscalls.CLONE_NEWNS | syscalls.CLONE_NEWPID)
    pid = os.fork()
    if pid:
        syscalls.close_range(3)
        _, status = os.waitpid(pid, 0)
        os._exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else _KILLED)
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
    syscalls.mount("", "/", "", syscalls.MS_REC | syscalls.MS_PRIVATE)
    syscalls.mount("proc", "/proc", "proc", syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC)


def _write_maps(
    pid: int, maps: tuple[Sequence[Extent], Sequence[Extent]], entered: int, said: int
) -> NoReturn:
    """In a child that has stayed outside: call the two programs for `pid` and tell what came of it."""
    answer = ""
    try:
        if os.read(entered, 1) == b"1":
            answer = "mapped"
            for program, extents in zip(PROGRAMS, maps, strict=True):
                words = [str(number) for extent in extents for number in extent]
                path = shutil.which(program, path=_PLACES)
                done = subprocess.run(
                    [path or program, str(pid), *words],
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    check=False,
                )
                if done.returncode:
                    answer = f"{program} refused: {done.stderr.decode('utf-8', 'replace').strip()[:1000]}"
                    break
    except OSError as error:
        answer = f"the ids of a user namespace could not be mapped: {error}"
    os.write(said, answer.encode())
    os._exit(0)


def some_other_id() -> int:
    """An id besides 0 that this process's user namespace has."""
    for line in Path("/proc/self/uid_map").read_text().splitlines():
        inside, _, count = (int(word) for word in line.split())
        if inside:
            return inside
        if count > 1:
            return 1
    raise OSError("this user namespace has no id besides 0")
