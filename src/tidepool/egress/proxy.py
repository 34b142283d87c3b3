"""The server that sandboxes reach: one listening socket each, which lives in the sandbox's network namespace.

Who asks is known by the socket a connection came in on, never by what it says. Bounds are per sandbox, so
that one cannot take another's share; every decision becomes one log record without secrets.
"""

import asyncio
import errno
import socket
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import h11

from tidepool.egress.connection import Connection
from tidepool.egress.packages import Asked, Packages
from tidepool.egress.refusal import Refusal
from tidepool.egress.target import Target, parse_target

Policy = Literal["none", "packages"]
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
    policy: Policy
    listener: socket.socket
    place: str
    pace: Pace = field(default_factory=Pace)
    connections: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MAX_CONNECTIONS))
    requests: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MAX_REQUESTS))
    accepting: asyncio.Task[None] | None = None
    talking: set[asyncio.Task[None]] = field(default_factory=set)


class Proxy:
    """Serves any number of sandboxes.

    Args:
        packages: What the policy `packages` gives.
        log: Called once per decision with a flat record; must not block for long.
    """

    def __init__(self, packages: Packages, log: Log) -> None:
        self._packages = packages
        self._log = log
        self._sandboxes: dict[str, _Sandbox] = {}
        self._totals = {"requests": 0, "refused": 0, "bytes": 0}

    def open(self, sandbox_id: str, policy: Policy, listener: socket.socket) -> None:
        """Serves a sandbox on its socket, which now belongs to the proxy.

        Raises:
            ValueError: The socket is not a listening TCP socket, or this sandbox is already served.
        """
        if sandbox_id in self._sandboxes:
            raise ValueError("this sandbox is already served; close it first")
        host, port = _listening_on(listener)
        listener.setblocking(False)
        sandbox = _Sandbox(sandbox_id, policy, listener, f"http://{host}:{port}")
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
            task = loop.create_task(self._converse(sandbox, Connection(sock)))
            sandbox.talking.add(task)
            task.add_done_callback(sandbox.talking.discard)
            task.add_done_callback(lambda _: sandbox.connections.release())

    async def _converse(self, sandbox: _Sandbox, connection: Connection) -> None:
        try:
            while (request := await connection.receive()) is not None:
                await asyncio.sleep(sandbox.pace.delay(time.monotonic()))
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
        started = time.monotonic()
        verdict, reason = "dropped", ""
        connection.body_bytes = connection.status = 0
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                refusal = await self._answer(sandbox, connection, request)
            verdict, reason = _verdict(refusal) if refusal else ("served", "")
        except (OSError, TimeoutError) as error:
            reason = type(error).__name__
            raise
        except Exception:
            verdict, reason = "fault", traceback.format_exc(limit=-4)
            await connection.refuse(
                Refusal(500, "The proxy failed; this is its own fault and has been logged.")
            )
        finally:
            took = round((time.monotonic() - started) * 1000, 1)
            size = connection.body_bytes
            self._record(sandbox, request, verdict, connection.status, bytes=size, ms=took, reason=reason)

    async def _answer(
        self, sandbox: _Sandbox, connection: Connection, request: h11.Request
    ) -> Refusal | None:
        """Answers with content or a sentence; returns what was refused, or why the content broke off."""
        try:
            target = _authorise(sandbox, request)
            async with self._packages.answer(target, _asked(sandbox, request)) as answer:
                await connection.send(answer)
        except Refusal as refusal:
            await connection.refuse(refusal)
            return refusal
        return None

    def _record(
        self, sandbox: _Sandbox, request: h11.Request | None, verdict: str, status: int, **more: object
    ) -> None:
        self._totals["requests"] += 1
        self._totals["refused"] += verdict == "refused"
        size = more.get("bytes")
        self._totals["bytes"] += size if isinstance(size, int) else 0
        method = request.method.decode("ascii") if request is not None else "?"
        path = request.target[:200].decode("ascii", "replace") if request is not None else "?"
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


def _authorise(sandbox: _Sandbox, request: h11.Request) -> Target:
    if sandbox.policy == "none":
        raise Refusal(403, "This sandbox has no network: its policy is none.")
    return parse_target(request.target)


def _asked(sandbox: _Sandbox, request: h11.Request) -> Asked:
    headers = {name: value.decode("latin-1") for name, value in request.headers}
    method = request.method.decode("ascii")
    return Asked(method, headers.get(b"accept", "*/*"), headers.get(b"range", ""), sandbox.place)


def _verdict(refusal: Refusal) -> tuple[str, str]:
    return "refused" if refusal.status < 500 else "failed", refusal.sentence


async def _last_words(connection: Connection, refusal: Refusal) -> None:
    try:
        await connection.refuse(refusal, close=True)
        await connection.finish()
    except (OSError, TimeoutError, h11.LocalProtocolError):
        return  # the client does not listen, or the protocol leaves no room for an answer
