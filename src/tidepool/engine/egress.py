"""The engine's end of the egress process: starts it, has sandboxes served by it, and ends it.

Neither side imports the other: the frames are plain JSON, one answer for each (`tidepool.egress.control` has the
table). Index credentials are read by that process itself before it drops root; the engine never sees them.
"""

import asyncio
import concurrent.futures.thread  # noqa: F401 - used by asyncio.to_thread, once root is gone and files may be out of reach
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import msgspec

from tidepool.engine.errors import SetupFailed
from tidepool.engine.guest import syscalls

MAX_FRAME_BYTES = 64 << 10
ANSWER_TIMEOUT_S = 10.0
_EXIT_TIMEOUT_S = 10.0
_GONE = b'{"ok": false, "error": "the egress process is gone"}'


class Egress:
    """The egress process, from the event loop; safe for concurrent tasks.

    Args:
        sock: Connected SOCK_SEQPACKET socket to the process; belongs to this object.
        process: Waited for at `close` when given.
    """

    def __init__(self, sock: socket.socket, process: "subprocess.Popen[bytes] | None" = None) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._process = process
        self._one_at_a_time = asyncio.Lock()

    @classmethod
    def launch(cls, state_dir: Path, uid: int) -> "Egress":
        """Start the process, as root: it reads pip's, uv's and npm's settings of this user and becomes `uid`.

        Its log, one JSON line per decision, alternates between `egress.log` and `egress.log.1` in `state_dir`.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        logs = [_open_log(state_dir / name) for name in ("egress.log", "egress.log.1")]
        argv = [sys.executable, "-m", "tidepool.egress", "--control-fd", str(theirs.fileno())]
        argv += [word for fd in logs for word in ("--log-fd", str(fd))]
        if os.geteuid() == 0:
            argv += ["--drop-to", f"{uid}:{uid}"]
        with theirs:
            process = subprocess.Popen(
                argv,
                pass_fds=[theirs.fileno(), *logs],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                preexec_fn=_no_new_privileges,
                start_new_session=True,  # it ends when we hang up, not at a Ctrl-C before we have cleaned up
            )
        for fd in logs:
            os.close(fd)
        return cls(ours, process)

    async def serve(
        self,
        sandbox_id: str,
        listener: socket.socket,
        port: int,
        policy: Literal["none", "packages"] = "packages",
    ) -> dict[str, str]:
        """Have a sandbox served on a listening socket of its network namespace, which the caller still closes.

        Returns the variables that make pip, uv and npm inside use it.

        Raises:
            SetupFailed: The process refused, or is gone.
        """
        # A copy: when this caller is cancelled the frame is still sent, and must not carry a reused number.
        await self._ask({"op": "serve", "id": sandbox_id, "policy": policy}, [os.dup(listener.fileno())])
        return environment(port)

    async def stop(self, sandbox_id: str) -> None:
        """Cut a sandbox off: its socket and all its connections are closed when this returns.

        Never raises: a process that does not answer has lost its control socket, and ends with all it served.
        """
        await self._exchange_shielded({"op": "close", "id": sandbox_id}, [])

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
        self._sock.close()
        if self._process is not None:
            await asyncio.to_thread(self._process.wait, _EXIT_TIMEOUT_S)

    async def _ask(self, frame: dict[str, str], fds: list[int]) -> dict[str, Any]:
        reply = await self._exchange_shielded(frame, fds)
        if not reply["ok"]:
            raise SetupFailed(f"egress: {frame['op']}: {reply['error']}")
        return reply

    async def _exchange_shielded(self, frame: dict[str, str], fds: list[int]) -> dict[str, Any]:
        # A caller that is cancelled must not leave an answer behind that the next one takes for its own.
        return await asyncio.shield(asyncio.ensure_future(self._exchange(frame, fds)))

    async def _exchange(self, frame: dict[str, str], fds: list[int]) -> dict[str, Any]:
        try:
            async with self._one_at_a_time, asyncio.timeout(ANSWER_TIMEOUT_S):
                # Never full: the frame before this one has been answered.
                socket.send_fds(self._sock, [msgspec.json.encode(frame)], fds)
                answer = await asyncio.get_running_loop().sock_recv(self._sock, MAX_FRAME_BYTES)
                return msgspec.json.decode(answer or _GONE, type=dict[str, Any])
        except (OSError, TimeoutError) as error:
            self._sock.close()
            return {"ok": False, "error": f"the egress process does not answer ({error!r})"}
        finally:
            for fd in fds:
                os.close(fd)


def environment(port: int) -> dict[str, str]:
    """Variables that make pip, uv and npm inside a sandbox use the proxy on its loopback."""
    place = f"http://127.0.0.1:{port}"
    return {
        "PIP_INDEX_URL": f"{place}/simple/",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "UV_DEFAULT_INDEX": f"{place}/simple/",
        "npm_config_registry": f"{place}/npm/",
        "npm_config_audit": "false",
        "npm_config_fund": "false",
        "npm_config_update_notifier": "false",
    }


def _open_log(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def _no_new_privileges() -> None:
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
