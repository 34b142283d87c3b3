"""A wall within the walls: an OCI runtime, started by a sandbox's init, in which everything of the sandbox runs.

Init starts it in a user namespace of its own before the sandbox is closed off, and hands runs to a second server inside
(`inside`), which speaks the same frames over the runtime's standard input; files stay init's. Whoever gets out of the
runtime stands in the sandbox's namespaces, control group and network, without a right on the host. The runtime itself
is under no system call filter of ours and no Landlock: it must mount, trace and make namespaces.
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

_PLACE = "/dev/shm"
"""A mount of the runtime's own there hides the sandbox's from it."""
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
_CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID")
"""Of the second server: what init keeps, `kernel.caps.KEPT`."""


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
"""Where programs of runtimes are, of the host. Packages lie on /usr/local: theirs must never be taken for a runtime."""


class CannotStart(Exception):
    """The runtime did not come up; the text is its own, on one line."""


def find(isolation: str) -> int:
    """Open a runtime's program, while the host's /usr is still ours.

    Raises:
        CannotStart: It is not installed.
    """
    program = f"{DIRECTORY}/{RUNTIMES[isolation].program}"
    try:
        return os.open(program, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        raise CannotStart(f"{program} is not installed on this host") from None


class Order(NamedTuple):
    """What one sandbox's runtime is to be."""

    isolation: str
    network: bool
    env: dict[str, str]
    first_id: int
    """Of the sandbox's slice of the user namespace that init is in."""
    ids: int
    open_root: bool
    seccomp: bytes


def start(program: int, order: Order) -> socket.socket:
    """Start the runtime on this mount namespace's tree; returns the socket to the server inside, which is ready.

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
            _become(program, order, theirs, said, turned)
        turn.recv(1)
        for name in ("uid_map", "gid_map"):
            with open(f"/proc/{pid}/{name}", "w") as file:
                file.write(f"0 {order.first_id} {order.ids - 1}\n65534 {order.first_id + order.ids - 1} 1\n")
        turn.send(b"k")
    os.close(program)
    ours.settimeout(_READY_TIMEOUT_S)
    chosen = RUNTIMES[order.isolation]
    seccomp = b"" if chosen.own_kernel else order.seccomp
    try:
        frames.send(ours, {"seccomp": base64.b64encode(seccomp).decode(), "open_root": order.open_root})
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


def _become(program: int, order: Order, stdin: socket.socket, said: int, turned: socket.socket) -> NoReturn:
    try:
        syscalls.unshare(syscalls.CLONE_NEWUSER)
        turned.send(b"m")
        turned.recv(1)
        os.setgroups([])
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
        syscalls.unshare(syscalls.CLONE_NEWNS | syscalls.CLONE_NEWCGROUP)
        syscalls.mount(
            "runtime", _PLACE, "tmpfs", syscalls.MS_NOSUID | syscalls.MS_NODEV, "size=8m,mode=0700"
        )
        for directory in (_ROOT, _BUNDLE, _STATE):
            os.mkdir(directory)
        syscalls.mount("/", _ROOT, "", syscalls.MS_BIND | syscalls.MS_REC)
        _show_control_groups()
        with open(f"{_BUNDLE}/config.json", "w") as file:
            json.dump(configuration(order.env, _ROOT), file)
        for number, fd in enumerate((stdin.fileno(), said, said)):
            os.dup2(fd, number)
        high = fcntl.fcntl(program, fcntl.F_DUPFD_CLOEXEC, 3)
        chosen = RUNTIMES[order.isolation]
        which = chosen.with_network if order.network else chosen.without_network
        argv = [
            chosen.program,
            "--root",
            _STATE,
            *chosen.options,
            *which,
            "run",
            "--bundle",
            _BUNDLE,
            "sandbox",
        ]
        syscalls.close_range(3, high - 1) if high > 3 else None
        syscalls.close_range(high + 1)
        os.execve(high, argv, {"PATH": order.env.get("PATH", "/usr/bin"), "HOME": "/"})
    except BaseException as error:
        os.write(said, f"{type(error).__name__}: {error}".encode())
        os._exit(70)


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


def configuration(env: dict[str, str], root: str) -> dict[str, Any]:
    """config.json of the bundle (OCI runtime specification 1.0)."""
    kept = [f"CAP_{name}" for name in _CAPABILITIES]
    sets = ("bounding", "effective", "permitted")
    quiet = ["nosuid", "nodev", "noexec"]
    return {
        "ociVersion": "1.0.0",
        "process": {
            "terminal": False,
            "user": {"uid": 0, "gid": 0},
            # Alone: nothing that the sandbox's user or a package has left may run in it as its root, unfiltered.
            "args": [_PYTHON, "-I", "-S", "-c", _START],
            "env": [f"{name}={value}" for name, value in env.items()],
            "cwd": "/",
            "capabilities": {name: kept for name in sets},
            "noNewPrivileges": True,
            "rlimits": [{"type": "RLIMIT_CORE", "hard": 1, "soft": 1}],
        },
        "root": {"path": root, "readonly": False},
        "hostname": "sandbox",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc", "options": quiet},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
            {
                "destination": "/dev/pts",
                "type": "devpts",
                "source": "devpts",
                "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"],
            },
            {
                "destination": "/dev/shm",
                "type": "tmpfs",
                "source": "shm",
                "options": ["nosuid", "nodev", "mode=1777", "size=64m"],
            },
            # As it is: a runtime may put one of its own over it, which init's files would not be in.
            {"destination": "/tmp", "type": "bind", "source": f"{root}/tmp", "options": ["rbind", "rw"]},
        ],
        "linux": {
            "namespaces": [{"type": name} for name in ("pid", "mount", "ipc", "uts")],
            "maskedPaths": [f"/proc/{name}" for name in (*masks.FILES, *masks.DIRECTORIES)],
            "readonlyPaths": ["/proc/sys"],
        },
    }


def inside() -> NoReturn:
    """The second server: the first process of the runtime's container, until its standard input ends."""
    control = socket.socket(fileno=fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, 3))
    null = os.open("/dev/null", os.O_RDWR)
    for number in range(3):
        os.dup2(null, number)
    os.close(null)
    os.umask(0o022)
    received = frames.receive(control)
    if received is None:
        os._exit(0)
    order, _ = received
    env = dict(os.environ)
    if order["seccomp"]:
        confine.restrict_landlock(open_root=bool(order["open_root"]))
        confine.install_seccomp(base64.b64decode(order["seccomp"]))
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
    frames.send(control, {"ev": "ready"})
    serve.Server(control, {"env": env}, None).serve()
