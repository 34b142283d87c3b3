"""The engine's end of the egress process's control socket, and what a sandbox is told about it.

Neither side imports the other: the frames are plain JSON, one answer for each (see `tidepool.egress.control`). The
engine never sees index credentials.
"""

import asyncio
import os
import socket
from typing import Any, Literal

import msgspec

from tidepool.engine.errors import SetupFailed

PORT = 3128
"""Where the proxy listens on the sandbox's own 127.0.0.1."""
MAX_FRAME_BYTES = 64 << 10
ANSWER_TIMEOUT_S = 10.0


class EgressControl:
    """Asks the egress process to serve and to leave sandboxes; safe for concurrent tasks.

    Args:
        sock: Connected SOCK_SEQPACKET socket; belongs to this object.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._one_at_a_time = asyncio.Lock()

    async def serve(self, sandbox_id: str, policy: Literal["none", "packages"], listener: int) -> None:
        """Has a sandbox served on a listening socket of its network namespace; the caller keeps its own copy's fd.

        Raises:
            SetupFailed: It refused, or is gone.
        """
        # A copy: when this caller is cancelled the frame is still sent, and must not carry a reused number.
        await self._ask({"op": "serve", "id": sandbox_id, "policy": policy}, [os.dup(listener)])

    async def close(self, sandbox_id: str) -> bool:
        """Ends a sandbox's access; all its connections are cut when this returns. False if it had none.

        Raises:
            SetupFailed: The egress process is gone, and all access with it.
        """
        return bool((await self._ask({"op": "close", "id": sandbox_id}))["served"])

    async def stats(self) -> dict[str, Any]:
        """Counts, and where packages come from: `identity` (a hash), `indexes` (URLs), `ignored` (sentences).

        Raises:
            SetupFailed: The egress process is gone.
        """
        return await self._ask({"op": "stats"})

    def hang_up(self) -> None:
        """Ends the egress process: it closes every sandbox's access and exits."""
        self._sock.close()

    async def _ask(self, frame: dict[str, str], fds: list[int] | None = None) -> dict[str, Any]:
        # Shielded: a caller that is cancelled must not leave an answer behind that the next one takes for its own.
        reply = await asyncio.shield(asyncio.ensure_future(self._exchange(frame, fds or [])))
        if not reply["ok"]:
            raise SetupFailed(f"egress: {frame['op']}: {reply['error']}")
        return reply

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


_GONE = b'{"ok": false, "error": "the egress process is gone"}'


def environment(port: int = PORT) -> dict[str, str]:
    """Variables that make pip, uv and npm inside a sandbox use the proxy."""
    place = f"http://127.0.0.1:{port}"
    return {
        "PIP_INDEX_URL": f"{place}/simple/",
        "UV_DEFAULT_INDEX": f"{place}/simple/",
        "npm_config_registry": f"{place}/npm/",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "npm_config_audit": "false",
        "npm_config_fund": "false",
        "npm_config_update_notifier": "false",
    }
