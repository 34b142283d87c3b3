"""Attacks by system calls (probes 28 to 42), run inside a sandbox; see `probing`."""

import contextlib
import ctypes
import mmap
import os
import signal
import socket
import struct

from tests.security.probing import LIBC, X86, all_of, attack, call, in_child, read, refusal


@attack("28-io_uring")
def _io_uring() -> object:
    zero = ctypes.create_string_buffer(256)
    outcomes = {
        "setup": call("io_uring_setup", 1, zero),
        "enter": call("io_uring_enter", -1, 0, 0, 0, 0),
        "register": call("io_uring_register", -1, 0, 0, 0),
    }
    return all_of(outcomes, "EPERM")


@attack("29-large-interfaces")
def _large() -> object:
    zero = ctypes.create_string_buffer(256)
    outcomes = {
        "bpf": call("bpf", 0, zero, 120),
        "perf_event_open": call("perf_event_open", zero, 0, -1, -1, 0),
        "userfaultfd": call("userfaultfd", 0),
        "userfaultfd of user mode": call("userfaultfd", 1),
        "kcmp": call("kcmp", os.getpid(), os.getpid(), 0, 0, 0),
        "lookup_dcookie": call("lookup_dcookie", 0, zero, 1),
        "memfd_secret": call("memfd_secret", 0),
        "mincore": call("mincore", ctypes.c_void_p(0), 0, zero),
    }
    return all_of(outcomes, "EPERM")


@attack("30-steer-init")
def _steer_init() -> object:
    vector = ctypes.create_string_buffer(
        struct.pack("PN", ctypes.addressof(ctypes.create_string_buffer(8)), 8)
    )
    init = -1
    with contextlib.suppress(OSError):  # a kernel that has none
        init = os.pidfd_open(1)
    outcomes = {
        "attach": call("ptrace", 16, 1, 0, 0),
        "seize": call("ptrace", 0x4206, 1, 0, 0),
        "process_vm_readv": call("process_vm_readv", 1, vector, 1, vector, 1, 0),
        "process_vm_writev": call("process_vm_writev", 1, vector, 1, vector, 1, 0),
        "pidfd_getfd": call("pidfd_getfd", init, 3, 0),
    }
    if init >= 0:
        os.close(init)
    return all_of(outcomes, "EPERM")


@attack("30-stop-init")
def _stop_init() -> object:
    for number in (signal.SIGSTOP, signal.SIGKILL, signal.SIGTSTP, signal.SIGTERM):
        refusal(lambda number=number: os.kill(1, number))
    return read("/proc/1/stat").rsplit(")", 1)[-1].split()[0] not in ("T", "Z", "X")


@attack("31-keyrings")
def _keyrings() -> object:
    outcomes = {
        "add_key": call("add_key", b"user", b"mark", b"value", 5, -4),
        "request_key": call("request_key", b"user", b"mark", 0, 0),
        "keyctl": call("keyctl", 0, -4, 1),
    }
    return all_of(outcomes, "EPERM")


@attack("32-sockets")
def _sockets() -> object:
    families = {
        "packet": (17, socket.SOCK_RAW, 0), "raw": (socket.AF_INET, socket.SOCK_RAW, 1),
        "raw6": (socket.AF_INET6, socket.SOCK_RAW, 58),
        "netfilter": (16, socket.SOCK_RAW, 12), "audit": (16, socket.SOCK_RAW, 9), "xfrm": (16, socket.SOCK_RAW, 6),
        "uevent": (16, socket.SOCK_DGRAM, 15), "vsock": (40, socket.SOCK_STREAM, 0),
        "alg": (38, socket.SOCK_SEQPACKET, 0),
        "xdp": (44, socket.SOCK_RAW, 0), "tipc": (30, socket.SOCK_STREAM, 0), "rds": (21, socket.SOCK_SEQPACKET, 0),
        "smc": (43, socket.SOCK_STREAM, 0), "kcm": (41, socket.SOCK_DGRAM, 0), "can": (29, socket.SOCK_RAW, 1),
        "bluetooth": (31, socket.SOCK_RAW, 1), "nfc": (39, socket.SOCK_RAW, 0),
        "mptcp": (socket.AF_INET, socket.SOCK_STREAM, 262),
        "sctp": (socket.AF_INET, socket.SOCK_STREAM, 132), "key": (15, socket.SOCK_RAW, 2),
    }  # fmt: skip
    return sorted(
        name
        for name, asked in families.items()
        if refusal(lambda asked=asked: socket.socket(*asked).close()) == "done"
    )


