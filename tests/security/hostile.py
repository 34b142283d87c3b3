"""Hostile code where a package can put it: in a zygote, and by it in the init of every sandbox that is forked from it.

What a layer's module does at import runs in the zygote, with its control socket at hand, and may replace the code that
each sandbox's init serves with. So a test speaks for a broken guest without any help from the product.
"""

import asyncio
import contextlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.security.conftest import EngineThread
from tidepool.engine import Sandbox, SandboxSpec
from tidepool.engine.layers import Layer

PREAMBLE = '''
import array, contextlib, fcntl, json, os, select, signal, socket, struct, sys, threading, time

# The modules that this process runs on; an import of ours would give other copies.
_frame = sys._getframe()
while _frame.f_globals.get("CONTROL_FD") != 3:
    _frame = _frame.f_back
Zygote, frames, serve = (_frame.f_globals[name] for name in ("Zygote", "frames", "init"))
serve = serve.serve


def rights(*fds):
    return [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]


def lingering():
    """A TCP socket whose last close waits for a minute: data that nobody reads is on its way."""
    with contextlib.suppress(OSError):
        found = struct.pack("16sH14x", b"lo", 1)
        with socket.socket() as asking:
            fcntl.ioctl(asking, 0x8914, found)
    listener = socket.create_server(("127.0.0.1", 0))
    sock = socket.create_connection(listener.getsockname())
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 60))
    sock.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            sock.send(b"x" * 65536)
    return sock, listener


def answering(answer):
    """Replace init's loop: `answer(sock, message)` is called for each request."""
    def serve_instead(self):
        while True:
            received = frames.receive(self._control)
            if received is None:
                os._exit(0)
            message, fds = received
            frames.close_all(fds)
            if message["op"] == "env":  # asked at birth
                frames.send(self._control, {"id": message["id"]})
            else:
                answer(self._control, message)
    serve.Server.serve = serve_instead
'''


@contextlib.contextmanager
def package(host: EngineThread, name: str, code: str) -> Iterator[str]:
    """A dependency layer with one module of that name, as a build would leave it."""
    layer = host.state_dir / "layers" / name
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    site = layer / "lib" / version / "site-packages"
    site.mkdir(parents=True)
    (site / f"{name}.py").write_text(PREAMBLE + code)
    try:
        yield name
    finally:
        shutil.rmtree(layer)


@contextlib.contextmanager
def zygote(host: EngineThread, name: str, code: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """A zygote that has imported hostile code: its number and what it reported."""
    with package(host, name, code):
        backend = host.engine._backend
        number, report = host.run(backend.start_zygote([name], [name], False))
        try:
            yield number, report
        finally:
            host.run(backend.end_zygote(number))


@contextlib.contextmanager
def init(host: EngineThread, name: str, code: str) -> Iterator[Sandbox]:
    """A sandbox of a tenant of its own, made as any other, whose init has been replaced by hostile code."""
    with zygote(host, name, code) as (number, _):
        host.run(_make_line(host, name, number))
        sandbox = host.sandbox(tenant=name)
        try:
            yield sandbox
        finally:
            host.run(host.engine.delete(sandbox))
            host.run(_end_line(host, name))


async def _make_line(host: EngineThread, tenant: str, number: int) -> None:
    host.engine._pool._line(SandboxSpec(tenant=tenant), Layer()).zygote = number


async def _end_line(host: EngineThread, tenant: str) -> None:
    pool = host.engine._pool
    line = pool._lines.pop((tenant, Layer().name, SandboxSpec().image, SandboxSpec().user, False))
    if line.refill is not None:
        line.refill.cancel()
        await asyncio.wait([line.refill])
    for warm in line.parked:
        await pool._drop(warm)


def descriptors(pid: int) -> int:
    """How many a process has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def resident(pid: int) -> int:
    """Bytes of memory that a process has."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


def spawner_pid(host: EngineThread) -> int:
    """The one privileged process of an engine."""
    return host.engine._backend._launched.process.pid
