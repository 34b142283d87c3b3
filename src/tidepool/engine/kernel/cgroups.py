"""Control groups, versions 1 and 2: limits, membership, counters (cgroups(7)).

One `Tree` holds a parent group and a leaf per sandbox. On version 1 there is a directory per controller; the memory
leaf stands under this process's own group so that limits set on us stay above it. On version 2 the parent stands at
the top of what we see of the hierarchy, because a group with processes cannot hand controllers to children; in a
container its processes are moved out of there for that. Nothing here waits.
"""

import contextlib
import errno
import os
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
_V1_CONTROLLERS = ("memory", "pids", "cpu")
_ACCOUNTING = "cpuacct"
"""A controller of version 1 that only counts."""
_CPU_PERIOD_US = 100_000
_SOCKETS = "memory.kmem.tcp.limit_in_bytes"
"""Version 1 counts what TCP and UDP sockets hold apart, and only where this is set before the sockets are made; kernels
that are built without it have no such file. Unlimited, one sandbox could take all that the host's sockets may have."""
_SOCKETS_SHARE = 8
"""Of a sandbox's memory, what its sockets may hold on top of it. Version 2 counts it in `memory.max`."""
_SWAP = "memory.swap.max"
"""A kernel that does not count swap (swapaccount=0, or built without) has no such file."""
_OPTIONAL = frozenset({_SOCKETS, _SWAP})
_NOT_OURS = frozenset({errno.ENOENT, errno.EACCES, errno.EPERM, errno.EROFS, errno.EOPNOTSUPP})
"""A hierarchy is not mounted, or not writable here."""
_MOVED = "init"
"""Where a container's own processes go on version 2; container managers call it so too."""


@dataclass(frozen=True)
class GroupLimits:
    """What a leaf may use."""

    memory_bytes: int
    pids: int
    cpu: float
    """Processors, as a share of time."""


class Tree:
    """A parent group with one leaf per sandbox, over every controller that could be made writable."""

    def __init__(self, version: int, parents: dict[str, Path]) -> None:
        self.version = version
        self._parents = parents
        """Controller name to parent directory; version 2 has all controllers at one directory."""

    @property
    def controllers(self) -> tuple[str, ...]:
        """Which of memory, pids and cpu are enforced."""
        return tuple(sorted(self._parents.keys() - {_ACCOUNTING}))

    @classmethod
    def create(cls, name: str, pids_max: int) -> "Tree":
        """A tree named `name` for this process; `pids_max` bounds all leaves together.

        Controllers that cannot be written are left out: read `controllers`.

        Raises:
            OSError: There is one of that name, or no more can be made: left out for that, nothing would be limited.
        """
        unified = (ROOT / "cgroup.controllers").exists()
        tree = cls(2, _create_v2(name)) if unified else cls(1, _create_v1(name))
        if "pids" in tree._parents:
            # Below pid_max, so that sandboxes together can never stop the host from forking.
            _write(tree._parents["pids"] / "pids.max", str(pids_max))
        return tree

    def add(self, leaf: str, limits: GroupLimits) -> None:
        """Make a leaf with these limits; it must not exist yet."""
        for parent in self._directories():
            (parent / leaf).mkdir()
        self.limit(leaf, limits)

    def limit(self, leaf: str, limits: GroupLimits) -> None:
        """Set or change a leaf's limits."""
        for controller, parent in self._parents.items():
            for file, value in _settings(self.version, controller, limits):
                if file not in _OPTIONAL or (parent / leaf / file).exists():
                    _write(parent / leaf / file, value)

    def attach(self, leaf: str, pid: int) -> None:
        """Move one process (and what it forks from then on) into a leaf."""
        for parent in self._directories():
            _write(parent / leaf / "cgroup.procs", str(pid))

    def doors(self, leaf: str) -> list[int]:
        """Descriptors by which a process moves itself into a leaf, writing b"0" to each; the caller closes them.

        Moving another process stops every fork and exit of the host for a grace period of the kernel, some 12 ms; a
        single thread that moves itself does not (cgroup_procs_write_start() in kernel/cgroup/cgroup.c). Version 2 has
        no such way for a group with controllers: there are none, use `attach`.
        """
        if self.version == 2:
            return []
        found: list[int] = []
        try:
            for parent in self._directories():
                found.append(os.open(parent / leaf / "tasks", os.O_WRONLY | os.O_CLOEXEC))
        except OSError:
            for fd in found:
                os.close(fd)
            raise
        return found

    def enter(self, leaf: str) -> None:
        """Move this process, which must have one thread only, into a leaf."""
        doors = self.doors(leaf)
        if not doors:
            self.attach(leaf, os.getpid())
        for door in doors:
            os.write(door, b"0")
            os.close(door)

    def holds(self, leaf: str, pid: int) -> bool:
        """Whether a process is in a leaf, for every controller."""
        groups: dict[str, str] = {}
        for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
            _, names, path = line.split(":", 2)
            groups |= dict.fromkeys(names.split(","), path)
        ends = {name: f"/{parent.name}/{leaf}" for name, parent in self._parents.items()}
        return all(
            groups.get("" if self.version == 2 else name, "").endswith(end) for name, end in ends.items()
        )

    def oom_kills(self, leaf: str) -> int:
        """How many processes of this leaf the memory limit has killed; 0 where memory is not enforced."""
        parent = self._parents.get("memory")
        if parent is None:
            return 0
        file = "memory.events" if self.version == 2 else "memory.oom_control"
        counters = dict(line.split() for line in (parent / leaf / file).read_text().splitlines())
        return int(counters.get("oom_kill", "0"))

    def usage(self, leaf: str) -> dict[str, int]:
        """What a leaf uses: `memory_bytes` (with `cache_bytes` in it) and `cpu_ns` so far, where that is counted."""
        found: dict[str, int] = {}
        parents = self._parents
        accounting = parents.get(_ACCOUNTING) or parents.get(
            "cpu"
        )  # version 1 may have both in one directory
        for parent, read in ((parents.get("memory"), _memory_usage), (accounting, _cpu_usage)):
            if parent is not None:
                with contextlib.suppress(
                    FileNotFoundError
                ):  # the accounting is not compiled in or mounted elsewhere
                    found |= read(self.version, parent / leaf)
        return found

    def remove(self, leaf: str) -> bool:
        """Remove a leaf; False while the kernel still counts a dying process in it."""
        gone = True
        for parent in self._directories():
            try:
                (parent / leaf).rmdir()
            except FileNotFoundError:
                continue
            except OSError:
                gone = False
        return gone

    def leaves(self) -> list[str]:
        """Names of all leaves there are."""
        parents = self._directories()
        return sorted({entry.name for parent in parents for entry in parent.iterdir() if entry.is_dir()})

    def close(self) -> None:
        """Remove the parents; leaves must be gone."""
        for parent in self._directories():
            with contextlib.suppress(FileNotFoundError):
                parent.rmdir()

    def _directories(self) -> list[Path]:
        return sorted(set(self._parents.values()))


