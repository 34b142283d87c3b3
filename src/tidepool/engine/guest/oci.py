"""A wall within the walls: an OCI runtime, started by a sandbox's init, in which everything of the sandbox runs.

Init starts it in a user namespace of its own before the sandbox is closed off, and hands runs to a second server inside
(`inside`), which speaks the same frames over the runtime's standard input; files stay init's. Whoever gets out of the
runtime stands in the sandbox's namespaces, control group and network, without a right on the host. The runtime itself
is under no system call filter of ours and no Landlock: it must mount, trace and make namespaces. Runtime and second
server start on the zygote's read-only tree, with the sandbox's below it; the server goes there and cannot come back.
"""

import base64
import contextlib
import fcntl
import json
import os
import signal
import socket
from typing import Any, NamedTuple, NoReturn

from tidepool.engine.guest import confine, frames, masks, serve, syscalls

_PLACE = "/tmp"
"""A mount of the runtime's own there hides the zygote's from it."""
_SANDBOX = "/mnt"
"""Where the sandbox's tree is in the one that runtime and second server start on."""
_ROOT = f"{_PLACE}/root"
_BUNDLE = f"{_PLACE}/bundle"
_STATE = f"{_PLACE}/state"
_READY_TIMEOUT_S = 15.0
"""Less than the host waits for init, which is to pass on the runtime's words."""
_MAX_WORDS = 300
_PYTHON = "/usr/local/bin/python3"
_START = (
    "import sys; sys.path.append('/usr/lib/tidepool'); "
    "from tidepool.engine.guest import imports; imports.RECORD.begin(); "  # as a zygote begins
    "from tidepool.engine.guest import oci; oci.inside()"
)
_CAPABILITIES = (
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "SYS_CHROOT",
)
"""Of the second server as it starts: what init keeps, and what it takes to go into the sandbox's tree for good."""


class Runtime(NamedTuple):
    """How one runtime is called."""

    program: str
    """In /usr/bin of the host."""
    options: tuple[str, ...]
    with_network: tuple[str, ...]
    """More options where the sandbox may reach something: its sockets are then those of its network namespace."""
    without_network: tuple[str, ...]
    own_kernel: bool
    """Else what runs inside is filtered and restricted as without it: it calls the host's kernel."""


RUNTIMES = {
    "gvisor": Runtime(
        "runsc", ("--ignore-cgroups", "--file-access=shared"), ("--network=host",), ("--network=none",), True
    ),
    "crun": Runtime("crun", ("--cgroup-manager=disabled",), (), (), False),
}
"""By the name of the isolation. Control groups are the sandbox's own already."""


DIRECTORY = "/usr/bin"
"""Where programs of runtimes are, of the host. Packages would lie on /usr/local."""


_DEVICES = (
    {"destination": f"{_SANDBOX}/dev", "type": "devtmpfs", "source": "dev", "options": ["nosuid"]},
    {
        "destination": f"{_SANDBOX}/dev/pts",
        "type": "devpts",
        "source": "devpts",
        "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"],
    },
    {
        "destination": f"{_SANDBOX}/dev/shm",
        "type": "tmpfs",
        "source": "shm",
        "options": ["nosuid", "nodev", "mode=1777", "size=64m"],
    },
)
"""Of a kernel of its own, which knows no others."""


class CannotStart(Exception):
    """The runtime did not come up; the text is its own, on one line."""


def find(isolation: str) -> int:
    """A detached mount of the zygote's tree, which is still ours and has the runtime in it.

    Raises:
        CannotStart: It is not installed.
    """
    program = f"{DIRECTORY}/{RUNTIMES[isolation].program}"
    if not os.access(program, os.X_OK):
        raise CannotStart(f"{program} is not installed on this host")
    return syscalls.open_tree("/", syscalls.OPEN_TREE_CLONE | syscalls.AT_RECURSIVE)