@attack("33-x32")
def _x32() -> object:
    if not X86:
        return "SIGSYS"
    end = in_child(lambda: os._exit(0 if LIBC.syscall(0x40000000 | 39) == -1 else 1))
    return (
        "SIGSYS"
        if os.WIFSIGNALED(end) and os.WTERMSIG(end) == signal.SIGSYS
        else f"exit {os.waitstatus_to_exitcode(end)}"
    )


@attack("33-int80")
def _int80() -> object:
    if not X86:
        return "SIGSYS"

    def enter() -> None:
        page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        page.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")  # mov eax, 20 (getpid); int 0x80; ret
        address = ctypes.addressof(ctypes.c_char.from_buffer(page))
        os._exit(7 if ctypes.CFUNCTYPE(ctypes.c_int)(address)() > 0 else 3)

    end = in_child(enter)
    if os.WIFSIGNALED(end):
        return signal.Signals(os.WTERMSIG(end)).name
    return f"exit {os.waitstatus_to_exitcode(end)}"


@attack("36-machine")
def _machine() -> object:
    zero = ctypes.create_string_buffer(64)
    return all_of(
        {
            "modify_ldt": call("modify_ldt", 0, zero, 64),
            "iopl": call("iopl", 3),
            "ioperm": call("ioperm", 0x80, 1, 1),
        },
        "EPERM",
    )


@attack("37-memory-programs")
def _memory_programs() -> object:
    fd = os.memfd_create("program", os.MFD_CLOEXEC)
    with open("/bin/true", "rb") as file:
        os.write(fd, file.read())
    return os.waitstatus_to_exitcode(in_child(lambda: os.execve(fd, ["true"], {})))


@attack("39-priorities")
def _priorities() -> object:
    def boost() -> None:
        outcomes = {
            "fifo": refusal(lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))),
            "nice": refusal(lambda: os.setpriority(os.PRIO_PROCESS, 0, -20)),
            "io": call("ioprio_set", 1, 0, 1 << 13),
        }
        os._exit(0 if "done" not in outcomes.values() else 1)

    return "refused" if os.waitstatus_to_exitcode(in_child(boost)) == 0 else "done"


@attack("40-terminals")
def _terminals() -> object:
    import fcntl
    import termios

    main, other = os.openpty()
    outcomes = {
        "TIOCSTI": refusal(lambda: fcntl.ioctl(other, termios.TIOCSTI, b"x")),
        "TIOCLINUX": refusal(lambda: fcntl.ioctl(other, 0x541C, b"\2")),
    }
    os.close(main)
    os.close(other)
    outcomes["controlling"] = (
        "EPERM" if refusal(lambda: os.close(os.open("/dev/tty", os.O_RDWR))) == "ENXIO" else "there is one"
    )
    return all_of(outcomes, "EPERM")


@attack("41-inherited-descriptors")
def _inherited() -> object:
    import fcntl

    flags = fcntl.fcntl(1, fcntl.F_GETFL)
    fcntl.fcntl(1, fcntl.F_SETFL, flags | os.O_NONBLOCK | os.O_ASYNC)
    fcntl.fcntl(1, fcntl.F_SETOWN, os.getpid())
    refusal(lambda: fcntl.fcntl(1, 1031, 4096))  # F_SETPIPE_SZ
    fcntl.fcntl(1, fcntl.F_SETFL, flags)
    return all_of(
        {
            "lease": refusal(lambda: fcntl.fcntl(0, 1024, 0)),
            "notify": refusal(lambda: fcntl.fcntl(0, 1026, 1)),
        },
        "EPERM",
    )


@attack("42-outside-the-tree")
def _outside() -> object:
    paths = ("/proc/x", "/sys/x", "/dev/x", "/usr/x", "/usr/local/x")

    def make(path: str) -> None:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
        os.unlink(path)

    outcomes = {path: refusal(lambda path=path: make(path)) for path in paths}
    return sorted(path for path, outcome in outcomes.items() if outcome == "done")
