"""What the engine asks of, and gives up to, the host process it lives in: directories, memory, root.

Nothing here knows of sandboxes.
"""

import os
import time
from pathlib import Path

from tidepool.engine.errors import SetupFailed
from tidepool.engine.guest import syscalls
from tidepool.engine.spawner import protocol

MIN_FREE_MEMORY = 256 << 20
"""Below it no sandbox is admitted."""
_FRESH_S = 0.1
"""Reading it costs more than all else that is looked at before a sandbox is made."""
_seen = (float("-inf"), 0)


def filesystem_of(place: Path) -> int:
    """Type of the filesystem (statfs(2)) a directory is on."""
    fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return syscalls.filesystem_type(fd)
    finally:
        os.close(fd)


def drop_privileges(uid: int) -> None:
    """Become `uid` for good: no groups, no way back, no core dumps with secrets in them.

    Who is not root stays who he is, and gets no new privileges either.

    Raises:
        SetupFailed: It could not be done; the process must not go on.
    """
    if os.geteuid() != 0:
        syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
        return
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    if os.getresuid() != (uid, uid, uid) or os.geteuid() == 0:
        raise SetupFailed("root could not be given up")


def make_directories(state_dir: Path, drop_root: bool) -> None:
    """The state directory with its place for layers, which the unprivileged process writes.

    From here on what this process makes can be read by others, as sandboxes must; what is secret says so itself.
    """
    os.umask(0o022)
    state_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
    layers = state_dir / "layers"
    layers.mkdir(mode=0o755, exist_ok=True)
    if os.geteuid() == 0 and drop_root:
        os.chown(layers, protocol.SERVER_UID, protocol.SERVER_UID)


def free_memory() -> int:
    """Bytes the kernel says can still be used, as they were at most `_FRESH_S` seconds ago."""
    global _seen
    at, free = _seen
    if time.monotonic() - at > _FRESH_S:
        free = _read_free_memory()
        _seen = time.monotonic(), free
    return free


def _read_free_memory() -> int:
    with open("/proc/meminfo") as file:
        for line in file:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return MIN_FREE_MEMORY
