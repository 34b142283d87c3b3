"""What attacks that run inside a sandbox have in common: calls with their errno, children, a table of all of them.

The texts of this module and of the attacks are joined, sent into a sandbox and run there, so they import the standard
library only. An outcome is a word: an errno's name where the kernel refused, else what was found.
"""

import ctypes
import errno
import json
import os
import platform
import sys
from collections.abc import Callable

LIBC = ctypes.CDLL(None, use_errno=True)
X86 = platform.machine() == "x86_64"
ATTACKS: dict[str, Callable[[], object]] = {}
CLONE = {
    "newtime": 0x80, "newns": 0x20000, "newcgroup": 0x2000000, "newuts": 0x4000000, "newipc": 0x8000000,
    "newuser": 0x10000000, "newpid": 0x20000000, "newnet": 0x40000000,
}  # fmt: skip
# x86-64 and arm64 numbers of calls that libc has no function for; from 424 on they are the same.
NUMBERS = {
    "clone": (56, 220), "pivot_root": (155, 41), "bpf": (321, 280), "perf_event_open": (298, 241),
    "userfaultfd": (323, 282), "kcmp": (312, 272), "lookup_dcookie": (212, 18), "add_key": (248, 217),
    "request_key": (249, 218), "keyctl": (250, 219), "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265),
    "init_module": (175, 105), "finit_module": (313, 273), "kexec_load": (246, 104), "swapon": (167, 224),
    "acct": (163, 89), "reboot": (169, 142), "settimeofday": (170, 170), "clock_settime": (227, 112),
    "adjtimex": (159, 171), "syslog": (103, 116), "io_uring_setup": (425, 425), "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427), "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430),
    "mount_setattr": (442, 442), "clone3": (435, 435), "pidfd_open": (434, 434), "pidfd_getfd": (438, 438),
    "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "memfd_secret": (447, 447), "ptrace": (101, 117),
    "modify_ldt": (154, None), "iopl": (172, None), "ioperm": (173, None), "ioprio_set": (251, 30),
    "personality": (135, 92), "mincore": (27, 232), "move_pages": (279, 239), "quotactl": (179, 60),
}  # fmt: skip


def attack(name: str) -> Callable[[Callable[[], object]], Callable[[], object]]:
    """Enter an attack under its number and name."""

    def enter(run: Callable[[], object]) -> Callable[[], object]:
        ATTACKS[name] = run
        return run

    return enter


def call(name: str, *arguments: object) -> str:
    """A raw system call: `done`, or the name of its errno."""
    number = NUMBERS[name][0 if X86 else 1]
    if number is None:
        return "EPERM"  # this architecture has no such call
    ctypes.set_errno(0)
    result = LIBC.syscall(number, *arguments)
    return "done" if result != -1 else errno.errorcode.get(ctypes.get_errno(), "none")


def refusal(act: Callable[[], object]) -> str:
    """`done`, or the name of the errno it was refused with."""
    try:
        act()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error))
    return "done"


def in_child(act: Callable[[], object]) -> int:
    """The wait status of a child that does something and exits with 0."""
    pid = os.fork()
    if pid == 0:
        try:
            act()
        finally:
            os._exit(0)
    return os.waitpid(pid, 0)[1]


def all_of(outcomes: dict[str, str], expected: str) -> str:
    """The expected word when each is that, else those that are not."""
    wrong = {name: outcome for name, outcome in outcomes.items() if outcome != expected}
    return expected if not wrong else json.dumps(wrong, sort_keys=True)


def status() -> dict[str, str]:
    """This process's /proc/self/status."""
    with open("/proc/self/status") as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)


def read(path: str) -> str:
    """What a file says, stripped; the errno's name when it cannot be read."""
    try:
        with open(path, errors="replace") as file:
            return file.read(65536).strip("\0\n ")
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error))


def writable(path: str) -> str:
    """`done` when a file can be opened for writing; nothing is written."""
    return refusal(lambda: os.close(os.open(path, os.O_WRONLY)))


def checked(result: int) -> None:
    """Raise where a call of libc has failed."""
    if result == -1:
        raise OSError(ctypes.get_errno(), "")


def main() -> None:
    """Run those that are named, or all, and print their outcomes; first in a session of its own when asked to."""
    names = sys.argv[1:] or ["all"]
    if names[0] == "setsid":
        read_end, write_end = os.pipe()
        pid = os.fork()
        if pid:
            os.close(write_end)
            with os.fdopen(read_end) as file:
                sys.stdout.write(file.read())
            os.waitpid(pid, 0)
            return
        os.close(read_end)
        os.setsid()
        os.dup2(write_end, 1)
        names = names[1:] or ["all"]
    outcomes: dict[str, object] = {}
    for name, run in ATTACKS.items():
        if names == ["all"] or name in names:
            try:
                outcomes[name] = run()
            except Exception as error:  # an attack that fails in a way of its own is an outcome too
                outcomes[name] = f"{type(error).__name__}: {error}"
    print(json.dumps(outcomes))
