"""What a sandbox is shown of the machine's sizes: its own limits, in the files of /proc that programs ask.

Memory is shown as all free: how much of the machine others use is nobody's business here. System calls that tell the
same (sysinfo(2), sched_getaffinity(2)) answer for the machine. The limits themselves are kept elsewhere.
"""

import functools
import math
import os

from tidepool.engine.guest import syscalls

_NAMES = (
    "Buffers", "Cached", "SwapCached", "Active", "Inactive", "Active(anon)", "Inactive(anon)", "Active(file)",
    "Inactive(file)", "Unevictable", "Mlocked", "SwapTotal", "SwapFree", "Dirty", "Writeback", "AnonPages", "Mapped",
    "Shmem", "KReclaimable", "Slab", "SReclaimable", "SUnreclaim", "KernelStack", "PageTables", "Committed_AS",
)  # fmt: skip
"""Of /proc/meminfo (proc_meminfo(5)), besides the three that are the limit."""
_PLACE = "/dev/shm"
"""A file system of the sandbox's own; the files have no name there once they are mounted."""
_QUIET = syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC


def texts(memory_bytes: int, cpu: float, cpuinfo: str, stat: str) -> dict[str, str]:
    """The files by their names in /proc.

    Args:
        memory_bytes: The limit.
        cpu: The limit, as a share of processors; shown as so many whole ones, as far as the machine has them.
        cpuinfo: The machine's own file.
        stat: The machine's own file, of which only the boot time is kept: ages of processes are counted from it.
    """
    blocks = [block for block in cpuinfo.strip().split("\n\n") if block]
    count = min(max(1, math.ceil(cpu)), max(1, len(blocks)))
    limit, idle = memory_bytes // 1024, " 0" * 10
    sizes = [
        ("MemTotal", limit),
        ("MemFree", limit),
        ("MemAvailable", limit),
        *((name, 0) for name in _NAMES),
    ]
    booted = [line for line in stat.splitlines() if line.startswith("btime ")]
    processors = [f"cpu {idle}", *(f"cpu{number}{idle}" for number in range(count))]
    rest = [
        "intr 0",
        "ctxt 0",
        *booted,
        "processes 1",
        "procs_running 1",
        "procs_blocked 0",
    ]
    return {
        "meminfo": "".join(f"{name + ':':<16}{size:>8} kB\n" for name, size in sizes),
        "cpuinfo": "".join(f"{block}\n\n" for block in blocks[:count]),
        "stat": "".join(f"{line}\n" for line in (*processors, *rest)),
        "loadavg": "0.00 0.00 0.00 1/1 1\n",
    }


class Sizes:
    """The files of one sandbox, kept open by its init alone."""

    def __init__(self, memory_bytes: int, cpu: float) -> None:
        """Put them over /proc's, for nobody inside to write."""
        self._files: dict[str, int] = {}
        for name, text in texts(memory_bytes, cpu, *machine()).items():
            path = f"{_PLACE}/{name}"
            fd = self._files[name] = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444)
            os.write(fd, text.encode())
            syscalls.mount(path, f"/proc/{name}", "", syscalls.MS_BIND)
            again = syscalls.MS_BIND | syscalls.MS_REMOUNT | syscalls.MS_RDONLY
            syscalls.mount("", f"/proc/{name}", "", again | _QUIET)
            os.unlink(path)

    def change(self, memory_bytes: int, cpu: float) -> None:
        """Show other limits."""
        for name, text in texts(memory_bytes, cpu, *machine()).items():
            os.ftruncate(self._files[name], os.pwrite(self._files[name], text.encode(), 0))


@functools.cache
def machine() -> tuple[str, str]:
    """The machine's own cpuinfo and stat: read by the zygote, for it takes long where there are many processors."""
    found = []
    for name in ("cpuinfo", "stat"):
        with open(f"/proc/{name}") as file:
            found.append(file.read())
    return found[0], found[1]