def start(system: int, told: dict[str, Any]) -> socket.socket:
    """Start the runtime of `system` on this mount namespace's tree; returns the socket to the server inside.

    `told` is all that init was told: what its zygote was made with, who it is, what the sandbox is to be.

    To be called before /proc is masked: nobody may mount one of their own who cannot see all of it
    (mount_namespaces(7)). The runtime masks its own.

    Raises:
        CannotStart: It ended, or was not ready in time.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    said = os.memfd_create("said", os.MFD_CLOEXEC)
    turn, turned = socket.socketpair()
    with theirs, turn, turned:
        pid = os.fork()
        if pid == 0:
            _become(system, told, theirs, said, turned)
        turn.recv(1)
        first_id, last = int(told["slice"]) * int(told["ids"]), int(told["ids"]) - 1
        for name in ("uid_map", "gid_map"):
            with open(f"/proc/{pid}/{name}", "w") as file:
                file.write(f"0 {first_id} {last}\n65534 {first_id + last} 1\n")
        turn.send(b"k")
    os.close(system)
    ours.settimeout(_READY_TIMEOUT_S)
    chosen = RUNTIMES[told["isolation"]]
    seccomp = b"" if chosen.own_kernel else told["seccomp"]
    try:
        same = {name: told[name] for name in ("open_root", "capabilities", "env")}
        frames.send(ours, {"seccomp": base64.b64encode(seccomp).decode(), **same})
        received = frames.receive(ours)
    except (OSError, frames.BadFrame):
        received = None
    if received is None or received[0].get("ev") != "ready":
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        words = os.pread(said, 1 << 16, 0).decode("utf-8", "replace").split()
        raise CannotStart(f"{chosen.program}: {' '.join(words)[:_MAX_WORDS] or 'it was not ready in time'}")
    os.close(said)
    ours.settimeout(None)
    return ours


def _become(
    system: int, told: dict[str, Any], stdin: socket.socket, said: int, turned: socket.socket
) -> NoReturn:
    try:
        syscalls.unshare(syscalls.CLONE_NEWUSER)
        turned.send(b"m")
        turned.recv(1)
        os.setgroups([])
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
        syscalls.unshare(syscalls.CLONE_NEWNS | syscalls.CLONE_NEWCGROUP)
        _enter(system)
        for directory in (_ROOT, _BUNDLE, _STATE):
            os.mkdir(directory)
        syscalls.mount("/", _ROOT, "", syscalls.MS_BIND | syscalls.MS_REC)
        _show_control_groups()
        chosen = RUNTIMES[told["isolation"]]
        with open(f"{_BUNDLE}/config.json", "w") as file:
            json.dump(configuration(chosen, _ROOT), file)
        for number, fd in enumerate((stdin.fileno(), said, said)):
            os.dup2(fd, number)
        syscalls.close_range(3)
        which = chosen.with_network if told["network"] else chosen.without_network
        options = ["--root", _STATE, *chosen.options, *which]
        program = f"{DIRECTORY}/{chosen.program}"
        run = ["run", "--bundle", _BUNDLE, "sandbox"]
        os.execve(program, [chosen.program, *options, *run], {"PATH": DIRECTORY, "HOME": "/"})
    except BaseException as error:
        os.write(said, f"{type(error).__name__}: {error}".encode())
        os._exit(70)


def _enter(system: int) -> None:
    """Let this tree be ours, and the sandbox's lie below it: nothing that a sandbox wrote is looked up from here on."""
    sandbox = syscalls.open_tree("/", syscalls.OPEN_TREE_CLONE | syscalls.AT_RECURSIVE)
    syscalls.move_mount(system, "/dev/shm")
    os.chdir("/dev/shm")
    syscalls.move_mount(sandbox, f".{_SANDBOX}")
    syscalls.pivot_root(".", ".")
    syscalls.umount2(".")
    os.chdir("/")
    # The zygote's own show its other sandboxes.
    syscalls.mount(f"{_SANDBOX}/proc", "/proc", "", syscalls.MS_BIND | syscalls.MS_REC)
    syscalls.mount("runtime", _PLACE, "tmpfs", syscalls.MS_NOSUID | syscalls.MS_NODEV, "size=8m,mode=0700")


def _show_control_groups() -> None:
    """crun looks at them whether it is to use them or not; what runs inside does not see these."""
    place = "/sys"
    syscalls.mount(
        "sys", place, "tmpfs", syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC, "size=64k"
    )
    os.makedirs(f"{place}/fs/cgroup")
    syscalls.mount(
        "cgroup", f"{place}/fs/cgroup", "cgroup2", syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC
    )


def configuration(runtime: Runtime, root: str) -> dict[str, Any]:
    """config.json of the bundle (OCI runtime specification 1.0)."""
    kept = [f"CAP_{name}" for name in _CAPABILITIES]
    sets = ("bounding", "effective", "permitted")
    quiet = ["nosuid", "nodev", "noexec"]
    return {
        "ociVersion": "1.0.0",
        "process": {
            "terminal": False,
            "user": {"uid": 0, "gid": 0},
            "args": [_PYTHON, "-I", "-S", "-c", _START],
            "cwd": "/",
            "capabilities": {name: kept for name in sets},
            "noNewPrivileges": True,
            "rlimits": [{"type": "RLIMIT_CORE", "hard": 1, "soft": 1}],
        },
        "root": {"path": root, "readonly": False},
        "hostname": "sandbox",
        "mounts": [
            {"destination": f"{_SANDBOX}/proc", "type": "proc", "source": "proc", "options": quiet},
            # crun puts devices of its own here, and the zygote's /dev is read-only.
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
            *(_DEVICES if runtime.own_kernel else ()),
        ],
        "linux": {
            "namespaces": [{"type": name} for name in ("pid", "mount", "ipc", "uts")],
            "maskedPaths": [f"{_SANDBOX}/proc/{name}" for name in (*masks.FILES, *masks.DIRECTORIES)],
            "readonlyPaths": [f"{_SANDBOX}/proc/sys"],
        },
    }


def inside() -> NoReturn:
    """The second server: the first process of the runtime's container, until its standard input ends."""
    control = socket.socket(fileno=fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, 3))
    os.chroot(_SANDBOX)
    os.chdir("/")
    null = os.open("/dev/null", os.O_RDWR)
    for number in range(3):
        os.dup2(null, number)
    os.close(null)
    os.umask(0o022)
    received = frames.receive(control)
    if received is None:
        os._exit(0)
    order, _ = received
    confine.drop_capabilities(order["capabilities"])
    if order["seccomp"]:
        confine.restrict_landlock(open_root=bool(order["open_root"]))
        confine.install_seccomp(base64.b64decode(order["seccomp"]))
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
    frames.send(control, {"ev": "ready"})
    serve.Server(control, {"env": order["env"]}, None).serve()
