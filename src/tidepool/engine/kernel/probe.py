"""What this host's kernel can do, found out by doing it: every feature is tried in a forked child that then ends.

Nothing is guessed from versions or configuration, and nothing stays: namespaces and mounts go with the child, control
groups are removed. Files are read only to say how to enable what did not work. Call it before threads are started.
"""

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NoReturn

from tidepool.engine.errors import HostUnsupported
from tidepool.engine.guest import confine, syscalls
from tidepool.engine.kernel import cgroups, idmap, mounts, seccomp, userns

_DEADLINE_MS = 2000
"""Of one attempt; a child that hangs is killed and the feature counts as not working."""
_INITIAL_PID_NAMESPACE = "pid:[4026531836]"
"""PROC_PID_INIT_INO of linux/proc_ns.h."""
_NOBODY = 65534
_FIRST_ID = 1_900_000_000
_MIB = 1 << 20
_SYSCTLS = (
    "user/max_user_namespaces",
    "kernel/unprivileged_userns_clone",
    "kernel/apparmor_restrict_unprivileged_userns",
)


@dataclass(frozen=True)
class Feature:
    """One thing that isolation stands on, and whether it works here."""

    name: str
    works: bool
    detail: str
    """What was seen: a version, a number, or the kernel's refusal."""
    needed: bool
    """Whether nothing can run without it; else its wall is missing and said to be."""
    enable: str
    """A sentence: what to do when it does not work."""


def is_container() -> bool:
    """Whether this process lives in a pid or user namespace of somebody else's, as a container does."""
    own = os.readlink("/proc/self/ns/pid"), Path("/proc/self/uid_map").read_text().split()
    return own != (_INITIAL_PID_NAMESPACE, userns.ALL_IDS)


class _NotEnforced(Exception):
    """The kernel accepted a restriction and did not act on it."""


def features(enter: Callable[[], object] | None = None) -> tuple[Feature, ...]:
    """Try everything, in about 100 ms; the order is that of a sandbox's making.

    `enter` makes a child of an ordinary user root of a user namespace that has more ids than one; what is tried then
    is what a server of that user stands on. None: what root's does.
    """
    rows = (*_namespace_attempts(), *_mount_attempts(enter is not None), *_WALL_ATTEMPTS)
    tried = [
        Feature(name, *_try(partial(_after, enter, attempt)), True, enable) for name, attempt, enable in rows
    ]
    return (*tried, *_optional_namespaces(), *_control_groups())


def require(found: Iterable[Feature]) -> None:
    """Nothing when every needed feature works.

    Raises:
        HostUnsupported: One does not; the message names each with what to do.
    """
    missing: dict[str, list[str]] = {}
    for feature in found:
        if feature.needed and not feature.works:
            missing.setdefault(feature.enable, []).append(f"{feature.name} ({feature.detail})")
    if missing:
        groups = [f"{', '.join(names)}: {enable}" for enable, names in missing.items()]
        raise HostUnsupported("this host cannot isolate, because these do not work: " + "; ".join(groups))


# trying


def _try(attempt: Callable[[], str]) -> tuple[bool, str]:
    """Whether an attempt succeeds in a child of ours, and its detail or the reason why not."""
    reading, writing = os.pipe()
    pid = _fork()
    if pid == 0:
        os.close(reading)
        _attempt(attempt, writing)
    os.close(writing)
    try:
        poller = select.poll()
        poller.register(reading, select.POLLIN)
        said = os.read(reading, 4096) if poller.poll(_DEADLINE_MS) else b"-it did not answer in time"
    finally:
        os.close(reading)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return said[:1] == b"+", (said or b"-it died")[1:].decode("utf-8", "replace")


def _fork() -> int:
    """fork(2) of a child that does not outlive us, whatever becomes of us."""
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() not in (parent, 0):  # 0: the parent is in another pid namespace
            os._exit(1)
    return pid


def _attempt(attempt: Callable[[], str], writing: int) -> NoReturn:
    try:
        said = "+" + attempt()
    except Exception as error:  # the child's whole answer: the parent says it
        said = f"-{getattr(error, 'strerror', None) or error}"
    os.write(writing, said.encode()[:4096])
    os._exit(0)


