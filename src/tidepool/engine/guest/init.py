"""From a fork of the zygote to the init (pid 1) of a sandbox: mounts, namespaces, identity, confinement.

Every step here is taken while the process still belongs to the zygote's user namespace, which therefore owns the
sandbox's mount, pid, network, ipc and uts namespaces: root inside, who lives in a user namespace below, can neither
mount nor configure the network, whatever seccomp says. What init does afterwards is in `serve`.
"""

import fcntl
import os
import resource
import socket
import struct
import traceback
from typing import Any, NoReturn

from tidepool.engine.guest import confine, faults, frames, masks, oci, serve, sizes, syscalls

MOUNT_POINT = "/mnt"
"""Where the new root is put together; a directory of the zygote's own root."""

_COUNTED = {"SIGPENDING": 4096, "MEMLOCK": 8 << 20, "MSGQUEUE": 819_200}
"""What the kernel counts by user: queued signals and timers, locked bytes, bytes of message queues."""
_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1


def become(config: dict[str, Any], order: dict[str, Any], fds: list[int], asking: int) -> NoReturn:
    """Turn this fresh fork into a sandbox's init and serve until the host closes the control socket.

    `fds` are: the control socket, the mounts of /, /usr, /usr/local and /dev, and those of the volumes. `asking` is the
    socket to the zygote.
    """
    try:
        control, mounts = _settle(fds, asking)
        faults.step("init.create.settled")
        go = _joined(control)
        faults.step("init.create.released")
        syscalls.unshare(
            syscalls.CLONE_NEWNS
            | syscalls.CLONE_NEWIPC
            | syscalls.CLONE_NEWUTS
            | syscalls.CLONE_NEWNET
            | syscalls.CLONE_NEWCGROUP
        )
        system = oci.find(go["isolation"]) if go["isolation"] in oci.RUNTIMES else None
        _build_root(mounts[:4], int(go["shm_bytes"]))
        first_id = int(order["slice"]) * int(order["ids"])
        _mount_volumes(mounts[4:], list(order["volumes"]), first_id)
        faults.step("init.create.mounted")
        _loopback_up()
        inner = None
        if system is not None:
            inner = oci.start(system, {**config, **order, **go})
        shown = sizes.Sizes(int(go["memory_bytes"]), float(go["cpu"]))
        _mask_proc("/proc")
        syscalls.sethostname(str(go["hostname"]))
        _limit(dict(go["rlimits"]), first_id)
        _take_identity(3 + len(fds))
        enforced = _confine(config, bool(go["open_root"]))
        faults.step("init.create.confined")
        frames.send(control, {"ev": "ready", "enforced": enforced})
        faults.step("init.create.told")
    except oci.CannotStart as error:
        frames.send(control, {"ev": "failed", "why": str(error)})
        os._exit(70)
    except BaseException:
        # Whatever went wrong before the sandbox was closed off: say it once to the host, run nothing.
        _give_up()
    serve.Server(control, go, shown, inner).serve()


def _joined(control: socket.socket) -> dict[str, Any]:
    """Join our control group if we are asked to; returns the frame that lets us go on."""
    while True:
        received = frames.receive(control)
        if received is None:
            os._exit(0)
        message, doors = received
        if message.get("op") != "join":
            return message
        for door in doors:
            os.write(door, b"0")
            os.close(door)
        frames.send(control, {"ev": "joined"})


def _settle(fds: list[int], asking: int) -> tuple[socket.socket, list[int]]:
    """Put the descriptors at 3 (control), from 4 on (mounts), the last (asking) and close everything else."""
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 100) for fd in (*fds, asking)]
    for number, fd in enumerate(high, start=3):
        os.dup2(fd, number, inheritable=False)
    syscalls.close_range(3 + len(high))
    return socket.socket(fileno=3), list(range(4, 3 + len(fds)))


def _give_up() -> NoReturn:
    why = traceback.format_exc(limit=-3)
    try:
        frames.send(socket.socket(fileno=3), {"ev": "failed", "why": why[-4000:]})
    finally:
        os._exit(70)


