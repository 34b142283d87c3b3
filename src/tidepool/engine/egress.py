"""The engine's end of the egress process: starts it, has sandboxes served by it, and ends it.

Neither side imports the other: the frames are plain JSON, one answer for each (`tidepool.egress.control` has the
table). Index credentials are read by that process itself before it drops root; the engine never sees them.
"""

import asyncio
import concurrent.futures.thread  # noqa: F401 - used by asyncio.to_thread, once root is gone and files may be out of reach
import contextlib
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from tidepool.engine.errors import InvalidSpec, SetupFailed
from tidepool.engine.guest import syscalls
from tidepool.engine.spec import SandboxSpec

log = logging.getLogger("tidepool.engine.egress")

MAX_FRAME_BYTES = 64 << 10
ANSWER_TIMEOUT_S = 10.0
_EXIT_TIMEOUT_S = 10.0
_GONE = b'{"ok": false, "error": "the egress process is gone"}'


class Egress:
    """The egress process, from the event loop; safe for concurrent tasks.

    Args:
        sock: Connected SOCK_SEQPACKET socket to the process; belongs to this object.
        process: Waited for at `close` when given.
        renewals: Where it sends a new `sock` when what served was killed.
    """

    def __init__(
        self,
        sock: socket.socket,
        process: "subprocess.Popen[bytes] | None" = None,
        renewals: socket.socket | None = None,
    ) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._process = process
        self._renewals = renewals
        self.on_renewal: Callable[[], None] = lambda: None
        """Called when another process serves in the place of one that was killed: it serves nobody yet."""
        self._one_at_a_time = asyncio.Lock()
        self._served: set[str] = set()
        self._watched = -1

    @classmethod
    def launch(cls, state_dir: Path, uid: int, options: Sequence[str] = ()) -> "Egress":
        """Start the process, as root: it reads pip's, uv's and npm's settings of this user and becomes `uid`.

        `options` say what the operator opens of his own network (`python -m tidepool.egress --help`). Its log, one
        JSON line per decision, alternates between `egress.log` and `egress.log.1` in `state_dir`.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        renewals, their_renewals = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        logs = [_open_log(state_dir / name) for name in ("egress.log", "egress.log.1")]
        argv = [sys.executable, "-m", "tidepool.egress", "--control-fd", str(theirs.fileno())]
        argv += ["--renew-fd", str(their_renewals.fileno())]
        argv += [word for fd in logs for word in ("--log-fd", str(fd))]
        argv += options
        if os.geteuid() == 0:
            argv += ["--drop-to", f"{uid}:{uid}"]
        with theirs, their_renewals:
            process = subprocess.Popen(
                argv,
                pass_fds=[theirs.fileno(), their_renewals.fileno(), *logs],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                preexec_fn=_no_new_privileges,
                start_new_session=True,  # it ends when we hang up, not at a Ctrl-C before we have cleaned up
            )
        for fd in logs:
            os.close(fd)
        return cls(ours, process, renewals)

    def watch(self) -> None:
        """Notice when what serves is killed and replaced, or ends for good; call it inside the event loop.

        Until it is asked to serve them again no sandbox has a network: the listening sockets have ended with it.
        """
        assert self._process is not None
        assert self._renewals is not None
        self._renewals.setblocking(False)
        asyncio.get_running_loop().add_reader(self._renewals, self._renewed)
        self._watched = os.pidfd_open(self._process.pid)
        asyncio.get_running_loop().add_reader(self._watched, self._ended)

    def _renewed(self) -> None:
        assert self._renewals is not None
        data, fds, _, _ = socket.recv_fds(self._renewals, 64, 1)
        if not data or len(fds) != 1:
            asyncio.get_running_loop().remove_reader(self._renewals)
            return
        log.error(
            "what served the network of sandboxes was killed; another process does, and is told who they are"
        )
        self._sock.close()  # whoever waits for an answer on it has found its end
        self._sock = socket.socket(fileno=fds[0])
        self._sock.setblocking(False)
        self._served.clear()
        self.on_renewal()

    def serves(self, sandbox_id: str) -> bool:
        """Whether a sandbox has a listening socket, whatever its rights."""
        return sandbox_id in self._served

    def need(self) -> None:
        """Make sure that there is a process to serve anything.

        Raises:
            SetupFailed: It is gone.
        """
        if self._sock.fileno() < 0:
            raise SetupFailed("egress: the egress process is gone; start the server again")

    async def serve(self, sandbox_id: str, listener: socket.socket, spec: SandboxSpec) -> str | None:
        """Have a sandbox served on a listening socket of its network namespace, which the caller still closes.

        Returns the certificate (PEM) of the authority that vouches for hosts of its secrets; None without secrets.

        Raises:
            InvalidSpec: The allow-list or a secret cannot be taken.
            SetupFailed: The process refused, or is gone.
        """
        frame = {"op": "serve", "id": sandbox_id, **_rights(spec)}
        was_served = sandbox_id in self._served
        self._served.add(sandbox_id)  # before: a caller that is cancelled does not learn how it ended
        try:
            # A copy: when this caller is cancelled the frame is still sent, and must not carry a reused number.
            return _authority(await self._ask(frame, [os.dup(listener.fileno())]))
        except (InvalidSpec, SetupFailed):
            if not was_served:
                self._served.discard(sandbox_id)
            raise

    async def change(self, sandbox_id: str, spec: SandboxSpec) -> str | None:
        """Give a served sandbox other rights; what it does that they do not allow is cut when this returns.

        Raises:
            InvalidSpec, SetupFailed: As `serve`; its rights are as before.
        """
        return _authority(await self._ask({"op": "change", "id": sandbox_id, **_rights(spec)}, []))

    async def stop(self, sandbox_id: str) -> None:
        """Cut a sandbox off: its socket and all its connections are closed when this returns.

        Never raises: a process that does not answer has lost its control socket, and ends with all it served.
        """
        if sandbox_id in self._served:
            await self._exchange_shielded({"op": "close", "id": sandbox_id}, [])
            self._served.discard(sandbox_id)

    async def identity(self) -> str:
        """A hash that changes when packages may come from elsewhere.

        Raises:
            SetupFailed: The process is gone.
        """
        return str((await self.stats())["identity"])

    async def stats(self) -> dict[str, Any]:
        """Counts, and where packages come from: `identity`, `indexes` (URLs), `ignored` (sentences).

        Raises:
            SetupFailed: The process is gone.
        """
        return await self._ask({"op": "stats"}, [])

    async def close(self) -> None:
        """Hang up: the process closes everything it serves and exits; returns when it has.

        Raises:
            subprocess.TimeoutExpired: It has not.
        """
        self._unwatch()
        self._sock.close()
        if self._process is not None:
            await asyncio.to_thread(self._process.wait, _EXIT_TIMEOUT_S)

    def _ended(self) -> None:
        self._unwatch()
        self._sock.close()
        assert self._process is not None
        log.critical(
            "the egress process ended with status %s: the %d sandboxes that had a network have none any more, and new"
            " ones get none until the server is started again",
            self._process.wait(),
            len(self._served),
        )

    def _unwatch(self) -> None:
        if self._renewals is not None:
            with contextlib.suppress(RuntimeError):
                asyncio.get_running_loop().remove_reader(self._renewals)
            self._renewals.close()
            self._renewals = None
        if self._watched >= 0:
            with contextlib.suppress(RuntimeError):  # the loop is closed already
                asyncio.get_running_loop().remove_reader(self._watched)
            os.close(self._watched)
            self._watched = -1

    async def _ask(self, frame: dict[str, Any], fds: list[int]) -> dict[str, Any]:
        reply = await self._exchange_shielded(frame, fds)
        if reply.get("is_refused"):
            raise InvalidSpec(f"network: {reply['error']}")
        if not reply["ok"]:
            raise SetupFailed(f"egress: {frame['op']}: {reply['error']}")
        return reply

    async def _exchange_shielded(self, frame: dict[str, Any], fds: list[int]) -> dict[str, Any]:
        # A caller that is cancelled must not leave an answer behind that the next one takes for its own.
        return await asyncio.shield(asyncio.ensure_future(self._exchange(frame, fds)))

    async def _exchange(self, frame: dict[str, Any], fds: list[int]) -> dict[str, Any]:
        data = msgspec.json.encode(frame)
        try:
            if len(data) > MAX_FRAME_BYTES:
                return {"ok": False, "error": "allow-list and secrets are too long", "is_refused": True}
            async with self._one_at_a_time, asyncio.timeout(ANSWER_TIMEOUT_S):
                # Never full: the frame before this one has been answered.
                socket.send_fds(self._sock, [data], fds)
                answer = await asyncio.get_running_loop().sock_recv(self._sock, MAX_FRAME_BYTES)
                return msgspec.json.decode(answer or _GONE, type=dict[str, Any])
        except (OSError, TimeoutError) as error:
            self._sock.close()
            return {"ok": False, "error": f"the egress process does not answer ({error!r})"}
        finally:
            for fd in fds:
                os.close(fd)


def _rights(spec: SandboxSpec) -> dict[str, Any]:
    secrets = [
        {"placeholder": secret.placeholder, "value": secret.value, "hosts": list(secret.hosts)}
        for secret in spec.secrets.values()
    ]
    return {"policy": spec.network, "allow": list(spec.network_allow), "secrets": secrets}


def _authority(reply: dict[str, Any]) -> str | None:
    found = reply.get("authority")
    return None if found is None else str(found)


def _open_log(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def _no_new_privileges() -> None:
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
