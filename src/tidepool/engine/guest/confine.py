"""Giving up what a sandbox must not have: capabilities, file rights (Landlock), system calls (seccomp).

Called once by init, in this order, before anything untrusted runs; all it starts inherits it and nothing can undo it.
Each function raises OSError when its wall cannot be put up: a caller that goes on after that runs unconfined. What the
seccomp program says is decided outside (`kernel.seccomp`).
"""

import ctypes
import errno
import os
from collections.abc import Collection

from tidepool.engine.guest import syscalls

_PR_CAPBSET_DROP = 24
_CAPABILITY_VERSION_3 = 0x20080522
_CAPABILITIES = 64
"""Bits of a capability set; kernels know fewer and say where they end."""

_SECCOMP_SET_MODE_FILTER = 1
_INSTRUCTION_BYTES = 8
_MAX_INSTRUCTIONS = 4096

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REMOVE, _MAKE_CHAR, _MAKE_DIR, _MAKE_REG = 1 << 4 | 1 << 5, 1 << 6, 1 << 7, 1 << 8
_MAKE_SOCK, _MAKE_FIFO, _MAKE_BLOCK, _MAKE_SYM = 1 << 9, 1 << 10, 1 << 11, 1 << 12
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_LOOK = _EXECUTE | _READ_FILE | _READ_DIR
_CHANGE = (
    (_WRITE_FILE | _REMOVE | _MAKE_DIR | _MAKE_REG | _MAKE_SOCK | _MAKE_FIFO | _MAKE_SYM)
    | (_REFER | _TRUNCATE)
)  # fmt: skip
_USE_DEVICE = _WRITE_FILE | _TRUNCATE | _IOCTL_DEV
_HANDLED_BY_ABI = {1: (1 << 13) - 1, 2: _REFER, 3: _TRUNCATE, 5: _IOCTL_DEV}
"""File rights that each ABI added; rights that are not handled are not restricted."""
_SCOPES_ABI, _QUIET_ABI = 6, 7
_SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS = 3
_LOG_NOTHING = 1 | 4
"""LOG_SAME_EXEC_OFF and LOG_SUBDOMAINS_OFF: denials inside must not fill the host's audit log."""
_RULE_PATH_BENEATH = 1
_CREATE_RULESET_VERSION = 1

_NOT_WRITABLE = ("proc", "sys", "dev")
DEVICES = ("null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts")
"""What below /dev may be written and controlled, where it exists; pts is a directory."""


class _Data(ctypes.Structure):
    """Two halves of struct __user_cap_data_struct, as capset(2) version 3 takes them."""

    _fields_ = [("half", ctypes.c_uint32 * 6)]


class _Header(ctypes.Structure):
    """struct __user_cap_header_struct."""

    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p)]