def _build_root(mounts: list[int], shm_bytes: int) -> None:
    root, usr, local, dev = mounts
    for mount_fd, target in ((root, ""), (usr, "/usr"), (local, "/usr/local"), (dev, "/dev")):
        syscalls.move_mount(mount_fd, MOUNT_POINT + target)
        os.close(mount_fd)
    quiet = syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC
    shm = f"size={shm_bytes},nr_inodes=16384,mode=1777"
    syscalls.mount("shm", f"{MOUNT_POINT}/dev/shm", "tmpfs", syscalls.MS_NOSUID | syscalls.MS_NODEV, shm)
    pts = "newinstance,ptmxmode=0666,mode=0620"
    syscalls.mount("devpts", f"{MOUNT_POINT}/dev/pts", "devpts", syscalls.MS_NOSUID | syscalls.MS_NOEXEC, pts)
    syscalls.mount("proc", f"{MOUNT_POINT}/proc", "proc", quiet)
    os.chdir(MOUNT_POINT)
    syscalls.pivot_root(".", ".")
    syscalls.umount2(".")
    os.chdir("/")


def _mount_volumes(mounts: list[int], paths: list[str], root_id: int) -> None:
    """Mount volumes where they were asked for; what is missing of the way belongs to root inside.

    After the change of root: whatever links the sandbox's files hold lead to its own files.
    """
    for mount_fd, path in zip(mounts, paths, strict=True):
        way = ""
        for part in filter(None, path.split("/")):
            way += f"/{part}"
            if not os.path.isdir(way):
                os.mkdir(way, 0o755)
                os.chown(way, root_id, root_id)
        syscalls.move_mount(mount_fd, path)
        os.close(mount_fd)


def _mask_proc(proc: str) -> None:
    quiet = syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC
    for name in masks.FILES:
        if os.path.exists(f"{proc}/{name}"):
            syscalls.mount("/dev/null", f"{proc}/{name}", "", syscalls.MS_BIND)
    empty = ""
    for path in (f"{proc}/{name}" for name in masks.DIRECTORIES if os.path.isdir(f"{proc}/{name}")):
        if empty:
            syscalls.mount(empty, path, "", syscalls.MS_BIND)
        else:  # one file system for all: making one takes much longer than a bind mount
            options = "size=0,nr_inodes=2,mode=0555"
            syscalls.mount("masked", path, "tmpfs", quiet | syscalls.MS_RDONLY, options)
            empty = path
    # /proc/sys stays readable (programs ask it for limits) but is read-only for every uid.
    syscalls.mount(f"{proc}/sys", f"{proc}/sys", "", syscalls.MS_BIND | syscalls.MS_REC)
    again = syscalls.MS_BIND | syscalls.MS_REMOUNT | syscalls.MS_RDONLY
    syscalls.mount("", f"{proc}/sys", "", again | quiet)


def _loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = struct.pack("16sH14x", b"lo", 0)
        flags = struct.unpack("16sH14x", fcntl.ioctl(sock, _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | _IFF_UP))


def _limit(rlimits: dict[str, int], first_id: int) -> None:
    """Limits of the kernel's own: on what no control group counts, and others where there are none.

    What is in a user namespace is counted for whoever makes it as well (setrlimit(2), inc_ucount() in
    kernel/ucount.c): the first id of our slice does, so that no other sandbox feels what this one has taken.
    """
    for name, value in (_COUNTED | rlimits).items():
        number = getattr(resource, f"RLIMIT_{name}")
        hard = resource.getrlimit(number)[1]
        most = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(number, (most, most))
    os.setresuid(first_id, first_id, first_id)
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 1)  # else the zygote could not write our maps


def _take_identity(asking: int) -> None:
    """A user namespace of our own, mapped by the zygote; then root of it."""
    syscalls.unshare(syscalls.CLONE_NEWUSER)
    os.write(asking, b"m")
    if os.read(asking, 1) != b"k":
        raise OSError("the zygote did not write the id maps")
    os.close(asking)
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


def _confine(config: dict[str, Any], open_root: bool) -> dict[str, Any]:
    os.umask(0o022)
    null = os.open("/dev/null", os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    os.close(null)
    # 1, not 0: with 0 a piped core_pattern handler would still be started (core(5)).
    resource.setrlimit(resource.RLIMIT_CORE, (1, 1))
    for limit in (resource.RLIMIT_NICE, resource.RLIMIT_RTPRIO):
        resource.setrlimit(limit, (0, 0))
    hard = min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 65536)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 1024 * 16), hard))
    os.environ.clear()
    enforced: dict[str, Any] = {"capabilities": True, "no_new_privs": True}
    confine.drop_capabilities(frozenset(config["capabilities"]))
    if config["landlock"]:
        enforced |= confine.restrict_landlock(open_root=open_root)
    confine.install_seccomp(config["seccomp"])
    enforced["seccomp"] = True
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
    return enforced
