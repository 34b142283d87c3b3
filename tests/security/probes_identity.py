"""Attacks on identity, capabilities and namespaces (probes 1 to 12), run inside a sandbox; see `probing`."""

import ctypes
import errno
import os
import signal
import socket
import struct

from tests.security.probing import (
    CLONE,
    LIBC,
    NUMBERS,
    X86,
    all_of,
    attack,
    call,
    checked,
    in_child,
    read,
    refusal,
    status,
)


@attack("1-capabilities")
def _capabilities() -> object:
    found = status()
    return {
        name: found[name].strip()
        for name in ("CapEff", "CapPrm", "CapInh", "CapAmb", "CapBnd", "NoNewPrivs", "Seccomp")
    }


@attack("3-set-user-id")
def _set_user_id() -> object:
    path = f"/tmp/suid-{os.getpid()}"
    with open("/usr/bin/id", "rb") as source, open(path, "wb") as target:
        target.write(source.read())
    os.chmod(path, 0o6755)
    read_end, write_end = os.pipe()

    def run() -> None:
        if os.getuid() == 0:
            os.setresgid(1000, 1000, 1000)
            os.setresuid(1000, 1000, 1000)
        os.dup2(write_end, 1)
        os.execv(path, [path, "-u"])

    in_child(run)
    os.close(write_end)
    said = os.read(read_end, 99).decode().strip()
    os.close(read_end)
    os.unlink(path)
    return said


@attack("5-unshare")
def _unshare() -> object:
    outcomes = {}
    for name, flag in CLONE.items():
        read_end, write_end = os.pipe()

        def one(flag: int = flag, write_end: int = write_end) -> None:
            ctypes.set_errno(0)
            failed = LIBC.unshare(flag) == -1
            os.write(write_end, (errno.errorcode[ctypes.get_errno()] if failed else "done").encode())

        in_child(one)
        outcomes[name] = os.read(read_end, 99).decode()
        os.close(read_end)
        os.close(write_end)
    return all_of(outcomes, "EPERM")


@attack("5-clone")
def _clone() -> object:
    outcomes = {}
    for name, flag in CLONE.items():
        if name == "newtime":  # in clone's flags these bits are a signal's number
            continue
        ctypes.set_errno(0)
        pid = LIBC.syscall(NUMBERS["clone"][0 if X86 else 1], flag | signal.SIGCHLD, 0, 0, 0, 0)
        if pid == 0:
            os._exit(0)
        if pid > 0:
            os.waitpid(pid, 0)
        outcomes[name] = "done" if pid > 0 else errno.errorcode[ctypes.get_errno()]
    return all_of(outcomes, "EPERM")


@attack("5-clone3")
def _clone3() -> object:
    arguments = ctypes.create_string_buffer(struct.pack("5Q", 0, 0, 0, 0, signal.SIGCHLD), 88)
    ctypes.set_errno(0)
    pid = LIBC.syscall(NUMBERS["clone3"][0], arguments, 88)
    if pid == 0:
        os._exit(0)
    if pid > 0:
        os.waitpid(pid, 0)
    return "done" if pid > 0 else errno.errorcode[ctypes.get_errno()]


@attack("6-setns")
def _setns() -> object:
    outcomes = {}
    for name in os.listdir("/proc/self/ns"):
        fd = os.open(f"/proc/self/ns/{name}", os.O_RDONLY)
        ctypes.set_errno(0)
        outcomes[name] = "done" if LIBC.setns(fd, 0) == 0 else errno.errorcode[ctypes.get_errno()]
        os.close(fd)
    init = os.pidfd_open(1)
    ctypes.set_errno(0)
    outcomes["init"] = (
        "done" if LIBC.setns(init, CLONE["newns"]) == 0 else errno.errorcode[ctypes.get_errno()]
    )
    os.close(init)
    return all_of(outcomes, "EPERM")


@attack("6-namespaces-of-init")
def _namespaces_of_init() -> object:
    return refusal(lambda: os.open("/proc/1/ns/net", os.O_RDONLY))


@attack("7-chroot")
def _chroot() -> object:
    return all_of(
        {"chroot": refusal(lambda: os.chroot("/tmp")), "pivot_root": call("pivot_root", b".", b".")}, "EPERM"
    )


@attack("7-climb")
def _climb() -> object:
    fd = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(64):
        above = os.open("..", os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
        os.close(fd)
        fd = above
    same = os.path.samestat(os.fstat(fd), os.stat("/"))
    os.close(fd)
    return "the same root" if same else "above it"


@attack("8-mounts")
def _mounts() -> object:
    def plain(*arguments: object) -> str:
        ctypes.set_errno(0)
        return "done" if LIBC.mount(*arguments) == 0 else errno.errorcode[ctypes.get_errno()]

    outcomes = {
        "tmpfs": plain(b"x", b"/tmp", b"tmpfs", 0, None),
        "bind": plain(b"/tmp", b"/tmp", None, 4096, None),
        "remount": plain(None, b"/usr", None, 4096 | 32, None),
        "proc": plain(b"proc", b"/tmp", b"proc", 0, None),
        "umount": refusal(lambda: checked(LIBC.umount2(b"/proc", 2))),
        "fsopen": call("fsopen", b"tmpfs", 0),
        "open_tree": call("open_tree", -100, b"/", 1),
        "move_mount": call("move_mount", -1, b"", -100, b"/tmp", 4),
        "mount_setattr": call("mount_setattr", -100, b"/usr", 0, ctypes.create_string_buffer(32), 32),
    }
    return all_of(outcomes, "EPERM")


@attack("9-propagation")
def _propagation() -> object:
    shared = [
        line for line in read("/proc/self/mountinfo").splitlines() if "shared:" in line or "master:" in line
    ]
    return shared or "private"


@attack("11-host")
def _host() -> object:
    zero = ctypes.create_string_buffer(256)
    outcomes = {
        "sethostname": refusal(lambda: socket.sethostname("owned")),
        "settimeofday": call("settimeofday", zero, 0),
        "clock_settime": call("clock_settime", 0, zero),
        "adjtimex": call("adjtimex", zero),
        "reboot": call("reboot", 0xFEE1DEAD, 672274793, 0, 0),
        "kexec_load": call("kexec_load", 0, 0, 0, 0),
        "swapon": call("swapon", b"/tmp", 0),
        "acct": call("acct", b"/tmp/acct"),
        "init_module": call("init_module", zero, 1, b""),
        "finit_module": call("finit_module", 0, b"", 0),
        "syslog": call("syslog", 3, zero, 1),
        "quotactl": call("quotactl", 0, b"", 0, zero),
    }
    return all_of(outcomes, "EPERM")


@attack("12-personality")
def _personality() -> object:
    outcomes = {
        "no randomisation": call("personality", 0x0040000),
        "read implies exec": call("personality", 0x0400000),
    }
    call("personality", 0)
    return all_of(outcomes, "EPERM")
