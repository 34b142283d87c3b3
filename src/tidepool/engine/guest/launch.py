"""One run: decide whether it may be forked from the preloaded interpreter, then become it.

`plan` runs in init before the fork, `start` in the child and never returns. A run that cannot be started ends with 126
or 127 as a shell's would, and the host is told apart from its own exit code by a frame that comes first.
"""

import contextlib
import fcntl
import os
import resource
import signal
import socket
from dataclasses import dataclass, field
from typing import Any, NoReturn

from tidepool.engine.guest import charts, frames, imports, run, session, syscalls, terminal, tests

PYTHON = "/usr/local/bin/python3"
OOM_SCORE_ADJ = 500
"""Runs are killed before init when memory ends: init can then still say so."""
_environment: dict[str, str] | None = None
"""What `put_environment` has put last. To read os.environ is to decode it."""


@dataclass
class Plan:
    """How one run will be started."""

    kind: str
    basis: str
    env: dict[str, str]
    argv: list[str] = field(default_factory=list)


def plan(message: dict[str, Any], base_env: dict[str, str]) -> Plan:
    """The decision: fork or exec, with which environment and argument vector."""
    env = base_env | dict(message["env"])
    kind = str(message["kind"])
    if kind == "exec":
        return Plan(kind, "exec", env, list(message["argv"]))
    if kind == "session":
        return Plan(kind, "fork", env)
    cwd = str(message["cwd"])
    place = os.path.dirname(os.path.join(cwd, message["path"])) if kind == "script" else cwd
    if run.can_fork(env, place, int(message["uid"])):
        return Plan(kind, "fork", env)
    return Plan(kind, "exec", env, _exec_argv(kind, message))


def _exec_argv(kind: str, message: dict[str, Any]) -> list[str]:
    """The same run through the real interpreter."""
    python = PYTHON if os.path.exists(PYTHON) else "python3"  # an image of its own may have it elsewhere
    if kind == "source":
        # With input of its own the program comes on another descriptor; else as `python -` takes it.
        return [python, "-u", "/dev/fd/3" if message["stdin"] else "-", *message["argv"]]
    if kind == "script":
        return [python, "-u", message["path"], *message["argv"]]
    bootstrap = (
        "import sys; sys.path.append('/usr/lib/tidepool'); "
        "from tidepool.engine.guest import imports; imports.RECORD.begin(); from tidepool.engine.guest import tests; "
    )
    return [python, "-c", bootstrap + f"tests.run_pytest({message['paths']!r}, 3)"]


def adopts() -> bool:
    """Whether orphans of a run stay below its leader; gVisor's kernel of 2022 gives them to pid 1."""
    try:
        syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
    except OSError:
        return False
    return True


def settle() -> None:
    """What every leader has in common, whatever it will run: a session and limits of its own."""
    os.setsid()
    with contextlib.suppress(OSError):  # a kernel that lacks it: see `adopts`
        syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 1)  # else the next file would not be ours to write
    fd = os.open("/proc/self/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
    os.write(fd, b"%d" % OOM_SCORE_ADJ)
    os.close(fd)
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(1024, hard), hard))


def start(chosen: Plan, message: dict[str, Any], fds: list[int], control: socket.socket) -> NoReturn:
    """In the forked child: take the descriptors, the user, the place; then run."""
    # Closed by exec: the way to say that there was none.
    note = fcntl.fcntl(control, fcntl.F_DUPFD_CLOEXEC, 200)
    what = ""
    try:
        _prepare(message, fds, chosen, note)
        if chosen.basis == "fork":
            os.close(note)
            _run_forked(chosen, message)
        what = chosen.argv[0]
        if message.get("terminal"):
            rows, columns = message["terminal"]
            terminal.enter(terminal.SIZE.pack(rows, columns, 0, 0), note)
        if message.get("charts"):
            # For want of a hook in an interpreter that is not ours: matplotlib's own way to name a backend.
            chosen.env.setdefault("MPLBACKEND", charts.BACKEND)
            chosen.env[charts.OWNER] = str(os.getpid())
        # Python ignores these two, and so would whoever is executed.
        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        os.execvpe(what, chosen.argv, chosen.env)
    except OSError as error:
        text, code = refusal(what, error, message)
        os.write(2, text + b"\n")
        refused = {"id": message["id"], "refused": text.decode("utf-8", "replace")[:4000]}
        frames.send(socket.socket(fileno=note), refused)
        os._exit(code)


def refusal(program: str, error: OSError, message: dict[str, Any]) -> tuple[bytes, int]:
    """Why a run could not be started, and the exit code that a shell has for it; `program` once there was a place."""
    where = program or os.fsdecode(error.filename or message["cwd"])
    text = f"{where}: {error.strerror}".encode("utf-8", "surrogateescape")
    return text, 126 if isinstance(error, PermissionError) else 127


def descriptors(chosen: Plan, message: dict[str, Any], fds: list[int]) -> list[int]:
    """What a run has as 0, 1, 2, …, at high numbers: one of those received may itself be 3."""
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 100) for fd in fds]
    if not message["stdin"] and chosen.kind == "source" and chosen.basis == "exec":
        high.insert(0, high[2])  # `python -` reads its program from stdin
    elif not message["stdin"]:
        # Our own: a null device from the host would be an inode (and its locks) shared with other sandboxes.
        high.insert(0, os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC))
    return high


def _prepare(message: dict[str, Any], fds: list[int], chosen: Plan, note: int) -> None:
    high = descriptors(chosen, message, fds)
    for number, fd in enumerate(high):
        os.dup2(fd, number, inheritable=True)
    syscalls.close_range(len(high), note - 1)
    syscalls.close_range(note + 1)
    as_user(int(message["uid"]), int(message["gid"]))
    os.setpriority(os.PRIO_PROCESS, 0, 0)  # init's own is higher
    os.chdir(str(message["cwd"]))


def as_user(uid: int, gid: int) -> None:
    """Become the sandbox's user for good: groups, ids, and dumpable again as a fresh process is."""
    os.setgroups([gid])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 1)


def put_environment(env: dict[str, str]) -> None:
    """Make this process's environment this one, if it is not already."""
    global _environment
    if env != _environment:
        os.environ.clear()
        os.environ.update(env)
        _environment = env.copy()


def _run_forked(chosen: Plan, message: dict[str, Any]) -> NoReturn:
    put_environment(chosen.env)
    if chosen.kind == "session":
        session.run()
    if chosen.kind == "source":
        with os.fdopen(3, "rb") as file:
            source = file.read()
        if message.get("charts"):
            charts.watch(imports.AFTER_FORK, imports.AFTER_IMPORT)
        run.run_source(source, ["-", *message["argv"]], "<stdin>")
    if chosen.kind == "script":
        with open(message["path"], "rb") as file:
            source = file.read()
        run.run_source(source, [message["path"], *message["argv"]], message["path"])
    tests.run_pytest(list(message["paths"]), 3)
