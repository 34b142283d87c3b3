"""How much memory processes take: one, a tree of them, their control groups, and what the host has left.

Everything is read from /proc and /sys/fs/cgroup; what ends while it is read counts nothing.
"""

import os
from pathlib import Path

MIB = 1 << 20
_GROUPS = Path("/sys/fs/cgroup")


def available() -> int:
    """Bytes the kernel says can still be used."""
    return _field(Path("/proc/meminfo"), "MemAvailable:")


def rss(pid: int) -> int:
    """Resident bytes of one process; 0 when it is gone."""
    try:
        return _field(Path(f"/proc/{pid}/status"), "VmRSS:")
    except OSError:
        return 0


def tree(pid: int) -> list[int]:
    """A process and everything below it."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdecimal():
            try:
                stat = Path(f"/proc/{name}/stat").read_text()
            except OSError:
                continue
            children.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(name))
    found, waiting = [], [pid]
    while waiting:
        found.append(one := waiting.pop())
        waiting += children.get(one, ())
    return found


def tree_pss(pid: int) -> int:
    """Proportional set size of a process and everything below it, in bytes: shared pages count once in all."""
    total = 0
    for one in tree(pid):
        try:
            total += _field(Path(f"/proc/{one}/smaps_rollup"), "Pss:")
        except OSError:
            continue
    return total


def group_bytes(pid: int) -> float:
    """Bytes charged to the control groups of a server's sandboxes; not a number where there is no such group."""
    files = [
        file
        for name in ("memory.usage_in_bytes", "memory.current")
        for file in _GROUPS.rglob(f"tidepool-{pid}/**/{name}")
    ]
    leaves = [file for file in files if not any(other.parent.parent == file.parent for other in files)]
    return sum(int(file.read_text()) for file in leaves) if leaves else float("nan")


def _field(path: Path, name: str) -> int:
    for line in path.read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    return 0
