"""The ctypes door to the kernel: nobody else in the project calls libc.

No policy here: each function is one system call, named as in section 2 of the manual, and raises OSError on failure.
Constants that the standard library lacks stand beside the call that uses them.
"""

import ctypes
import ctypes.util
import errno
import os
import platform

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long

# asm/unistd_64.h and asm-generic/unistd.h; from open_tree (428) on, the numbers are the same everywhere.
_NUMBERS = {
    "x86_64": {
        "fstatfs": 138,
        "pivot_root": 155,
        "setfsuid": 122,
        "setfsgid": 123,
        "capset": 126,
        "capget": 125,
        "seccomp": 317,
        "mount": 165,
        "umount2": 166,
        "setns": 308,
        "unshare": 272,
        "prctl": 157,
        "sethostname": 170,
    },
    "aarch64": {
        "fstatfs": 44,
        "pivot_root": 41,
        "setfsuid": 151,
        "setfsgid": 152,
        "capset": 91,
        "capget": 90,
        "seccomp": 277,
        "mount": 40,
        "umount2": 39,
        "setns": 268,
        "unshare": 97,
        "prctl": 167,
        "sethostname": 161,
    },
}
_COMMON = {
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "close_range": 436,
    "pidfd_getfd": 438,
    "mount_setattr": 442,
    "landlock_create_ruleset": 444,
    "landlock_add_rule": 445,
    "landlock_restrict_self": 446,
}

MACHINE = platform.machine()
NUMBERS: dict[str, int] = {**_NUMBERS.get(MACHINE, {}), **_COMMON}

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REMOUNT = 0x20
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MNT_DETACH = 2

AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000
OPEN_TREE_CLONE = 1
OPEN_TREE_CLOEXEC = os.O_CLOEXEC
MOVE_MOUNT_F_EMPTY_PATH = 0x4
MOVE_MOUNT_T_EMPTY_PATH = 0x40
FSCONFIG_SET_FLAG = 0
FSCONFIG_SET_STRING = 1
FSCONFIG_CMD_CREATE = 6
MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR_NOSUID = 0x2
MOUNT_ATTR_NODEV = 0x4
MOUNT_ATTR_NOEXEC = 0x8
MOUNT_ATTR_IDMAP = 0x00100000

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_SECUREBITS = 28
SECBIT_NO_SETUID_FIXUP = 4
PR_SET_NO_NEW_PRIVS = 38
PR_SET_CHILD_SUBREAPER = 36


class _MountAttr(ctypes.Structure):
    """struct mount_attr of mount_setattr(2), 32 bytes."""

    _fields_ = [
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    ]


def syscall(name: str, *args: object) -> int:
    """One system call by name; ints, bytes, None and ctypes objects as arguments.

    Raises:
        OSError: With the call's errno; ENOSYS when this architecture is not in the table.
    """
    number = NUMBERS.get(name)
    if number is None:
        raise OSError(errno.ENOSYS, f"{name}: not known on {MACHINE}")
    # A plain int would go through as a C int; the kernel reads whole registers.
    raw = [ctypes.c_long(arg) if isinstance(arg, int) else arg for arg in args]
    result = int(_libc.syscall(ctypes.c_long(number), *raw))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")
    return result


def unshare(flags: int) -> None:
    """unshare(2)."""
    syscall("unshare", flags)


def setns(fd: int, kinds: int) -> None:
    """setns(2): a namespace fd or a pidfd."""
    syscall("setns", fd, kinds)


def prctl(option: int, value: int = 0) -> None:
    """prctl(2) with one argument."""
    syscall("prctl", option, value, 0, 0, 0)


def mount(source: str, target: str, fstype: str, flags: int = 0, data: str = "") -> None:
    """mount(2)."""
    syscall(
        "mount",
        source.encode(),
        os.fsencode(target),
        fstype.encode(),
        flags,
        data.encode() if data else None,
    )


def umount2(target: str, flags: int = MNT_DETACH) -> None:
    """umount2(2); lazily by default."""
    syscall("umount2", os.fsencode(target), flags)


def pivot_root(new_root: str, put_old: str) -> None:
    """pivot_root(2)."""
    syscall("pivot_root", os.fsencode(new_root), os.fsencode(put_old))


def open_tree(path: str, flags: int = OPEN_TREE_CLONE, dir_fd: int = AT_FDCWD) -> int:
    """open_tree(2): by default a detached clone of the mount at `path`; the fd closes on exec."""
    return syscall("open_tree", dir_fd, os.fsencode(path), flags | OPEN_TREE_CLOEXEC)


def move_mount(mount_fd: int, target: str, dir_fd: int = AT_FDCWD) -> None:
    """move_mount(2): attaches a detached mount at `target`."""
    syscall("move_mount", mount_fd, b"", dir_fd, os.fsencode(target), MOVE_MOUNT_F_EMPTY_PATH)


def mount_setattr(mount_fd: int, set_bits: int = 0, clear_bits: int = 0, userns_fd: int = 0) -> None:
    """mount_setattr(2) on the mount an fd refers to."""
    attr = _MountAttr(set_bits, clear_bits, 0, userns_fd)
    syscall("mount_setattr", mount_fd, b"", AT_EMPTY_PATH, ctypes.byref(attr), ctypes.sizeof(attr))


def new_mount(fstype: str, options: dict[str, str | None], attributes: int = 0) -> int:
    """A detached mount of a new filesystem: fsopen, fsconfig, fsmount. Returns its fd.

    A None option is a flag. Raises OSError with the kernel's own words from the context's log where it gives any.
    """
    context = syscall("fsopen", fstype.encode(), 1)
    try:
        for key, value in options.items():
            if value is None:
                syscall("fsconfig", context, FSCONFIG_SET_FLAG, key.encode(), None, 0)
            else:
                syscall("fsconfig", context, FSCONFIG_SET_STRING, key.encode(), value.encode(), 0)
        syscall("fsconfig", context, FSCONFIG_CMD_CREATE, None, None, 0)
        return syscall("fsmount", context, 1, attributes)
    except OSError as error:
        raise OSError(error.errno, f"{fstype} {_context_log(context) or error.strerror}") from None
    finally:
        os.close(context)


def _context_log(context: int) -> str:
    try:
        return os.read(context, 4096).decode("utf-8", "replace").strip()
    except OSError:
        return ""  # ENODATA: the kernel had nothing to add to its errno


def setfsids(uid: int, gid: int) -> None:
    """setfsgid(2) and setfsuid(2), verified: the calls themselves never fail, they just do nothing."""
    syscall("setfsgid", gid)
    syscall("setfsuid", uid)
    if syscall("setfsuid", -1) != uid or syscall("setfsgid", -1) != gid:
        raise OSError(errno.EPERM, f"setfsuid({uid}): not allowed")


def close_range(first: int, last: int = 0x7FFFFFFF) -> None:
    """close_range(2)."""
    syscall("close_range", first, last, 0)


def filesystem_type(fd: int) -> int:
    """fstatfs(2): the magic number of the filesystem an open file is on."""
    buffer = (ctypes.c_long * 32)()  # struct statfs is 120 bytes; f_type comes first
    syscall("fstatfs", fd, ctypes.byref(buffer))
    return int(buffer[0])


def sethostname(name: str) -> None:
    """sethostname(2)."""
    raw = name.encode()
    syscall("sethostname", raw, len(raw))