class _Ruleset(ctypes.Structure):
    """struct landlock_ruleset_attr."""

    _fields_ = [("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64)]


class _Beneath(ctypes.Structure):
    """struct landlock_path_beneath_attr."""

    _pack_ = 1
    _fields_ = [("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32)]


def drop_capabilities(keep: Collection[int]) -> None:
    """Keep only these: in the bounding, permitted and effective sets; inheritable and ambient become empty.

    Raises:
        OSError: Without CAP_SETPCAP, or when one to be kept is not held.
    """
    for capability in range(_CAPABILITIES):
        if capability not in keep and not _drop_bound(capability):
            break
    mask = sum(1 << capability for capability in keep)
    low, high = mask & 0xFFFFFFFF, mask >> 32
    header, data = _Header(_CAPABILITY_VERSION_3, 0), _Data()
    # Effective, permitted, inheritable. What is not inheritable cannot be ambient either.
    data.half[:] = [low, low, 0, high, high, 0]
    syscalls.syscall("capset", ctypes.byref(header), ctypes.byref(data))


def _drop_bound(capability: int) -> bool:
    """False when the kernel has no capability of this number, hence none above it."""
    try:
        syscalls.syscall("prctl", _PR_CAPBSET_DROP, capability, 0, 0, 0)
    except OSError as error:
        if error.errno == errno.EINVAL:
            return False
        raise
    return True


def landlock_abi() -> int:
    """The version of Landlock that this kernel has.

    Raises:
        OSError: ENOSYS when it is not built in, EOPNOTSUPP when it was not switched on at boot.
    """
    return syscalls.syscall("landlock_create_ruleset", None, 0, _CREATE_RULESET_VERSION)


def restrict_landlock(root: str = "/", open_root: bool = False) -> dict[str, int]:
    """Files: read and execute everywhere, change only what `rights` says; signals and abstract sockets stay inside.

    Returns the ABI that is enforced, as `{"landlock": 7}`. The caller and all it starts share one domain: they may
    signal each other.

    Raises:
        OSError: This kernel has no Landlock, or it refused.
    """
    abi = landlock_abi()
    handled = sum(bits for since, bits in _HANDLED_BY_ABI.items() if since <= abi)
    scoped = _SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS if abi >= _SCOPES_ABI else 0
    attributes = _Ruleset(handled, 0, scoped)
    size = ctypes.sizeof(_Ruleset) if scoped else 8  # older kernels refuse to read further
    ruleset = syscalls.syscall("landlock_create_ruleset", ctypes.byref(attributes), size, 0)
    try:
        for path, allowed in rights(root, open_root):
            _allow(ruleset, path, allowed & handled)
        syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
        quiet = _LOG_NOTHING if abi >= _QUIET_ABI else 0
        syscalls.syscall("landlock_restrict_self", ruleset, quiet)
    finally:
        os.close(ruleset)
    return {"landlock": abi}


def rights(root: str, open_root: bool = False) -> list[tuple[str, int]]:
    """Paths and the rights granted beneath them; not every one of the devices need exist.

    Landlock only grants, so what may not be changed (/sys, /dev) is left out, and with it `/` itself: nothing can be
    made there. Every directory that stands in `/` now is writable as far as its permissions go.

    With `open_root` things can be made in `/` too, as whoever builds a system as root inside must. What is granted
    there holds everywhere below: /sys and /dev are then only as closed as their mounts are (absent, and read-only).
    """
    if open_root:
        return [(root, _LOOK | _CHANGE | _IOCTL_DEV)]
    with os.scandir(root) as entries:
        tops = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    prefix = root.rstrip("/")
    granted = [(f"{prefix}/{name}", _CHANGE) for name in tops if name not in _NOT_WRITABLE]
    # mqueue: mq_open(3) goes by the filesystem of the ipc namespace, which only a rule on its own root reaches.
    granted += [(root, _LOOK), (f"{prefix}/dev/shm", _CHANGE), (f"{prefix}/dev/mqueue", _LOOK | _CHANGE)]
    granted += [(f"{prefix}/dev/{name}", _USE_DEVICE) for name in DEVICES]
    # Its own entries only, as their owners and modes say: a run raises its oom_score_adj, a thread sets its name.
    granted.append((f"{prefix}/proc", _WRITE_FILE | _TRUNCATE))
    return granted


def _allow(ruleset: int, path: str, allowed: int) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return  # what is not there needs no right, and the walk to it grants none
    try:
        rule = _Beneath(allowed, fd)
        syscalls.syscall("landlock_add_rule", ruleset, _RULE_PATH_BENEATH, ctypes.byref(rule), 0)
    finally:
        os.close(fd)


def install_seccomp(program: bytes) -> None:
    """Filter this process's system calls, and its children's, with an array of struct sock_filter.

    Raises:
        OSError: EINVAL when the program is empty, cut off or not a valid filter; else as seccomp(2) says.
    """
    count, rest = divmod(len(program), _INSTRUCTION_BYTES)
    if rest or not 0 < count <= _MAX_INSTRUCTIONS:
        raise OSError(errno.EINVAL, f"seccomp: {len(program)} bytes are not a filter program")
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    described = _Program(count, program)
    syscalls.syscall("seccomp", _SECCOMP_SET_MODE_FILTER, 0, ctypes.byref(described))
