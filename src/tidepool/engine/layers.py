"""Dependency layers: requirements become a lock, the lock a read-only directory that sandboxes mount at /usr/local.

Built once, in a throw-away sandbox that reaches package indexes only; what comes out of it is taken as hostile. A build
that fails leaves nothing. Unpinned requirements stay at what they first resolved to until their key is removed.
"""

import asyncio
import contextlib
import fcntl
import hashlib
import os
import platform
import re
import shutil
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, cast

import msgspec
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from tidepool.engine import archive, images
from tidepool.engine.archive import BadArchive, Manifest
from tidepool.engine.errors import DependencyFailed, SandboxLost, SetupFailed
from tidepool.engine.pool import Layer
from tidepool.engine.result import ExecResult, Verdict
from tidepool.engine.spec import GIB, Command, Limits, SandboxSpec

if TYPE_CHECKING:
    from tidepool.engine.sandbox import Sandbox

Progress = Callable[[str], None]

TENANT = "tidepool-layers"
"""Owner of build sandboxes: no user's list shows them."""
_FORMAT = 1
_PYTHON = "/usr/local/bin/python3"
_PACKING = (_PYTHON, "-I", f"/usr/{images.GUEST}/packing.py")
_HOME = "/home/daytona"
_PREFIX = f"{_HOME}/layer"
_RESOLVE_TIMEOUT_S = 600.0
_INSTALL_TIMEOUT_S = 1800.0
_MAX_LOCK_BYTES = 4 << 20
_MAX_MODULES = 256
_MODULE = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}(\.[A-Za-z_][A-Za-z0-9_]{0,63}){0,7}\Z")


def normalise(dependencies: Iterable[str]) -> tuple[str, ...]:
    """Requirement lines in one spelling, sorted, each once: equal wishes are equal texts.

    Raises:
        DependencyFailed: One is not a name with an optional extra, version and marker (PEP 508).
    """
    found = set()
    for text in dependencies:
        try:
            requirement = Requirement(text.strip())
        except InvalidRequirement as error:
            reason = str(error).splitlines()[0]
            raise DependencyFailed(f"dependency {text[:100]!r} is not a requirement: {reason}") from None
        if requirement.url:
            raise DependencyFailed(
                f"dependency {text[:100]!r} is a URL; only names from a package index are allowed"
            )
        requirement.name = canonicalize_name(requirement.name)
        requirement.extras = {canonicalize_name(extra) for extra in requirement.extras}
        found.add(str(requirement))
    return tuple(sorted(found))


def quick_key(requirements: tuple[str, ...], python: str, machine: str, identity: str) -> str:
    """Names what was asked for: same key, same layer, without asking any index again."""
    return _digest([_FORMAT, requirements, python, machine, identity])


def layer_name(lock: str, python: str, machine: str) -> str:
    """Names what it resolved to: different wishes with one lock share a layer."""
    return _digest([_FORMAT, lock, python, machine])


def _digest(facts: list[object]) -> str:
    return hashlib.sha256(msgspec.json.encode(facts)).hexdigest()[:32]


