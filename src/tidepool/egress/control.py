"""The engine's side door: one frame, one answer, over a SOCK_SEQPACKET socket; listening sockets by SCM_RIGHTS.

    {"op": "serve", "id": ID, "policy": POLICY, "allow": [ENTRY], "secrets": [SECRET]} with a listening socket
        -> {"ok": true}, and where there have been secrets "authority": PEM
    {"op": "change", "id": ID, "policy": POLICY, "allow": [ENTRY], "secrets": [SECRET] or null (as they are)}
        -> as serve, and "cut": int
    {"op": "close", "id": ID} -> {"ok": true, "served": bool}
    {"op": "stats"} -> {"ok": true, "sandboxes": int, "connections": int, "requests": int, "refused": int,
                        "bytes": int, "identity": str, "indexes": [str], "ignored": [str]}
    whatever went wrong -> {"ok": false, "error": str}, and "is_refused": true where policy or secrets cannot be taken

POLICY is "none", "packages", "allow" or "all"; SECRET is {"placeholder": str, "value": str, "hosts": [str]}.

The engine is trusted to name sandboxes, not to send well-formed frames. When it hangs up, everything is closed.
"""

import array
import asyncio
import os
import socket
from typing import Annotated

import msgspec

from tidepool.egress import policy, vault
from tidepool.egress.authority import NoAuthority
from tidepool.egress.indexes import HostIndexes
from tidepool.egress.proxy import Proxy
from tidepool.egress.rights import Rights

MAX_FRAME_BYTES = 64 << 10

_Id = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")]


class Secret(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One secret of a sandbox."""

    placeholder: str
    value: str
    hosts: tuple[str, ...]

    def __repr__(self) -> str:  # the value must not get into any message
        return f"Secret({self.placeholder!r})"


class Serve(msgspec.Struct, tag_field="op", tag="serve", forbid_unknown_fields=True, frozen=True):
    """Serve a sandbox on the listening socket that comes with this frame."""

    id: _Id
    policy: policy.Kind
    allow: tuple[str, ...] = ()
    secrets: tuple[Secret, ...] = ()


class Change(msgspec.Struct, tag_field="op", tag="change", forbid_unknown_fields=True, frozen=True):
    """Give a sandbox other rights at once; uses that they do not give are cut."""

    id: _Id
    policy: policy.Kind
    allow: tuple[str, ...] = ()
    secrets: tuple[Secret, ...] | None = None


class Close(msgspec.Struct, tag_field="op", tag="close", forbid_unknown_fields=True, frozen=True):
    """End a sandbox's listening socket and connections."""

    id: _Id


class Stats(msgspec.Struct, tag_field="op", tag="stats", forbid_unknown_fields=True, frozen=True):
    """Report counts and where packages come from."""


_decoder = msgspec.json.Decoder(Serve | Change | Close | Stats)


class ControlServer:
    """Answers the engine until it hangs up.

    Args:
        sock: The egress end of a connected SOCK_SEQPACKET pair; belongs to this object.
    """

    def __init__(self, sock: socket.socket, proxy: Proxy, indexes: HostIndexes) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._proxy = proxy
        self._about = {
            "identity": indexes.identity(),
            "indexes": [index.url for index in (*indexes.python, *indexes.npm)],
            "ignored": list(indexes.ignored),
        }

    async def run(self) -> None:
        """Serves frames in order; returns when the engine has hung up and everything is closed."""
        loop = asyncio.get_running_loop()
        try:
            while (received := await self._receive()) is not None:
                answer = await self._answer(*received)
                await loop.sock_sendall(self._sock, msgspec.json.encode(answer))
        except ConnectionError:
            return  # hung up between question and answer
        finally:
            await self._proxy.close_all()
            self._sock.close()

    async def _receive(self) -> tuple[bytes, list[int]] | None:
        while True:
            try:
                frame, fds, truncated = _receive_frame(self._sock)
            except BlockingIOError:
                await _readable(self._sock)
                continue
            if not frame:
                _close_all(fds)
                return None
            return (b"" if truncated else frame), fds

    async def _answer(self, frame: bytes, fds: list[int]) -> dict[str, object]:
        try:
            match _decoder.decode(frame):
                case Serve() as order if len(fds) == 1:
                    return {"ok": True, **self._serve(order, fds.pop())}
                case Change() as order if not fds:
                    return {"ok": True, **self._change(order)}
                case Close(sandbox_id) if not fds:
                    return {"ok": True, "served": await self._proxy.close(sandbox_id)}
                case Stats() if not fds:
                    return {"ok": True, **self._proxy.stats(), **self._about}
            return {"ok": False, "error": "serve comes with exactly one file descriptor, all else with none"}
        except (policy.BadHost, NoAuthority) as error:
            return {"ok": False, "error": str(error), "is_refused": True}
        except (msgspec.DecodeError, ValueError, OSError) as error:
            return {"ok": False, "error": str(error)}
        finally:
            _close_all(fds)

    def _serve(self, order: Serve, fd: int) -> dict[str, object]:
        try:
            listener = socket.socket(fileno=fd)
        except OSError:
            os.close(fd)
            raise ValueError("the file descriptor is not a socket") from None
        try:
            rights = Rights(order.id, policy.parse_policy(order.policy, order.allow), _vault(order.secrets))
            self._proxy.open(order.id, rights, listener)
        except (ValueError, OSError):
            listener.close()
            raise
        return _certificate(rights)

    def _change(self, order: Change) -> dict[str, object]:
        rights = self._proxy.rights(order.id)
        secrets = None if order.secrets is None else _vault(order.secrets)
        cut = rights.change(policy.parse_policy(order.policy, order.allow), secrets)
        return {"cut": cut, **_certificate(rights)}


def _vault(secrets: tuple[Secret, ...]) -> vault.Vault:
    return vault.Vault(tuple(vault.make_secret(one.placeholder, one.value, one.hosts) for one in secrets))


def _certificate(rights: Rights) -> dict[str, object]:
    return {"authority": rights.authority.certificate} if rights.authority else {}


def _receive_frame(sock: socket.socket) -> tuple[bytes, list[int], bool]:
    """One frame, the file descriptors that came with it, and whether any of it was cut off."""
    fds = array.array("i")
    space = socket.CMSG_SPACE(4 * fds.itemsize)
    frame, ancillary, flags, _ = sock.recvmsg(MAX_FRAME_BYTES, space, socket.MSG_CMSG_CLOEXEC)
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    return frame, list(fds), bool(flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC))


def _close_all(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)
    fds.clear()


async def _readable(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_reader(sock, lambda: None if ready.done() else ready.set_result(None))
    try:
        await ready
    finally:
        loop.remove_reader(sock)
