"""Attacks on /proc, /sys, /dev and the kernel's knobs (probes 13 to 27), run inside a sandbox; see `probing`."""

import ctypes
import errno
import os
import resource
import signal
import socket
import stat
import struct

from tests.security.probing import all_of, attack, call, in_child, read, refusal, writable


@attack("14-core-dumps")
def _core_dumps() -> object:
    before = set(os.listdir("."))
    ends = {in_child(lambda: os.kill(os.getpid(), signal.SIGSEGV)) & 0x7F for _ in range(5)}
    return {
        "limit": resource.getrlimit(resource.RLIMIT_CORE),
        "ends": sorted(ends),
        "new": sorted(set(os.listdir(".")) - before),
    }


@attack("15-helpers")
def _helpers() -> object:
    paths = (
        "/sys/kernel/uevent_helper", "/sys/fs/cgroup/release_agent", "/sys/fs/cgroup/memory/release_agent",
        "/proc/sys/kernel/modprobe", "/proc/sys/kernel/hotplug", "/proc/sys/kernel/core_pattern",
        "/proc/sys/fs/binfmt_misc/register", "/proc/sysrq-trigger", "/proc/sys/vm/drop_caches",
        "/proc/sys/kernel/poweroff_cmd", "/sys/power/state", "/sys/kernel/debug", "/sys/kernel/security",
    )  # fmt: skip
    return sorted(
        path
        for path in paths
        if writable(path) == "done" and os.path.realpath(path) != "/dev/null" and not _is_null(path)
    )


def _is_null(path: str) -> bool:
    """Whether a path is masked by the null device."""
    found = os.stat(path)
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == os.makedev(1, 3)


@attack("16-init")
def _init() -> object:
    paths = ("environ", "maps", "mem", "auxv", "stack", "syscall", "io", "fd", "cwd", "root", "exe")
    return sorted(name for name in paths if refusal(lambda name=name: _look(f"/proc/1/{name}")) == "done")


def _look(path: str) -> None:
    if os.path.basename(path) == "fd":
        os.listdir(path)
    elif os.path.basename(path) in ("cwd", "root", "exe"):
        os.readlink(path)
    else:
        with open(path, "rb") as file:
            if not file.read(1):
                raise OSError(errno.ENODATA, "empty")


@attack("18-masked")
def _masked() -> object:
    names = (
        "kcore", "kallsyms", "keys", "key-users", "kmsg", "timer_list", "sched_debug", "slabinfo", "pagetypeinfo",
        "interrupts", "softirqs", "diskstats", "vmallocinfo", "kpagecount", "kpageflags", "iomem", "ioports", "locks",
        "cmdline", "modules", "zoneinfo", "buddyinfo", "partitions", "swaps", "acpi", "scsi", "bus", "irq",
    )  # fmt: skip
    return sorted(name for name in names if not _is_empty(f"/proc/{name}"))


def _is_empty(path: str) -> bool:
    try:
        if os.path.isdir(path):
            return not os.listdir(path)
        with open(path, "rb") as file:
            return not file.read(1)
    except OSError:
        return True


@attack("19-identity")
def _identity() -> object:
    return {
        "hostname": socket.gethostname(),
        "boot_id": read("/proc/sys/kernel/random/boot_id"),
        "machine_id": read("/etc/machine-id"),
        "sys": sorted(os.listdir("/sys")) if os.path.isdir("/sys") else [],
    }


@attack("20-limits")
def _limits() -> object:
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    total = next(
        (
            int(line.split()[1]) * 1024
            for line in read("/proc/meminfo").splitlines()
            if line.startswith("MemTotal")
        ),
        0,
    )
    return {"cpus": os.cpu_count(), "memory": total, "pages": pages, "load": read("/proc/loadavg")}


@attack("21-overwrite-programs")
def _overwrite() -> object:
    paths = (
        "/proc/self/exe",
        "/proc/1/exe",
        "/usr/local/bin/python3",
        "/bin/sh",
    )
    return sorted(
        {path for path in paths if refusal(lambda path=path: os.close(os.open(path, os.O_RDWR))) == "done"}
    )


@attack("22-descriptors")
def _descriptors() -> object:
    names = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            names[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:  # the one the list was read with
            continue
    return {
        str(number): target
        for number, target in names.items()
        if number > 2 and not target.startswith("/proc/")
    }


@attack("23-handles")
def _handles() -> object:
    handle = ctypes.create_string_buffer(struct.pack("Ii", 120, 0), 136)
    mount = ctypes.c_int()
    return all_of(
        {
            "name_to_handle_at": call("name_to_handle_at", -100, b"/", handle, ctypes.byref(mount), 0),
            "open_by_handle_at": call("open_by_handle_at", -100, handle, 0),
        },
        "EPERM",
    )


@attack("24-devices")
def _devices() -> object:
    kinds = {
        "disk": (stat.S_IFBLK, os.makedev(8, 0)),
        "mem": (stat.S_IFCHR, os.makedev(1, 1)),
        "kvm": (stat.S_IFCHR, os.makedev(10, 232)),
    }
    outcomes = {
        name: refusal(lambda kind=kind: os.mknod(f"/tmp/node-{os.getpid()}", kind[0] | 0o666, kind[1]))
        for name, kind in kinds.items()
    }
    return all_of(outcomes, "EPERM")


@attack("25-whiteouts")
def _whiteouts() -> object:
    path = f"/tmp/white-{os.getpid()}"
    os.mkdir(path)
    outcomes = {
        "whiteout": refusal(lambda: os.mknod(f"{path}/x", stat.S_IFCHR, 0)),
        "trusted": refusal(lambda: os.setxattr(path, "trusted.overlay.opaque", b"y")),
    }
    os.rmdir(path)
    return all_of(outcomes, "EPERM")


@attack("26-dev")
def _dev() -> object:
    return sorted(os.listdir("/dev"))


@attack("27-host-devices")
def _host_devices() -> object:
    names = (
        "kvm",
        "fuse",
        "net/tun",
        "mem",
        "kmem",
        "port",
        "loop0",
        "loop-control",
        "vda",
        "sda",
        "nvme0n1",
        "vhost-vsock",
        "dri",
        "nvidia0",
    )
    return sorted(name for name in names if os.path.lexists(f"/dev/{name}"))
