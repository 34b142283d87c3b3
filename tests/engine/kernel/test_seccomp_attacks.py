"""The filter installed for real: attackers' calls are refused, and answered otherwise where it is missing."""

import os
import platform
import sys
from typing import Any

import pytest

from tests.engine.kernel import confined
from tidepool.engine.kernel import seccomp

pytestmark = [
    pytest.mark.needs("seccomp"),
    pytest.mark.skipif(platform.machine() not in ("x86_64", "aarch64"), reason="no system call table"),
]
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root is allowed these calls without the filter")

NUMBERS = seccomp.numbers(platform.machine()) if platform.machine() in ("x86_64", "aarch64") else {}
BAD = 1
"""An address that is never mapped: calls that get so far say EFAULT, and change nothing."""

DENIED: dict[str, tuple[int, ...]] = {
    "mount": (BAD, BAD, BAD),
    "umount2": (BAD,),
    "pivot_root": (BAD, BAD),
    "chroot": (BAD,),
    "open_tree": (-1, BAD),
    "move_mount": (-1, BAD, -1, BAD),
    "fsopen": (BAD,),
    "fsconfig": (-1, 0, BAD),
    "fsmount": (-1,),
    "fspick": (-1, BAD),
    "mount_setattr": (-1, BAD, 0, BAD, 32),
    "open_tree_attr": (-1, BAD, 0, BAD, 32),
    "setns": (-1, 0),
    "ptrace": (0,),
    "process_vm_readv": (1, 0, 0, 0, 0),
    "process_vm_writev": (1, 0, 0, 0, 0),
    "pidfd_getfd": (-1, 0, 0),
    "kcmp": (0, 0, 0, 0, 0),
    "bpf": (0, BAD, 48),
    "perf_event_open": (BAD, 0, -1, -1, 0),
    "userfaultfd": (0,),
    "io_uring_setup": (1, BAD),
    "io_uring_enter": (-1, 0, 0, 0, 0),
    "io_uring_register": (-1, 0, 0, 0),
    "fanotify_init": (0, 0),
    "fanotify_mark": (-1, 0, 0, -1, BAD),
    "vmsplice": (-1, BAD, 1, 0),
    "memfd_secret": (0,),
    "add_key": (BAD, BAD, BAD, 1, 0),
    "request_key": (BAD, BAD, 0, 0),
    "keyctl": (0, -3, 0),
    "name_to_handle_at": (-1, BAD, BAD, BAD, 0),
    "open_by_handle_at": (-1, BAD, 0),
    "mincore": (1, 1, BAD),
    "settimeofday": (BAD, 0),
    "clock_settime": (0, BAD),
    "adjtimex": (BAD,),
    "clock_adjtime": (0, BAD),
    "init_module": (BAD, 1, BAD),
    "finit_module": (-1, BAD, 0),
    "delete_module": (BAD, 0),
    "kexec_load": (0, 1000, BAD, 0),
    "kexec_file_load": (-1, -1, 0, BAD, 0),
    "reboot": (0, 0, 0, 0),
    "swapon": (BAD, 0),
    "swapoff": (BAD,),
    "acct": (BAD,),
    "quotactl": (0x80000000, BAD, 0, 0),
    "quotactl_fd": (-1, 0, 0, 0),
    "syslog": (10, 0, 0),
    "sethostname": (BAD, 4),
    "setdomainname": (BAD, 4),
    "vhangup": (),
    "iopl": (0,),
    "ioperm": (0, 1, 0),
    "modify_ldt": (0, 0, 0),
    "migrate_pages": (0, 0, 0, 0),
    "move_pages": (0, 0, 0, 0, 0, 0),
    "lookup_dcookie": (0, BAD, 1),
    "nfsservctl": (0, 0, 0),
}
NEW = {
    "mount": 0x20000,
    "cgroup": 0x2000000,
    "uts": 0x4000000,
    "ipc": 0x8000000,
    "user": 0x10000000,
    "pid": 0x20000000,
    "net": 0x40000000,
}
SIGCHLD = 17
FORBIDDEN_FAMILIES = [number for number in range(64) if number not in (1, 2, 10, 16)]
NETLINK_PROTOCOLS = [number for number in range(1, 32)]
CHARACTER, BLOCK, FIFO, REGULAR, SOCKET = 0o020600, 0o060600, 0o010600, 0o100600, 0o140600