def _after(enter: Callable[[], object] | None, attempt: Callable[[], str]) -> str:
    if enter is not None:
        enter()
    return attempt()


def _in_child(step: Callable[[], str]) -> str:
    """An attempt in one more child, for what only a new process sees; fails as it does."""
    works, detail = _try(step)
    if not works:
        raise OSError(detail)
    return detail


def _become_able() -> None:
    """Root may do what follows; anybody else needs a user namespace first."""
    if os.geteuid() != 0:
        _new_user_namespace()


def _new_user_namespace() -> None:
    uid, gid = os.geteuid(), os.getegid()
    syscalls.unshare(syscalls.CLONE_NEWUSER)
    for file, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        Path(f"/proc/self/{file}").write_text(text)


# namespaces


def _namespace_attempts() -> list["_Row"]:
    kinds = {
        "mount_namespace": syscalls.CLONE_NEWNS,
        "pid_namespace": syscalls.CLONE_NEWPID,
        "net_namespace": syscalls.CLONE_NEWNET,
        "ipc_namespace": syscalls.CLONE_NEWIPC,
        "uts_namespace": syscalls.CLONE_NEWUTS,
        "cgroup_namespace": syscalls.CLONE_NEWCGROUP,
    }
    advice = user_namespace_advice(_sysctls(), is_container())
    return [
        ("user_namespace", _user_namespace, advice),
        *((name, partial(_namespace, kind), _PRIVILEGED) for name, kind in kinds.items()),
    ]


def _optional_namespaces() -> list[Feature]:
    advice = user_namespace_advice(_sysctls(), is_container())
    return [Feature("unprivileged_user_namespace", *_try(_unprivileged), False, advice)]


def _user_namespace() -> str:
    _new_user_namespace()
    # Where it is allowed in name only (AppArmor), it comes without capabilities.
    syscalls.unshare(syscalls.CLONE_NEWNS)
    return ""


def _namespace(kind: int) -> str:
    _become_able()
    syscalls.unshare(kind)
    return _in_child(_check_first) if kind == syscalls.CLONE_NEWPID else ""


def _check_first() -> str:
    if os.getpid() != 1:
        raise _NotEnforced("the first process is not number 1")
    return ""


def _unprivileged() -> str:
    if userns.owns_host():
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 1)  # else our own /proc/self/uid_map would be root's
    return _user_namespace()


def user_namespace_advice(sysctls: Mapping[str, str], container: bool) -> str:
    """What to do when user namespaces do not work, by the switches that are known to stop them. Pure.

    `sysctls` holds values below /proc/sys, without those that this kernel does not have.
    """
    if sysctls.get("user/max_user_namespaces") == "0":
        return "they are limited to none: run `sysctl -w user.max_user_namespaces=15000`"
    if sysctls.get("kernel/unprivileged_userns_clone") == "0":
        return "they are for root only: run `sysctl -w kernel.unprivileged_userns_clone=1`"
    if sysctls.get("kernel/apparmor_restrict_unprivileged_userns") == "1":
        return (
            "AppArmor takes their capabilities away (Ubuntu 23.10 and later): start the server as root, or run "
            "`sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`"
        )
    if container:
        return "a container around this process refuses them: start it with --privileged, or run on its host"
    return "the kernel must be built with CONFIG_USER_NS"


def _sysctls() -> dict[str, str]:
    found = {}
    for name in _SYSCTLS:
        with contextlib.suppress(OSError):
            found[name] = Path("/proc/sys", name).read_text().strip()
    return found


# mounts


def _mount_point() -> str:
    """A small tmpfs in a mount namespace of our own, as the working directory."""
    _become_able()
    syscalls.unshare(syscalls.CLONE_NEWNS)
    syscalls.mount("", "/", "", syscalls.MS_REC | syscalls.MS_PRIVATE)
    place = next(path for path in ("/tmp", "/mnt", "/var", "/run") if os.path.isdir(path))
    syscalls.mount("probe", place, "tmpfs", syscalls.MS_NOSUID | syscalls.MS_NODEV, f"size={_MIB}")
    os.chdir(place)
    return place


