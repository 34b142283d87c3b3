"""Finds the local server of this user, or starts it: one per runtime directory, one start at a time.

No request of a caller passes here. The runtime directory is ours alone or nothing in it is believed; the
protocol number decides whether a server that is found may be used, its version does not.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from daytona_sdk import _rim
from daytona_sdk.common.errors import DaytonaConnectionError, DaytonaError
from tidepool import __version__
from tidepool.wire import paths

PROTOCOL = 1
"""What SDK and local server must agree on; versions may differ while it is the same."""
IDLE_SECONDS = 60
"""A server started here exits by itself after so long without work."""
START_TIMEOUT = 30.0
"""Seconds until a started server must be ready."""
_HELLO_TIMEOUT = 5.0
_MAX_SOCKET_PATH = 107
# The server becomes a child of init, not of this program, which then need not wait for it. `-I -S` keeps this
# second interpreter small and free of the working directory; it prints the server's process id and is gone.
_LAUNCH = "import os,sys; print(os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ), flush=True)"
_CREDENTIALS = ("DAYTONA_API_KEY", "DAYTONA_JWT_TOKEN")
_OFFICIAL = ("daytona-sdk", "daytona")


@dataclass(frozen=True)
class Places:
    """Where the local server's things are."""

    directory: str

    @property
    def socket(self) -> str:
        """The server listens here."""
        return os.path.join(self.directory, "tidepool.sock")

    @property
    def lock(self) -> str:
        """Held while a server is being started."""
        return os.path.join(self.directory, "tidepool.lock")

    @property
    def log(self) -> str:
        """Standard error of the server started last."""
        return os.path.join(self.directory, "tidepool.log")


def places(environ: Mapping[str, str], uid: int) -> Places:
    """TIDEPOOL_RUNTIME_DIR, else /run/tidepool-0 for root, XDG_RUNTIME_DIR/tidepool or /tmp/tidepool-UID.

    Raises:
        DaytonaError: The path is too long for a Unix socket.
    """
    if given := environ.get("TIDEPOOL_RUNTIME_DIR"):
        directory = os.path.abspath(given)
    elif uid == 0:
        directory = f"/run/tidepool-{uid}"
    elif base := environ.get("XDG_RUNTIME_DIR"):
        directory = os.path.join(base, "tidepool")
    else:
        directory = f"/tmp/tidepool-{uid}"
    found = Places(directory)
    if len(os.fsencode(found.socket)) > _MAX_SOCKET_PATH:
        raise DaytonaError(
            f"{found.socket} is longer than a Unix socket's path may be ({_MAX_SOCKET_PATH} bytes); "
            "set TIDEPOOL_RUNTIME_DIR to a shorter directory."
        )
    return found


def ensure() -> str:
    """The socket of a running local server, which is started if there is none.

    Raises:
        DaytonaError: The runtime directory cannot be trusted, or another protocol is spoken there.
        DaytonaConnectionError: The server could not be started; the message has its own sentence.
    """
    where = places(os.environ, os.geteuid())
    _own_directory(where.directory)
    if _hello(where.socket):
        return where.socket
    with _lock(where.lock):
        if not _hello(where.socket):  # another program may have started it meanwhile
            start(where, START_TIMEOUT)
    return where.socket


def _own_directory(path: str) -> None:
    """Make it, or make sure that nobody else can put anything into it."""
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
    except OSError as exc:
        raise DaytonaError(
            f"The local server's directory {path} cannot be made ({exc.strerror}); set TIDEPOOL_RUNTIME_DIR."
        ) from exc
    found = os.lstat(path)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise DaytonaError(
            f"{path} is not a directory that belongs to uid {os.geteuid()} alone (owner {found.st_uid}, "
            f"{stat.filemode(found.st_mode)}): a server found there could be somebody else's. "
            "Remove it, or set TIDEPOOL_RUNTIME_DIR to another directory."
        )


def _hello(socket_path: str) -> bool:
    """Whether a server with our protocol answers; False when none listens.

    Raises:
        DaytonaError: Something else answers.
    """
    if not os.path.exists(socket_path):
        return False
    import httpcore

    timeout = dict.fromkeys(("connect", "read", "write", "pool"), _HELLO_TIMEOUT)
    try:
        with httpcore.ConnectionPool(uds=socket_path, network_backend=_rim.backend()) as pool:
            answer = pool.request(
                "GET", "http://localhost" + paths.API + paths.HANDSHAKE, extensions={"timeout": timeout}
            )
    except (httpcore.ConnectError, httpcore.RemoteProtocolError, httpcore.ReadError):
        return False  # nobody listens, or the last one is just leaving
    except httpcore.TimeoutException as exc:
        raise DaytonaConnectionError(
            f"The local server at {socket_path} accepts connections but did not answer within "
            f"{_HELLO_TIMEOUT:g} s; end it and try again."
        ) from exc
    check_protocol(socket_path, answer.status, answer.content)
    return True


