"""The server that sandboxes reach: one listening socket each, which lives in the sandbox's network namespace.

Who asks is known by the socket a connection came in on, never by what it says. Bounds are per sandbox, so
that one cannot take another's share; every decision becomes one log record without secrets.
"""

import asyncio
import errno
import re
import socket
import time
import traceback
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import h11

from tidepool.egress.connection import Connection, is_to_another
from tidepool.egress.forward import Forwarder
from tidepool.egress.packages import Answer, Asked, Packages
from tidepool.egress.refusal import Refusal
from tidepool.egress.relay import Relay
from tidepool.egress.rights import Rights
from tidepool.egress.stream import Plain
from tidepool.egress.target import parse_target

Log = Callable[[Mapping[str, object]], None]

MAX_CONNECTIONS = 64
"""Per sandbox; more wait in the listening socket's queue."""
MAX_REQUESTS = 16
"""Per sandbox, answered at the same time."""
REQUESTS_PER_S = 100.0
BURST = 500
"""Per sandbox; beyond rate and burst a request waits, so that the log cannot be flooded either."""
REQUEST_TIMEOUT_S = 1800.0


class Pace:
    """Lets `BURST` requests through at once and then `REQUESTS_PER_S`."""

    def __init__(self) -> None:
        self._due = 0.0

    def delay(self, now: float) -> float:
        """Seconds that a request arriving now has to wait; counts it."""
        self._due = max(self._due, now - BURST / REQUESTS_PER_S) + 1 / REQUESTS_PER_S
        return max(0.0, self._due - now)


@dataclass
class _Sandbox:
    id: str
    rights: Rights
    listener: socket.socket
    place: str
    pace: Pace = field(default_factory=Pace)
    connections: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MAX_CONNECTIONS))
    requests: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MAX_REQUESTS))
    accepting: asyncio.Task[None] | None = None
    talking: set[asyncio.Task[None]] = field(default_factory=set)


@dataclass
class _Note:
    """What becomes of a request's record."""

    verdict: str = "dropped"
    reason: str = ""
    more: dict[str, object] = field(default_factory=dict)

    def take(self, refusal: Refusal) -> None:
        self.verdict, self.reason = "refused" if refusal.status < 500 else "failed", refusal.sentence