def resolver_sentence(stderr: bytes) -> str:
    """uv's words without its drawing: what a person needs to know, on one line of at most 2,000 characters."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", stderr.decode("utf-8", "replace"))
    lines = (re.sub(r"^[\s×╰├│─▶>-]+", "", line).strip() for line in text.splitlines())
    kept = [line for line in lines if line and not line.startswith(("warning:", "Using Python", "Resolved "))]
    return " ".join(kept)[:2000] or "the installer gave no reason"


class Layers:
    """All layers of one state directory.

    Args:
        state_dir: Layers live in its `layers` directory.
        python: Version inside, such as 3.11.
        create: Makes a build sandbox.
        delete: Destroys it.
        identity: Names where packages come from.
    """

    def __init__(
        self,
        state_dir: Path,
        python: str,
        create: Callable[[SandboxSpec], "Awaitable[Sandbox]"],
        delete: "Callable[[Sandbox], Awaitable[None]]",
        identity: Callable[[], Awaitable[str]],
    ) -> None:
        self._directory = state_dir / "layers"
        self._python = python
        self._machine = platform.machine()
        self._create = create
        self._delete = delete
        self._identity = identity
        self._ready: dict[str, Layer] = {}
        self._building: dict[str, asyncio.Task[Layer]] = {}

    async def get(self, dependencies: Iterable[str], progress: Progress | None = None) -> Layer:
        """The layer for these requirements: known ones cost nothing, callers at the same time share one build.

        Raises:
            DependencyFailed: They cannot be resolved or installed; the message has the resolver's words.
            NoCapacity, SetupFailed, SandboxLost: The build sandbox could not be had, or died.
        """
        requirements = normalise(dependencies)
        key = quick_key(requirements, self._python, self._machine, await self._identity())
        if key in self._ready:
            return self._ready[key]
        task = self._building.get(key)
        if task is None:
            task = asyncio.create_task(self._make(key, requirements, progress or _silent))
            self._building[key] = task
            task.add_done_callback(lambda done: self._finished(key, done))
        # Who goes away must not take the build from the others; and what is nearly built is worth keeping.
        return await asyncio.shield(task)

    def _finished(self, key: str, task: "asyncio.Task[Layer]") -> None:
        del self._building[key]
        if not task.cancelled() and task.exception() is None:
            self._ready[key] = task.result()

    async def _make(self, key: str, requirements: tuple[str, ...], progress: Progress) -> Layer:
        async with _file_lock(self._directory / f".{key}.lock"):
            layer = await self._kept(key)
            if layer is None:
                layer = await self._build(requirements, progress)
                self._remember(key, layer.name)
        return layer

    async def _kept(self, key: str) -> Layer | None:
        """The layer that an earlier process built for this key, when every byte of it is still there."""
        try:
            name = (self._directory / f"{key}.key").read_text("utf-8").strip()
        except FileNotFoundError:
            return None
        return await self._checked(name) if re.fullmatch(r"[0-9a-f]{32}", name) else None

    async def _checked(self, name: str) -> Layer | None:
        directory = self._directory / name
        manifest = archive.load(directory)
        if manifest is not None and await asyncio.to_thread(archive.is_intact, directory, manifest):
            return Layer(name, manifest.modules)
        if directory.exists():
            aside = Path(tempfile.mkdtemp(prefix=".broken-", dir=self._directory))
            directory.rename(aside / name)
            await asyncio.to_thread(shutil.rmtree, aside)
        return None

    def _remember(self, key: str, name: str) -> None:
        fresh = self._directory / f".{key}.fresh"
        fresh.write_text(name, "utf-8")
        fresh.rename(self._directory / f"{key}.key")

    async def _build(self, requirements: tuple[str, ...], progress: Progress) -> Layer:
        progress(f"resolving {', '.join(requirements)}")
        sandbox = await self._create(
            SandboxSpec(ephemeral=True, tenant=TENANT, network="packages", limits=_limits())
        )
        try:
            lock = await self._resolve(sandbox, requirements)
            name = layer_name(lock, self._python, self._machine)
            layer = await self._checked(name)
            if layer is None:
                await self._install(sandbox, requirements, lock, progress)
                modules = await self._modules(sandbox, requirements)
                layer = Layer(name, modules)
                manifest = Manifest(requirements, lock, self._python, modules, {})
                await self._fetch(sandbox, name, manifest, progress)
            return layer
        finally:
            await self._delete(sandbox)

    async def _resolve(self, sandbox: "Sandbox", requirements: tuple[str, ...]) -> str:
        await sandbox.files.write("requirements.in", "\n".join([*requirements, ""]).encode())
        words = [
            "pip",
            "compile",
            "--quiet",
            "--generate-hashes",
            "--no-header",
            "--no-annotate",
            "requirements.in",
        ]
        result = await _run(sandbox, ["uv", *words, "--python", _PYTHON], _RESOLVE_TIMEOUT_S)
        if not result.succeeded:
            raise _failure(requirements, result, "resolved")
        if result.truncated_bytes or len(result.stdout) > _MAX_LOCK_BYTES:
            raise DependencyFailed("the dependencies resolve to more packages than a layer can hold")
        return result.stdout.decode("utf-8", "replace")

    async def _install(
        self, sandbox: "Sandbox", requirements: tuple[str, ...], lock: str, progress: Progress
    ) -> None:
        await sandbox.files.write("lock.txt", lock.encode())
        words = ["pip", "install", "--require-hashes", "--no-deps", "--compile-bytecode", "--prefix", _PREFIX]
        result = await _run(
            sandbox, ["uv", *words, "-r", "lock.txt", "--python", _PYTHON], _INSTALL_TIMEOUT_S
        )
        if not result.succeeded:
            raise _failure(requirements, result, "installed")
        for line in result.stderr.decode("utf-8", "replace").splitlines()[:200]:
            if line.strip() and line.isprintable():
                progress(line.strip()[:200])

    async def _modules(self, sandbox: "Sandbox", requirements: tuple[str, ...]) -> tuple[str, ...]:
        names = [canonicalize_name(Requirement(text).name) for text in requirements]
        result = await _run(sandbox, [*_PACKING, "modules", _PREFIX, *names], _INSTALL_TIMEOUT_S)
        try:
            found = msgspec.json.decode(result.stdout, type=list[str])
        except msgspec.DecodeError:
            return ()  # a package disturbed the look at it: it is installed all the same, and not preloaded
        return tuple(name for name in found if _MODULE.match(name))[:_MAX_MODULES]

    async def _fetch(self, sandbox: "Sandbox", name: str, manifest: Manifest, progress: Progress) -> None:
        """Take the installed files out of the sandbox; the layer appears whole or not at all."""
        work = Path(tempfile.mkdtemp(prefix=".build-", dir=self._directory))
        try:
            size = await _receive(sandbox, work / "tar")
            files = await asyncio.to_thread(archive.unpack, work / "tar", work / name)
            whole = msgspec.structs.replace(manifest, files=files)
            await asyncio.to_thread(archive.save, work / name, whole)
            with contextlib.suppress(FileExistsError, NotADirectoryError):
                (work / name).rename(self._directory / name)
            progress(f"layer {name[:12]} has {len(files)} files, {size >> 20} MiB")
        except BadArchive as error:
            raise DependencyFailed(f"the packages cannot be made into a layer: {error}") from error
        finally:
            await asyncio.to_thread(shutil.rmtree, work)


def _silent(_: str) -> None: ...


def _limits() -> Limits:
    """Of a build: installing needs room, and what it does not use costs nothing."""
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    memory = min(max(free // 2, GIB), 8 * GIB)
    return Limits(cpu=2.0, memory_bytes=memory, disk_bytes=memory * 3 // 4)


async def _run(sandbox: "Sandbox", argv: list[str], timeout_s: float) -> ExecResult:
    env = {"NO_COLOR": "1", "UV_NO_PROGRESS": "1", "UV_LINK_MODE": "hardlink"}
    command = Command(argv=tuple(argv), env=env, timeout_s=timeout_s, max_output_bytes=_MAX_LOCK_BYTES)
    result = await sandbox.exec(command)
    if result.verdict is Verdict.LOST:
        raise SandboxLost("the build sandbox died while packages were installed")
    if result.verdict is Verdict.NOT_STARTED:
        raise SetupFailed(f"{argv[0]} cannot be started in the image: {resolver_sentence(result.stderr)}")
    return result


def _failure(names: Iterable[str], result: ExecResult, done: str) -> DependencyFailed:
    reasons = {
        Verdict.TIMED_OUT: "it took too long",
        Verdict.OUT_OF_MEMORY: "it needed more memory than a build has",
    }
    reason = reasons.get(result.verdict) or resolver_sentence(result.stderr)
    return DependencyFailed(f"{', '.join(names)} could not be {done}: {reason}")


async def _receive(sandbox: "Sandbox", target: Path) -> int:
    """Write what the packing program sends to a file; returns its size.

    Raises:
        BadArchive: More than a layer may have.
        SandboxLost: The program did not end well.
    """
    argv = (*_PACKING, "pack", _PREFIX)
    command = Command(argv=argv, timeout_s=_INSTALL_TIMEOUT_S, max_output_bytes=1 << 16)
    size, result = 0, None
    with target.open("wb") as file:
        output = cast("AsyncGenerator[tuple[str, bytes] | ExecResult]", sandbox.stream(command))
        async with contextlib.aclosing(output) as stream:
            async for item in stream:
                if isinstance(item, ExecResult):
                    result = item
                elif item[0] == "stdout":
                    size += len(item[1])
                    if size > archive.MAX_BYTES:
                        raise BadArchive("it is larger than a layer may be")
                    file.write(item[1])
    if result is None or not result.succeeded:
        raise SandboxLost("the installed packages could not be taken out of the build sandbox")
    return size


@contextlib.asynccontextmanager
async def _file_lock(path: Path) -> AsyncIterator[None]:
    """Held by one process of this host at a time; the file goes with the lock."""
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(fd).st_nlink:
                break
        except BlockingIOError:
            await asyncio.sleep(0.05)
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)
    try:
        yield
    finally:
        os.unlink(path)
        os.close(fd)