def _tmpfs() -> str:
    _mount_point()
    with open("file", "wb", buffering=0) as file:
        try:
            while file.write(bytes(_MIB // 4)):
                pass
        except OSError:
            return f"full at {file.tell()} bytes of {_MIB}"
    raise _NotEnforced("its size limit has no effect")


def _new_mount_api() -> str:
    _mount_point()
    os.mkdir("attached")
    mounts.attach(mounts.tmpfs(_MIB, 16), "attached")
    os.close(syscalls.open_tree("attached"))
    return ""


def _proc() -> str:
    """A /proc of its own in a user namespace of its own, as zygotes mount it."""
    syscalls.unshare(syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNS | syscalls.CLONE_NEWPID)
    return _in_child(_mount_proc)


def _mount_proc() -> str:
    syscalls.mount("proc", "/proc", "proc", syscalls.MS_NOSUID)
    return ""


def _overlay() -> str:
    _mount_point()
    for name in ("lower", "upper", "work", "merged", "lower/hidden", "lower/hidden/by", "upper/hidden"):
        os.mkdir(name)
    # A tmpfs keeps such marks for a user namespace since Linux 6.6 only.
    os.setxattr("upper/hidden", f"{mounts.attribute_prefix()}opaque", b"y")
    mounts.attach(mounts.overlay(["lower"], "upper", "work"), "merged")
    if os.listdir("merged/hidden"):
        raise _NotEnforced("what a mark should hide is seen")
    Path("merged/file").write_text("written")
    if Path("upper/file").read_text() != "written" or os.listdir("lower") != ["hidden"]:
        raise _NotEnforced("what was written is not in the upper directory")
    return ""


def _idmapped(of_usr: bool) -> str:
    """A clone with ids mapped: of the host's files or, which is all that others than root may, of our own tmpfs."""
    _mount_point()
    for name in ("clone", "own"):
        os.mkdir(name)
    if of_usr:
        source, mapped = "/usr", idmap.create([(0, _FIRST_ID, 1000)])
        expected = os.stat("/usr").st_uid + _FIRST_ID
    else:
        mounts.attach(mounts.tmpfs(_MIB, 16), "own")
        expected = userns.some_other_id()
        source, mapped = "own", idmap.create([(0, expected, 1)])
    mounts.attach(mounts.idmapped_clone(source, mapped), "clone")
    _check_owner("clone", expected)
    return "of /usr" if of_usr else "of its own tmpfs"


def _overlay_on_idmapped(of_usr: bool) -> str:
    _idmapped(of_usr)
    for name in ("empty", "merged"):
        os.mkdir(name)
    mounts.attach(mounts.overlay(["clone", "empty"]), "merged")
    _check_owner("merged", os.stat("clone").st_uid)
    return ""


def _check_owner(path: str, expected: int) -> None:
    owner = os.stat(path).st_uid
    if owner != expected:
        raise _NotEnforced(f"ids are not mapped: the owner is {owner}")


# walls


def _seccomp() -> str:
    program = seccomp.compile(os.uname().machine)
    confine.install_seccomp(program)
    try:
        syscalls.unshare(syscalls.CLONE_NEWUSER)
    except PermissionError:
        return f"{len(program) // 8} instructions"
    raise _NotEnforced("a filter was installed and did not act")


def _landlock() -> str:
    abi = confine.restrict_landlock()["landlock"]
    try:
        os.close(os.open("/", os.O_TMPFILE | os.O_WRONLY, 0o600))
    except OSError:
        return f"ABI {abi}"
    raise _NotEnforced("a ruleset was enforced and did not act")


def _pidfd() -> str:
    fd = os.pidfd_open(_sleeper())
    signal.pidfd_send_signal(fd, signal.SIGKILL)
    os.waitid(os.P_PIDFD, fd, os.WEXITED)
    return ""


def _close_range() -> str:
    fd = os.open("/", os.O_PATH | os.O_CLOEXEC)
    syscalls.close_range(fd, fd)
    with contextlib.suppress(OSError):
        os.fstat(fd)
        raise _NotEnforced("it closed nothing")
    return ""


# control groups


def _control_groups() -> list[Feature]:
    works, detail = _try(_limits)
    enforced = detail.split() if works else []
    version = "2" if (cgroups.ROOT / "cgroup.controllers").exists() else "1"
    enable = (
        "start the server as root (in a container with --privileged), with the controller listed in "
        "/sys/fs/cgroup/cgroup.controllers or mounted below /sys/fs/cgroup"
    )
    refusal = detail if not works else f"version {version}, not writable"
    limits = [
        Feature(
            f"cgroup_{name}",
            name in enforced,
            f"version {version}" if name in enforced else refusal,
            False,
            enable,
        )
        for name in ("memory", "pids", "cpu")
    ]
    killing = "Linux 5.14 with a version 2 hierarchy writable by the server; process ids are used instead"
    return [*limits, Feature("cgroup_kill", *_try(_kill), False, killing)]


def _limits() -> str:
    """Which controllers took limits for a group and a process of ours."""
    tree = cgroups.Tree.create(f"tidepool-probe-{os.getpid()}", 64)
    sleeper = _sleeper()
    try:
        tree.add("leaf", cgroups.GroupLimits(64 * _MIB, 8, 0.5))
        tree.attach("leaf", sleeper)
    finally:
        os.kill(sleeper, signal.SIGKILL)
        os.waitpid(sleeper, 0)
        _until(lambda: tree.remove("leaf"))
        tree.close()
    return " ".join(tree.controllers)


def _kill() -> str:
    hierarchy = _unified()
    if hierarchy is None:
        raise OSError("there is no version 2 hierarchy")
    group = hierarchy / f"tidepool-probe-{os.getpid()}"
    sleeper = _sleeper()
    try:
        group.mkdir()
        (group / "cgroup.procs").write_text(str(sleeper))
        (group / "cgroup.kill").write_text("1")
        if not _until(lambda: os.waitpid(sleeper, os.WNOHANG)[0] != 0):
            raise _NotEnforced("the process in it lived on")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(sleeper, signal.SIGKILL)
        with contextlib.suppress(OSError):
            group.rmdir()
    return ""


def _unified() -> Path | None:
    """Where the version 2 hierarchy is mounted."""
    fields = (line.split() for line in Path("/proc/self/mounts").read_text().splitlines())
    return next((Path(place) for _, place, kind, *_ in fields if kind == "cgroup2"), None)


def _sleeper() -> int:
    pid = _fork()
    if pid == 0:
        time.sleep(_DEADLINE_MS / 1000)
        os._exit(0)
    return pid


def _until(done: Callable[[], bool]) -> bool:
    for _ in range(100):
        if done():
            return True
        time.sleep(0.002)
    return False


_Row = tuple[str, Callable[[], str], str]
"""Name, the attempt, how to enable it."""
_PRIVILEGED = "start the server as root, in a container with --privileged"
_WALL_ATTEMPTS: tuple[_Row, ...] = (
    ("seccomp", _seccomp, "the kernel must be built with CONFIG_SECCOMP_FILTER"),
    (
        "landlock",
        _landlock,
        "Linux 5.13 with `landlock` in CONFIG_LSM or in the boot parameter lsm= is needed",
    ),
    ("pidfd", _pidfd, "Linux 5.4 or newer is needed"),
    ("close_range", _close_range, "Linux 5.9 or newer is needed"),
)


def _mount_attempts(rootless: bool) -> list[_Row]:
    idmapped = "Linux 5.12 or newer is needed, and /usr on a filesystem such as ext4"
    if rootless:
        idmapped = (
            "Linux 6.6 or newer is needed, which can map ids on a tmpfs and keep an overlay's marks there"
        )
    rows: list[_Row] = [
        ("tmpfs", _tmpfs, _PRIVILEGED),
        ("new_mount_api", _new_mount_api, "Linux 5.2 or newer is needed"),
        ("overlayfs", _overlay, "load its module: `modprobe overlay`"),
        ("idmapped_mounts", partial(_idmapped, not rootless), idmapped),
        ("overlay_on_idmapped", partial(_overlay_on_idmapped, not rootless), "Linux 5.19 or newer is needed"),
    ]
    if os.geteuid() != 0 and not rootless:
        rows = [(name, attempt, "start the server as root") for name, attempt, _ in rows]
    masked = "a container that masks parts of /proc prevents it: start it with --privileged"
    return [*rows, ("proc_mount", _proc, masked)]