def check_protocol(socket_path: str, status: int, body: bytes) -> None:
    """Refuse what answers the handshake but is no server of ours.

    Raises:
        DaytonaError: It is none, or one that speaks another protocol.
    """
    import json

    try:
        hello: Any = json.loads(body) if status == 200 else None
        protocol, version, pid = hello["protocol"], hello["version"], hello["pid"]
    except (ValueError, TypeError, KeyError) as exc:
        raise DaytonaError(
            f"What listens at {socket_path} is no Tidepool server (it answered {status})."
        ) from exc
    if protocol != PROTOCOL:
        raise DaytonaError(
            f"The local server (version {version}, process {pid}) speaks protocol {protocol}, this SDK "
            f"(version {__version__}) speaks {PROTOCOL}. It exits when it has had no work for "
            f"{IDLE_SECONDS} s; or end process {pid}, or set TIDEPOOL_RUNTIME_DIR to have another beside it."
        )


@contextlib.contextmanager
def _lock(path: str) -> Iterator[None]:
    """Hold the start lock; the kernel drops it with the process that holds it."""
    import fcntl

    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        end = time.monotonic() + START_TIMEOUT + _HELLO_TIMEOUT
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise DaytonaConnectionError(
                        f"Another program has been starting the local server for {START_TIMEOUT:g} s: "
                        f"it holds the lock on {path}."
                    ) from None
                time.sleep(0.02)
        yield
    finally:
        os.close(fd)


def start(where: Places, timeout: float) -> None:
    """Start a server and return when it is ready. Only for who holds the lock.

    Raises:
        DaytonaConnectionError: It could not start, or was not ready within `timeout` seconds.
    """
    import subprocess

    with contextlib.suppress(FileNotFoundError):
        os.unlink(where.socket)  # nobody answered there, and nobody else may start one now
    server = [
        sys.executable,
        "-P",
        "-m",
        "tidepool.server",
        "--uds",
        where.socket,
        "--idle",
        str(IDLE_SECONDS),
    ]
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    log = os.open(where.log, flags, 0o600)
    try:
        launcher = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _LAUNCH, *server],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd="/",
            env=_environment(os.environ),
            start_new_session=True,
        )
    finally:
        os.close(log)
    with launcher:
        _while_it_starts()
        if launcher.stdout is None:
            raise AssertionError("the launcher was started with a pipe")
        _await_ready(launcher.stdout.fileno(), where.log, timeout)


def _while_it_starts() -> None:
    """What this program has to do anyway, done while another processor starts the server."""
    import warnings
    from importlib.metadata import PackageNotFoundError, version

    import httpcore  # noqa: F401 (the first call needs it)

    for name in _OFFICIAL:
        with contextlib.suppress(PackageNotFoundError):
            warnings.warn(
                f"The official package {name} {version(name)} is installed in this environment too; both have "
                f"a module daytona_sdk. This is Tidepool's, from {os.path.dirname(__file__)}.",
                stacklevel=2,
            )


def _await_ready(fd: int, log: str, timeout: float) -> None:
    """Read the launcher's line with the process id, then the server's own that says it is ready."""
    import signal

    end = time.monotonic() + timeout
    pid = b""
    try:
        pid = _read_line(fd, end)
        if _read_line(fd, end):
            return
        trouble = "exited before it was ready"
    except TimeoutError:
        trouble = f"was not ready within {timeout:g} s and was ended"
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGTERM)
    raise DaytonaConnectionError(f"The local server {trouble}: {_last_words(log)} (whole log: {log})")


def _read_line(fd: int, end: float) -> bytes:
    """One line, or nothing when the writer is gone.

    Raises:
        TimeoutError: It did not come before `end`, a time of the monotonic clock.
    """
    import select

    poll = select.poll()
    poll.register(fd, select.POLLIN)
    line = bytearray()
    while not line.endswith(b"\n"):
        if not poll.poll(max(0.0, end - time.monotonic()) * 1000):
            raise TimeoutError
        byte = os.read(fd, 1)
        if not byte:
            return b""
        line += byte
    return bytes(line)


def _last_words(log: str) -> str:
    """The last line that the server wrote: a sentence of its own, or what a traceback ends with."""
    with open(log, encoding="utf-8", errors="replace") as file:
        lines = [line.strip() for line in file if line.strip()]
    return lines[-1] if lines else "it said nothing"


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    """This program's, without its credentials; a relative PYTHONPATH keeps its meaning elsewhere."""
    given = {key: value for key, value in environ.items() if key not in _CREDENTIALS}
    if given.get("PYTHONPATH"):
        given["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, given["PYTHONPATH"].split(os.pathsep)))
    return given