def results(walls: str, table: dict[str, tuple[str, tuple[Any, ...]]]) -> dict[str, str]:
    """Each call in a child of its own: an errno's name, `ok`, or how the child died."""
    code = f"""
{walls}
def clone(flags):
    number = libc.syscall(ctypes.c_long(NUMBERS["clone"]), *map(ctypes.c_long, (flags, 0, 0, 0, 0)))
    if number == 0:
        os._exit(0)
    return errno.errorcode[ctypes.get_errno()] if number < 0 else "ok"
def run(name, arguments):
    return in_child(lambda: clone(*arguments) if name == "clone" else call(name, *arguments))
print(json.dumps({{label: run(name, arguments) for label, (name, arguments) in {table!r}.items()}}))
"""
    answered = confined.python(code)
    assert isinstance(answered, dict)
    return answered


CALLS: dict[str, tuple[str, tuple[Any, ...]]] = {
    **{name: (name, arguments) for name, arguments in DENIED.items() if name in NUMBERS},
    **{f"unshare {kind}": ("unshare", (flag,)) for kind, flag in NEW.items()},
    **{f"clone {kind}": ("clone", (flag | SIGCHLD,)) for kind, flag in NEW.items()},
    "unshare time": ("unshare", (0x80,)),
    "personality": ("personality", (0x40000,)),
    "TIOCSTI": ("ioctl", (-1, 0x5412, BAD)),
    "TIOCSTI in disguise": ("ioctl", (-1, 0x5412 | 1 << 32, BAD)),
    "TIOCLINUX": ("ioctl", (-1, 0x541C, BAD)),
    "PR_SET_MM": ("prctl", (35, 99, 0, 0, 1)),
    "device": ("mknodat", (-1, b"", CHARACTER, 0)),
    "disk": ("mknodat", (-1, b"", BLOCK, 0)),
    "whiteout": ("renameat2", (-1, b"", -1, b"", 4)),
    "lease": ("fcntl", (-1, 1024, 0)),
    "notice": ("fcntl", (-1, 1026, 0)),
    "socket filter": ("setsockopt", (-1, 1, 26, BAD, 16)),
    "raw socket": ("socket", (2, 3, 1)),
    "packet socket, the old way": ("socket", (2, 10, 0x300)),
}
EXACT = {
    **{f"family {number}": ("socket", (number, 2, 0), "EAFNOSUPPORT") for number in FORBIDDEN_FAMILIES},
    **{f"netlink {number}": ("socket", (16, 3, number), "EAFNOSUPPORT") for number in NETLINK_PROTOCOLS},
    "pair": ("socketpair", (2, 1, 0, BAD), "EAFNOSUPPORT"),
    "SCTP": ("socket", (2, 1, 132), "EPROTONOSUPPORT"),
    "MPTCP": ("socket", (10, 1, 262), "EPROTONOSUPPORT"),
    "TCP_ULP": ("setsockopt", (-1, 6, 31, BAD, 4), "ENOPROTOOPT"),
    "KSM": ("madvise", (0, 0, 12), "EINVAL"),
    "clone3": ("clone3", (BAD, 64), "ENOSYS"),
    "io_setup": ("io_setup", (1, BAD), "ENOSYS"),
    "cachestat": ("cachestat", (-1, BAD, BAD, 0), "ENOSYS"),
}
ALLOWED = {
    "Unix": ("socket", (1, 1, 0)),
    "TCP": ("socket", (2, 1 | 0o2000000, 6)),
    "UDP": ("socket", (10, 2, 0)),
    "route": ("socket", (16, 3, 0)),
    "family in disguise": ("socket", (1 | 1 << 32, 1, 0)),
    "asking personality": ("personality", (0xFFFFFFFF,)),
    "thread": ("unshare", (0x200,)),
    "fork": ("clone", (SIGCHLD,)),
    "sync": ("sync", ()),
    "advice": ("fadvise64", (0, 0, 0, 4)),
}