def _settings(version: int, controller: str, limits: GroupLimits) -> list[tuple[str, str]]:
    quota = max(1000, int(limits.cpu * _CPU_PERIOD_US))
    table = {
        (1, "memory"): [
            ("memory.limit_in_bytes", str(limits.memory_bytes)),
            (_SOCKETS, str(limits.memory_bytes // _SOCKETS_SHARE)),
        ],
        (1, "pids"): [("pids.max", str(limits.pids))],
        (1, "cpu"): [("cpu.cfs_period_us", str(_CPU_PERIOD_US)), ("cpu.cfs_quota_us", str(quota))],
        (2, "memory"): [("memory.max", str(limits.memory_bytes)), (_SWAP, "0")],
        (2, "pids"): [("pids.max", str(limits.pids))],
        (2, "cpu"): [("cpu.max", f"{quota} {_CPU_PERIOD_US}")],
    }
    return table.get((version, controller), [])


def _memory_usage(version: int, leaf: Path) -> dict[str, int]:
    total, cache = ("memory.current", "file") if version == 2 else ("memory.usage_in_bytes", "total_cache")
    counters = _counters(leaf / "memory.stat")
    return {"memory_bytes": int((leaf / total).read_text()), "cache_bytes": counters.get(cache, 0)}


def _cpu_usage(version: int, leaf: Path) -> dict[str, int]:
    if version == 2:
        return {"cpu_ns": _counters(leaf / "cpu.stat")["usage_usec"] * 1000}
    return {"cpu_ns": int((leaf / "cpuacct.usage").read_text())}


def _counters(path: Path) -> dict[str, int]:
    """A file of lines with a name and a number."""
    return {name: int(value) for name, value in (line.split() for line in path.read_text().splitlines())}


_V1_PROBES = {
    "memory": "memory.limit_in_bytes",
    "pids": "pids.max",
    "cpu": "cpu.cfs_quota_us",
    _ACCOUNTING: "cpuacct.usage",
}


def _create_v1(name: str) -> dict[str, Path]:
    parents: dict[str, Path] = {}
    for controller in (*_V1_CONTROLLERS, _ACCOUNTING):
        mount = ROOT / controller
        own = mount / own_group(controller).lstrip("/")
        parent = (own if own.is_dir() else mount) / name
        try:
            parent.mkdir()
            if not (parent / _V1_PROBES[controller]).exists():
                parent.rmdir()
                continue
        except OSError as error:
            if error.errno in _NOT_OURS:
                continue  # reported as not enforced
            Tree(1, parents).close()
            raise
        parents[controller] = parent
    return parents


def _create_v2(name: str) -> dict[str, Path]:
    parent = ROOT / name
    wanted = set(_V1_CONTROLLERS) & set((ROOT / "cgroup.controllers").read_text().split())
    usable: set[str] = set()
    try:
        parent.mkdir()
    except OSError as error:
        if error.errno in _NOT_OURS:
            return {}
        raise
    with contextlib.suppress(OSError):  # what could not be handed on is seen below
        _make_room(ROOT)
    for controller in sorted(wanted):
        with contextlib.suppress(OSError):
            _write(ROOT / "cgroup.subtree_control", f"+{controller}")
            _write(parent / "cgroup.subtree_control", f"+{controller}")
            usable.add(controller)
    if not usable:
        parent.rmdir()
    return dict.fromkeys(sorted(usable), parent)


def _make_room(top: Path) -> None:
    """Move a container's processes into a group of their own, as its top group can hand nothing on while it has any.

    The machine's own top group is exempt (cgroups(7), "no internal processes"): only it has no `cgroup.type`.
    """
    if not (top / "cgroup.type").exists():
        return
    (top / _MOVED).mkdir(exist_ok=True)
    for pid in (top / "cgroup.procs").read_text().split():
        with contextlib.suppress(ProcessLookupError):  # it has ended
            _write(top / _MOVED / "cgroup.procs", pid)


def own_group(controller: str) -> str:
    """This process's group in a version 1 hierarchy, as /proc/self/cgroup names it; "/" when it is not listed."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        if controller in names.split(","):
            return path
    return "/"


def _write(path: Path, value: str) -> None:
    # A plain open and write: cgroup files want the whole value in one write(2).
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode())
    except FileNotFoundError:
        raise
    except OSError as error:
        raise OSError(error.errno, f"{path.name}: {error.strerror}") from None
    finally:
        os.close(fd)
