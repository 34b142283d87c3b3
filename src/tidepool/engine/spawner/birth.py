"""Starting a zygote: from a fork of the spawner to an unprivileged interpreter inside its own namespaces.

Two processes come of it. The keeper, our direct child, is pid 1 of a pid namespace of its own and only waits; the
zygote is pid 1 of one below, which belongs to its own user namespace (it must be allowed to enter it again after each
fork, setns(2)). The kernel kills the keeper when the spawner ends and everything below with the keeper, whatever the
zygote does; the keeper's pidfd therefore speaks for all of it.
"""

import contextlib
import os
import resource
import signal
import socket
from collections.abc import Callable
from typing import NoReturn

from tidepool.engine.guest import confine, syscalls
from tidepool.engine.guest.packing import SINGLE_THREADED
from tidepool.engine.kernel import idmap

_PYTHON = "/usr/local/bin/python3"
_START = (
    "import sys; sys.path.append('/usr/lib/tidepool'); "
    # Before anything else of ours: what is imported from here on can be taken out of sight again.
    "from tidepool.engine.guest import imports; imports.RECORD.begin(); "
    # On an empty stack, so that no frame of ours lies below a forked program.
    "from tidepool.engine.guest import stage, zygote; stage.enter(zygote.main)"
)
ENVIRONMENT = {
    "PATH": "/home/daytona/.local/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/home/daytona",
    "USER": "daytona",
    "LOGNAME": "daytona",
    "SHELL": "/bin/sh",
    "LANG": "C.UTF-8",
}
"""Of the zygote and of every run, before the sandbox's own; nothing comes from the host's environment."""
_NAMESPACES = (
    syscalls.CLONE_NEWUSER
    | syscalls.CLONE_NEWNS
    | syscalls.CLONE_NEWNET
    | syscalls.CLONE_NEWIPC
    | syscalls.CLONE_NEWUTS
    | syscalls.CLONE_NEWCGROUP
)

_WATCHES = {
    "/proc/sys/fs/inotify/max_user_instances": "/proc/sys/user/max_inotify_instances",
    "/proc/sys/fs/inotify/max_user_watches": "/proc/sys/user/max_inotify_watches",
}
"""The host's limit for one user, and what limits each sandbox below a zygote (ucount_max of its user namespace)."""
_SHARES = 4


def start(
    mount_fds: tuple[int, int, int, int],
    first_id: int,
    count: int,
    attach: Callable[[int], None],
    lock: socket.socket,
    guard: bytes,
    debug: bool,
) -> tuple[int, socket.socket]:
    """Fork a zygote whose ids are `count` host ids from `first_id`; returns its keeper's pidfd and our control socket.

    The mounts are those of /, /usr, /usr/local and /dev; they are closed here. `attach` puts a process id into its
    control group before anything of the image runs. `lock` stays open as long as any process of the ids lives.
    `guard` is the filter of system calls that the interpreter starts behind; empty for none.

    Raises:
        OSError: A step before the interpreter's start failed.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    home = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    try:
        syscalls.unshare(syscalls.CLONE_NEWPID)
        pid = os.fork()
        if pid == 0:
            _become(mount_fds, first_id, theirs, lock, guard, debug)
        pidfd = os.pidfd_open(pid)
        syscalls.setns(home, syscalls.CLONE_NEWPID)
    finally:
        os.close(home)
        theirs.close()
        for fd in mount_fds:
            os.close(fd)
    answer = ours.recv(4096)
    if answer != b"map":
        os.waitpid(pid, 0)
        os.close(pidfd)
        ours.close()
        raise OSError(f"the zygote could not be started: {answer.decode('utf-8', 'replace') or 'it died'}")
    try:
        attach(pid)
        idmap.write_maps(pid, [(0, first_id, count)])
    except OSError:
        ours.close()  # it finds its socket closed and ends
        os.waitpid(pid, 0)
        os.close(pidfd)
        raise
    ours.send(b"go")
    return pidfd, ours


def _become(
    mount_fds: tuple[int, int, int, int],
    first_id: int,
    control: socket.socket,
    lock: socket.socket,
    guard: bytes,
    debug: bool,
) -> NoReturn:
    try:
        syscalls.unshare(syscalls.CLONE_NEWNS)
        for mount_fd, target in zip(mount_fds, ("t", "t/usr", "t/usr/local", "t/dev"), strict=True):
            syscalls.move_mount(mount_fd, target)
        quiet = syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC
        syscalls.mount("proc", "t/proc", "proc", quiet)
        os.chdir("t")
        syscalls.pivot_root(".", ".")
        syscalls.umount2(".")
        os.chdir("/")
        _count_apart(first_id)
        syscalls.unshare(_NAMESPACES)
        control.send(b"map")
        if control.recv(16) != b"go":
            os._exit(0)
        os.setgroups([])
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
        # After the ids: a change of credentials would clear it (prctl(2)).
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
        syscalls.unshare(syscalls.CLONE_NEWPID)
        zygote = os.fork()
        if zygote:
            _keep(zygote, lock)
        syscalls.mount("proc", "/proc", "proc", quiet)
        _share_watches()
        # Its root is read-only; some imports want a place to write. Sandboxes get roots of their own.
        place = syscalls.MS_NOSUID | syscalls.MS_NODEV
        syscalls.mount("tmp", "/tmp", "tmpfs", place, "size=32m,nr_inodes=8192,mode=1777")
        _redirect(control, debug)
        if guard:  # before the interpreter: what is installed may run as it starts
            confine.install_seccomp(guard)
        os.execve(_PYTHON, [_PYTHON, "-c", _START], ENVIRONMENT | SINGLE_THREADED)
    except BaseException as error:
        control.send(f"{type(error).__name__}: {error}".encode()[:4000])
        os._exit(70)


def _count_apart(owner: int) -> None:
    """Whatever is in a user namespace is counted for its maker too: be an id of the zygote's own, not the host's root.

    Else one sandbox that takes all of what root may have (watches, queued signals, timers) takes it from the host.
    """
    for number in (resource.RLIMIT_SIGPENDING, resource.RLIMIT_MEMLOCK, resource.RLIMIT_MSGQUEUE):
        with contextlib.suppress(ValueError):  # without root it cannot be raised: then it is for all together
            # What all sandboxes of the zygote may have together; each has a limit of its own (guest.init).
            resource.setrlimit(number, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    syscalls.prctl(syscalls.PR_SET_SECUREBITS, syscalls.SECBIT_NO_SETUID_FIXUP)  # the capabilities stay
    os.setresuid(owner, owner, owner)
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 1)  # else our id maps would be nobody's to write


def _share_watches() -> None:
    """The host has a number of inotify instances and watches for each user: no sandbox gets more than its share."""
    for host, ours in _WATCHES.items():
        with open(host) as file:
            most = max(1, int(file.read()) // _SHARES)
        with open(ours, "w") as file:
            file.write(str(most))


def _keep(zygote: int, lock: socket.socket) -> NoReturn:
    """The keeper's whole life. The ids stay claimed as long as it lives, also when the spawner is gone."""
    os.dup2(lock.fileno(), 0)
    syscalls.close_range(1)
    os.waitpid(zygote, 0)
    os._exit(0)


def _redirect(control: socket.socket, debug: bool) -> None:
    os.dup2(control.fileno(), 3)
    null = os.open("/dev/null", os.O_RDWR)
    for number in (0, 1) if debug else (0, 1, 2):
        os.dup2(null, number)
    syscalls.close_range(4)
    os.set_inheritable(3, True)
    # A server under nohup ignores SIGHUP: what runs inside does not.
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