@pytest.fixture(scope="module")
def filtered() -> dict[str, str]:
    """Every call, under the filter."""
    plain = {label: (name, arguments) for label, (name, arguments, _) in EXACT.items()}
    return results("filter_calls()", {**CALLS, **plain, **ALLOWED})


@pytest.fixture(scope="module")
def unfiltered() -> dict[str, str]:
    """The same without it."""
    plain = {label: (name, arguments) for label, (name, arguments, _) in EXACT.items()}
    return results("", {**CALLS, **plain, **ALLOWED})


def test_the_attacks_name_every_denied_call() -> None:
    denied = {row.name for row in seccomp.explain() if row.decision == "EPERM"}
    assert denied == set(DENIED)


@pytest.mark.parametrize("label", CALLS)
def test_refused(filtered: dict[str, str], label: str) -> None:
    assert filtered[label] == "EPERM"


@AS_ROOT
@pytest.mark.parametrize("label", CALLS)
def test_control_without_the_filter_the_kernel_answers(unfiltered: dict[str, str], label: str) -> None:
    assert unfiltered[label] != "EPERM"


@pytest.mark.parametrize("label", EXACT)
def test_refused_with_the_errno_that_programs_understand(filtered: dict[str, str], label: str) -> None:
    assert filtered[label] == EXACT[label][2]


@AS_ROOT
@pytest.mark.parametrize("label", ["family 17", "netlink 12", "clone3", "io_setup"])
def test_control_without_the_filter_it_is_there(unfiltered: dict[str, str], label: str) -> None:
    assert unfiltered[label] != EXACT[label][2]


@pytest.mark.parametrize("label", ALLOWED)
def test_allowed(filtered: dict[str, str], label: str) -> None:
    assert filtered[label] == "ok"


FOREIGN = """
import mmap
page = mmap.mmap(-1, 4096, prot=7)
page.write(b"\\xb8\\x14\\x00\\x00\\x00\\xcd\\x80\\xc3")  # getpid as a 32-bit call: mov eax, 20; int 0x80; ret
run = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
print(json.dumps(in_child(run)))
"""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the machine code is for x86_64")
def test_a_32_bit_call_kills() -> None:
    assert confined.python("filter_calls()" + FOREIGN) == "killed by SIGSYS"


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the machine code is for x86_64")
def test_control_without_the_filter_a_32_bit_call_goes_through() -> None:
    answer = confined.python(FOREIGN)
    if answer == "killed by SIGSEGV":
        pytest.skip("this kernel has no 32-bit calls")
    assert int(answer) > 0


def test_a_filter_of_the_guests_own_cannot_weaken_ours() -> None:
    allow_all = "import struct; confine.install_seccomp(struct.pack('=HBBI', 6, 0, 0, seccomp.ALLOW))"
    code = f"filter_calls(); {allow_all}; print(json.dumps(call('unshare', 0x10000000)))"
    assert confined.python(code) == "EPERM"


STATUS = """
lines = (line.split() for line in open("/proc/self/status"))
print(json.dumps({words[0]: words[1] for words in lines if words[0] in ("NoNewPrivs:", "Seccomp:")}))
"""


def test_no_new_privileges_and_the_filter_show_in_status() -> None:
    assert confined.python("filter_calls()" + STATUS) == {"NoNewPrivs:": "1", "Seccomp:": "2"}


def test_it_stays_over_fork_and_exec() -> None:
    again = "import json; from tidepool.engine.guest import syscalls\\ntry: syscalls.unshare(0x10000000)\\nexcept "
    again += "PermissionError: print(json.dumps('refused'))"
    code = f'import subprocess; filter_calls(); subprocess.run([{sys.executable!r}, "-c", "{again}"], check=True)'
    assert confined.python(code) == "refused"


@pytest.mark.parametrize("program", ["b''", "b'1234567'", "bytes(8 * 4097)", "bytes(8)"])
def test_what_is_not_a_filter_is_not_installed(program: str) -> None:
    code = f"""
try:
    confine.install_seccomp({program})
except OSError as error:
    print(json.dumps(error.errno == errno.EINVAL))
"""
    assert confined.python(code) is True
