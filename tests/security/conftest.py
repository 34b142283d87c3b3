"""A real engine for tests that attack from inside real sandboxes, and the host's invariants around every attack."""

import asyncio
import os
import tempfile
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.directories import open_directory
from tests.security import invariants
from tidepool.engine import CodeRun, Command, Engine, EngineConfig, ExecResult, Limits, Sandbox, SandboxSpec

T = TypeVar("T")
MIB = 1 << 20


class EngineThread:
    """An engine on an event loop of its own; tests stay plain functions."""

    def __init__(self, state_dir: Path, runtime_dir: Path, **config: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        # Root is kept: the tests themselves look at the host with it. Dropping it is tested through the server.
        config = {"pool_size": 1, "drop_root": False, **config}
        settings = EngineConfig(state_dir, runtime_dir, **config)
        self.engine = self.run(Engine.start(settings))
        self.state_dir = state_dir

    def run(self, coroutine: Coroutine[Any, Any, T], timeout_s: float = 50.0) -> T:
        """Run a coroutine on the engine's loop and wait for it."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout_s)

    def sandbox(self, **spec: Any) -> Sandbox:
        """A new sandbox."""
        return self.run(self.engine.create(SandboxSpec(**spec)))

    def python(self, sandbox: Sandbox, code: str, timeout_s: float | None = 30.0) -> ExecResult:
        """Run a Python text."""
        return self.run(sandbox.run_code(CodeRun(code, timeout_s=timeout_s)))

    def shell(self, sandbox: Sandbox, script: str, timeout_s: float | None = 30.0) -> ExecResult:
        """Run a shell script."""
        return self.run(sandbox.exec(Command(shell=script, timeout_s=timeout_s)))

    def close(self) -> None:
        """Stop everything."""
        self.run(self.engine.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@contextmanager
def own_engine(prefix: str, **config: Any) -> Iterator[EngineThread]:
    """An engine with a state directory of its own, both gone afterwards."""
    with open_directory(prefix) as place:
        thread = EngineThread(place / "state", place / "run", **config)
        try:
            yield thread
        finally:
            thread.close()


@pytest.fixture(scope="session")
def host() -> Iterator[EngineThread]:
    """One engine for all attacks; they must not be able to harm it."""
    with own_engine("tidepool-attack-") as thread:
        yield thread


@pytest.fixture
def box(host: EngineThread) -> Iterator[Sandbox]:
    """A fresh sandbox, deleted afterwards."""
    sandbox = host.sandbox()
    yield sandbox
    host.run(host.engine.delete(sandbox))


@pytest.fixture
def make_box(host: EngineThread) -> Iterator[Callable[..., Sandbox]]:
    """Makes sandboxes of given memory, disk and pids; all are deleted afterwards."""
    made: list[Sandbox] = []

    def make(memory_mib: int = 1024, disk_mib: int = 256, pids: int = 512, **spec: Any) -> Sandbox:
        limits = Limits(memory_bytes=memory_mib * MIB, disk_bytes=disk_mib * MIB, pids=pids)
        made.append(host.sandbox(limits=limits, **spec))
        return made[-1]

    yield make
    for sandbox in made:
        host.run(host.engine.delete(sandbox))


@pytest.fixture(autouse=True)
def host_unchanged(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[None]:
    """After every attack the host's mounts, sysctls and a canary are what they were, and nothing has leaked.

    It is set up before the sandboxes of a test, so it looks when they are gone.
    """
    engine: EngineThread | None = request.getfixturevalue("host") if "host" in request.fixturenames else None
    canary = tmp_path / "canary"
    canary.write_text("unharmed")
    before = _invariants()
    held = invariants.moment(engine) if engine else None
    yield
    assert canary.read_text() == "unharmed"
    assert _invariants() == before
    if engine and held:
        assert invariants.leaked(engine, *held) == []


def _invariants() -> dict[str, str]:
    """What no sandbox may change."""
    watched = ("/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname", "/proc/sys/vm/swappiness")
    values = {path: Path(path).read_text() for path in watched}
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    values["mounts"] = "\n".join(line for line in mounts if not _is_of_tests(line.split()[1]))
    values["links"] = str(sorted(os.listdir("/sys/class/net")))
    values["passwd"] = str(os.stat("/etc/passwd").st_mtime_ns)
    values["python"] = str(os.stat(os.path.realpath("/proc/self/exe")).st_mtime_ns)
    return values


def _is_of_tests(mount_point: str) -> bool:
    """Whether a mount lies in a directory of a test: another process of this run may be at such a one."""
    place = tempfile.gettempdir()
    return mount_point.startswith((f"{place}/tp-", f"{place}/pytest-of-"))