class Proxy:
    """Serves any number of sandboxes.

    Args:
        packages: The package mirror.
        forwarder: Reaches other servers.
        log: Called once per decision with a flat record; must not block for long.
    """

    def __init__(self, packages: Packages, forwarder: Forwarder, log: Log) -> None:
        self._packages = packages
        self._forwarder = forwarder
        self._log = log
        self._sandboxes: dict[str, _Sandbox] = {}
        self._totals = {"requests": 0, "refused": 0, "bytes": 0}

    def rights(self, sandbox_id: str) -> Rights:
        """What a sandbox may do now.

        Raises:
            ValueError: It is not served.
        """
        if sandbox_id not in self._sandboxes:
            raise ValueError("this sandbox is not served")
        return self._sandboxes[sandbox_id].rights

    def open(self, sandbox_id: str, rights: Rights, listener: socket.socket) -> None:
        """Serves a sandbox on its socket, which now belongs to the proxy.

        Raises:
            ValueError: The socket is not a listening TCP socket, or this sandbox is already served.
        """
        if sandbox_id in self._sandboxes:
            raise ValueError("this sandbox is already served; close it first")
        host, port = _listening_on(listener)
        listener.setblocking(False)
        sandbox = _Sandbox(sandbox_id, rights, listener, f"http://{host}:{port}")
        self._sandboxes[sandbox_id] = sandbox
        sandbox.accepting = asyncio.get_running_loop().create_task(self._accept(sandbox))

    async def close(self, sandbox_id: str) -> bool:
        """Ends a sandbox's listening socket and every connection at once; False when it is not served."""
        sandbox = self._sandboxes.pop(sandbox_id, None)
        if sandbox is None:
            return False
        tasks = [*sandbox.talking, *([sandbox.accepting] if sandbox.accepting else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        sandbox.listener.close()
        return True

    async def close_all(self) -> None:
        """Ends every sandbox and every connection to the outside."""
        for sandbox_id in list(self._sandboxes):
            await self.close(sandbox_id)
        await self._packages.close()

    def stats(self) -> dict[str, int]:
        """Sandboxes and connections now; requests, refusals and body bytes since the start."""
        connections = sum(len(sandbox.talking) for sandbox in self._sandboxes.values())
        return {"sandboxes": len(self._sandboxes), "connections": connections, **self._totals}

    async def _accept(self, sandbox: _Sandbox) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await sandbox.connections.acquire()
            try:
                sock, _ = await loop.sock_accept(sandbox.listener)
            except OSError as error:
                sandbox.connections.release()
                if error.errno not in _PASSING:
                    self._log(
                        {"sandbox": sandbox.id, "verdict": "fault", "error": f"accept: {error.strerror}"}
                    )
                    return
                await asyncio.sleep(0.1)
                continue
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            task = loop.create_task(self._converse(sandbox, Connection(Plain(sock))))
            sandbox.talking.add(task)
            task.add_done_callback(sandbox.talking.discard)
            task.add_done_callback(lambda _: sandbox.connections.release())

    async def _converse(self, sandbox: _Sandbox, connection: Connection) -> None:
        try:
            while (request := await connection.receive()) is not None:
                await asyncio.sleep(sandbox.pace.delay(time.monotonic()))
                if request.method == b"CONNECT" and connection.origin is None:
                    inside = await self._tunnel(sandbox, connection, request)
                    if inside is not None:
                        await self._converse(sandbox, inside)
                    break
                async with sandbox.requests:
                    await self._serve(sandbox, connection, request)
                if not connection.next_cycle():
                    await connection.finish()
                    break
        except Refusal as refusal:
            self._record(sandbox, None, "refused", refusal.status, reason=refusal.sentence)
            await _last_words(connection, refusal)
        except (OSError, TimeoutError):
            return  # the client is gone: nothing is left to be decided, and nobody to be told
        finally:
            connection.close()

    async def _serve(self, sandbox: _Sandbox, connection: Connection, request: h11.Request) -> None:
        connection.body_bytes = connection.status = 0
        async with self._recorded(sandbox, connection, request) as note, asyncio.timeout(REQUEST_TIMEOUT_S):
            try:
                async with self._answer(sandbox, connection, request) as answer:
                    await connection.send(answer)
                note.verdict = "served"
            except Refusal as refusal:
                note.take(refusal)
                await connection.refuse(refusal)

    async def _tunnel(
        self, sandbox: _Sandbox, connection: Connection, request: h11.Request
    ) -> Connection | None:
        """What CONNECT asks for, to its end; or the connection inside, where requests are served one by one."""
        relay, inside = Relay(), None
        async with self._recorded(sandbox, connection, request) as note:
            try:
                inside = await self._forwarder.tunnel(sandbox.rights, connection, request, relay)
                note.verdict = "served"
            except Refusal as refusal:
                note.take(refusal)
                await connection.refuse(refusal, close=True)
                await connection.finish()
            finally:
                note.more = {"sent": relay.sent}
                connection.body_bytes = relay.received
        return inside

    @asynccontextmanager
    async def _answer(
        self, sandbox: _Sandbox, connection: Connection, request: h11.Request
    ) -> AsyncIterator[Answer]:
        """The answer to a request, from the mirror or from another server; raises Refusal."""
        if connection.origin is not None or (is_to_another(request) and sandbox.rights.policy.forwards):
            async with self._forwarder.answer(sandbox.rights, connection, request) as answer:
                yield answer
            return
        with sandbox.rights.using_packages():
            async with self._packages.answer(
                parse_target(request.target), _asked(sandbox, request)
            ) as answer:
                yield answer

    @asynccontextmanager
    async def _recorded(
        self, sandbox: _Sandbox, connection: Connection, request: h11.Request
    ) -> AsyncIterator["_Note"]:
        """One request, which leaves one record however it ends."""
        started, note = time.monotonic(), _Note()
        try:
            yield note
        except (OSError, TimeoutError) as error:
            note.reason = note.reason or type(error).__name__
            raise
        except asyncio.CancelledError:
            note.verdict, note.reason = "cut", "the sandbox may no longer do this, or is gone"
            raise
        except Exception:
            note.verdict, note.reason = "fault", traceback.format_exc(limit=-4)
            await connection.refuse(
                Refusal(500, "The proxy failed; this is its own fault and has been logged.")
            )
        finally:
            took = round((time.monotonic() - started) * 1000, 1)
            more: dict[str, object] = {"bytes": connection.body_bytes, "ms": took, "reason": note.reason}
            where = {"host": connection.origin.authority} if connection.origin else {}
            self._record(sandbox, request, note.verdict, connection.status, **more, **note.more, **where)

    def _record(
        self, sandbox: _Sandbox, request: h11.Request | None, verdict: str, status: int, **more: object
    ) -> None:
        self._totals["requests"] += 1
        self._totals["refused"] += verdict == "refused"
        size = more.get("bytes")
        self._totals["bytes"] += size if isinstance(size, int) else 0
        method = request.method.decode("ascii") if request is not None else "?"
        path = _logged(request.target) if request is not None else "?"
        record = {"time": round(time.time(), 3), "sandbox": sandbox.id, "method": method, "path": path}
        self._log(
            {**record, "verdict": verdict, "status": status, **{k: v for k, v in more.items() if v != ""}}
        )


_PASSING = (
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOBUFS,
    errno.ENOMEM,
    errno.ECONNABORTED,
    errno.EPERM,
    errno.EPROTO,
)


def _listening_on(listener: socket.socket) -> tuple[str, int]:
    listening = (
        listener.family == socket.AF_INET
        and listener.type == socket.SOCK_STREAM
        and listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    )
    if not listening:
        raise ValueError("the file descriptor is not a listening TCP socket")
    host, port = listener.getsockname()
    return str(host), int(port)


def _logged(target: bytes) -> str:
    """What of a request's target gets into the log: clients put keys into its query and credentials before its host."""
    text = target.partition(b"?")[0].decode("ascii", "replace")
    return re.sub(r"//[^/]*@", "//", text)[:200]


def _asked(sandbox: _Sandbox, request: h11.Request) -> Asked:
    headers = {name: value.decode("latin-1") for name, value in request.headers}
    method = request.method.decode("ascii")
    return Asked(method, headers.get(b"accept", "*/*"), headers.get(b"range", ""), sandbox.place)


async def _last_words(connection: Connection, refusal: Refusal) -> None:
    try:
        await connection.refuse(refusal, close=True)
        await connection.finish()
    except (OSError, TimeoutError, h11.LocalProtocolError, Refusal):
        return  # the client does not listen, or the protocol leaves no room for an answer
