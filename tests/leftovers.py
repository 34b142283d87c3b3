"""What of Tidepool is on this host at one moment: processes, control groups, mounts, namespaces, directories.

`taken_since` compares with an earlier moment and leaves out what belongs to other users of the host: a server that was
not started under this test session, and everything that hangs below a living process that is not ours.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from tidepool.engine.spawner.protocol import SERVER_UID

SESSION_KEY = "TIDEPOOL_TEST_SESSION"
"""Environment variable by which a server is known to have been started by one session of tests."""
_COMMANDS = (
    b"tidepool.server",
    b"tidepool.engine",
    b"tidepool.egress",
    b"tidepool serve",
    b"/usr/lib/tidepool",
)
_CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Process:
    """One process as /proc shows it; `start` tells it from a later one of the same id."""

    pid: int
    parent: int
    start: str
    uid: int
    command: bytes

    @property
    def is_tidepool(self) -> bool:
        """A server, a spawner, a proxy, a zygote, or anything that runs under an id that sandboxes get."""
        return self.uid >= SERVER_UID or any(name in self.command for name in _COMMANDS)


@dataclass(frozen=True)
class Moment:
    """Everything of Tidepool at one time."""

    processes: frozenset[tuple[int, str]]
    things: frozenset[str]
    """Mounts, control groups, named network namespaces, directories and descriptors, each as a sentence's subject."""


def now() -> Moment:
    """This moment."""
    processes = frozenset((one.pid, one.start) for one in _processes().values())
    return Moment(processes, frozenset([*_mounts(), *_groups(), *_namespaces(), *_directories()]))


def taken_since(before: Moment, session: str, patience_s: float = 5.0) -> list[str]:
    """What has come since and is still there when patience ends: a line each."""
    deadline = time.monotonic() + patience_s
    while True:
        found = _new_processes(before, session) + sorted(now().things - before.things)
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.05)


def _processes() -> dict[int, Process]:
    found = {}
    for name in os.listdir("/proc"):
        if name.isdecimal():
            try:
                process = _process(int(name))
            except (FileNotFoundError, ProcessLookupError):
                continue  # it ended while we were reading
            if process is not None:
                found[process.pid] = process
    return found


def _process(pid: int) -> Process | None:
    directory = Path(f"/proc/{pid}")
    state, parent, *rest = (directory / "stat").read_text().rpartition(")")[2].split()
    if state in "ZX":
        return None  # dead: its parent has not asked yet
    command = (directory / "cmdline").read_bytes().replace(b"\0", b" ").strip()
    return Process(pid, int(parent), rest[17], directory.stat().st_uid, command)


def _new_processes(before: Moment, session: str) -> list[str]:
    everything = _processes()
    come = [one for one in everything.values() if (one.pid, one.start) not in before.processes]
    ours = [one for one in come if one.is_tidepool and _is_ours(one, everything, session)]
    return [f"process {one.pid} (uid {one.uid}): {one.command.decode(errors='replace')[:90]}" for one in ours]


def _is_ours(process: Process, everything: dict[int, Process], session: str) -> bool:
    """Whether this session of tests is to blame for it."""
    top = process
    while (parent := everything.get(top.parent)) and parent.is_tidepool:
        top = parent
    ancestor = top
    while ancestor.parent in everything and ancestor.parent not in (1, os.getpid()):
        ancestor = everything[ancestor.parent]
    if ancestor.parent == os.getpid():
        return True
    if top.parent != 1:
        return False  # it hangs below somebody else's living program
    try:
        environment = Path(f"/proc/{top.pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False
    # A server tells by its environment. Anything else with no parent left is an orphan, whoever's it was.
    return f"{SESSION_KEY}={session}".encode() in environment or b"tidepool.server" not in top.command


def _mounts() -> list[str]:
    lines = Path("/proc/self/mounts").read_text().splitlines()
    return [f"mount {' '.join(line.split()[:3])}" for line in lines if "tidepool" in line]


def _groups() -> list[str]:
    """Control groups named after a process (the engine's) that is gone, and unnamed ones."""
    found = []
    for directory, names, _ in os.walk(_CGROUPS):
        for name in [name for name in names if name.startswith("tidepool")]:
            names.remove(name)
            pid = name.removeprefix("tidepool-").partition("-")[0]
            if not (pid.isdecimal() and Path(f"/proc/{pid}").exists()):
                found.append(f"control group {directory}/{name}")
    return found


def _namespaces() -> list[str]:
    named = [f"network namespace {name}" for name in _listing("/run/netns")]
    links = (f"/proc/self/fd/{fd}" for fd in _listing("/proc/self/fd"))
    held = [os.readlink(link) for link in links if os.path.lexists(link)]
    return named + [f"open namespace {link}" for link in held if link.startswith(("net:", "user:", "mnt:"))]


def _directories() -> list[str]:
    homes = ("/run", "/var/lib", "/tmp", os.environ.get("XDG_RUNTIME_DIR", "/run"))
    return [
        f"directory {home}/{name}"
        for home in sorted(set(homes))
        for name in _listing(home)
        if _is_default(name)
    ]


def _is_default(name: str) -> bool:
    """Names that the server takes for itself when no test has given it a place."""
    return name in ("tidepool", f"tidepool-{os.getuid()}")


def _listing(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []
