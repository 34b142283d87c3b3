"""The namespaces backend seen from the engine: starts the spawner, asks it for zygotes and sandboxes.

This is the only place that speaks the spawner's protocol. Everything here runs unprivileged after `launch`.
"""

import array
import asyncio
import contextlib
import logging
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from tidepool.engine import images
from tidepool.engine.channel import Channel, close_all
from tidepool.engine.errors import (
    Fault,
    HostUnsupported,
    InvalidSpec,
    NoCapacity,
    NotSaved,
    SandboxLost,
    SetupFailed,
)
from tidepool.engine.guest import faults, frames
from tidepool.engine.kernel import caps, seccomp
from tidepool.engine.result import Usage
from tidepool.engine.spawner import protocol
from tidepool.engine.spec import Limits, SandboxSpec

log = logging.getLogger("tidepool.engine")

READY_TIMEOUT_S = 90.0
"""A former spawner may still be saving files."""
_COPY_TIMEOUT_S = 600.0
_ZYGOTE_TIMEOUT_S = 120.0
_SHM_BYTES = 64 << 20
_HELD = "could not be saved and are held in memory until there is room to start it again"
_AGAIN = ("kill", "end_zygote", "forget", "stored", "make_volume", "copy")
"""Requests that a new spawner can be asked once more: doing them twice is doing them once."""
_WALLS = (
    "user, mount, pid, net, ipc, uts and cgroup namespaces",
    "own host uids",
    "read-only image",
    "no capabilities",
    "no new privileges",
    "landlock",
    "seccomp",
)
"""In place for every sandbox, or it is not made: init answers ready only after each of them."""


@dataclass(frozen=True)
class Launched:
    """A spawner that has been started but not yet spoken to from an event loop."""

    process: "subprocess.Popen[bytes]"
    sock: socket.socket
    python: str
    name: str
    """Of its control groups."""
    has_early_zygote: bool
    """Whether it starts a zygote of the plain interpreter unasked."""


Restore = str | int
"""Files that a box begins with: saved ones of that name, or those of the live box in that slot; empty: none."""


@dataclass(frozen=True)
class Box:
    """One isolated place to run things: its slot at the spawner and its init's socket."""

    slot: int
    control: socket.socket


@dataclass(frozen=True)
class Kept:
    """What came of a copy of a sandbox's files."""

    bytes: int
    """Of data, holes not counted."""
    not_kept: tuple[str, ...] = ()
    """A sentence for each thing that was left out."""


@dataclass(frozen=True)
class Death:
    """A sandbox that has ended without having been asked to; all its processes are dead."""

    slot: int
    why: str
    """A clause, as `its init ended`."""
    kept: Kept | None
    """None: its files were not to be kept, or could not be; then `why` says so."""
    out_of_memory: bool
    by_itself: bool
    """Whether the reason is in the sandbox; else it was ended with what held it."""
    is_held: bool = False
    """Whether its files could not be saved and are held in memory: `kill` with `save` tries again."""


def launch(state_dir: Path, storage: str, early_zygote: bool) -> Launched:
    """Compose the image and start the spawner; blocks for milliseconds (seconds the first time).

    With `early_zygote` one that most sandboxes can come from is started before anybody asks for them.

    Without root the spawner is one of a user namespace, see `engine.spawner.rootless`.

    Raises:
        HostUnsupported: The host's layout cannot be used.
    """
    program = "tidepool.engine.spawner" if os.geteuid() == 0 else "tidepool.engine.spawner.rootless"
    fault = os.environ.get(faults.VARIABLE, "")
    faults.arm(fault)
    image = images.compose(state_dir)
    # Only ever a mount point, and only in the private mount namespaces of spawners.
    work = state_dir / "work"
    work.mkdir(exist_ok=True)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", program, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"},
            start_new_session=True,  # a Ctrl-C at the terminal must not kill it before it has cleaned up
        )
    name = f"tidepool-{os.getpid()}-{secrets.token_hex(3)}"  # a process may have more than one engine
    start = protocol.Start(
        name=name,
        base=str(image.base),
        usr=[str(path) for path in image.usr],
        local=[str(path) for path in image.local],
        layers=str(state_dir / "layers"),
        storage=str(state_dir / storage),
        work=str(work),
        capabilities=sorted(caps.ROOT_INSIDE),
        landlock=True,
        debug=bool(os.environ.get("TIDEPOOL_DEBUG")),
        fault=fault,
        early_zygote=early_zygote,
    )
    filter_fd = os.memfd_create("seccomp", os.MFD_CLOEXEC)
    try:
        arch = os.uname().machine
        frames.write_filters(
            filter_fd, seccomp.compile(arch), seccomp.compile(arch, seccomp.zygote_verdicts())
        )
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [filter_fd]))]
        ours.sendmsg([protocol.encode(start)], rights)
    finally:
        os.close(filter_fd)
    return Launched(process, ours, image.python, name, early_zygote)


class Backend:
    """The spawner, from the event loop.

    Args:
        launched: What `launch` has returned.
        on_death: Told of every sandbox that has ended unasked; returns whether it was known.
        on_restart: Told why a new spawner serves, or that none does, after every death was told: of what was made
            before nothing is there.
    """

    def __init__(
        self, launched: Launched, on_death: Callable[[Death], bool], on_restart: Callable[[str], None]
    ) -> None:
        self._launched = launched
        self._on_death = on_death
        self._on_restart = on_restart
        self._unclaimed: dict[int, dict[str, Any]] = {}
        """What became of the files of sandboxes that ended while they were being ended."""
        self._ended = asyncio.Event()
        self._is_closing = False
        self._started: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._channel = Channel(launched.sock, self._on_event, self._on_lost, trusted=True)
        self._early: asyncio.Future[dict[str, Any]] | None = None
        if launched.has_early_zygote:
            self._early = asyncio.get_running_loop().create_future()
            assert self._channel.open(partial(self._on_early, self._early)) == protocol.EARLY
        self.enforced: tuple[str, ...] = ()
        self.not_enforced: tuple[str, ...] = ()
        self.weaker: dict[str, str] = {}
        """What there would be with root, and what there is instead; nothing in it: the spawner is the host's root."""
        self.alone = False
        """Whether no other engine used this state directory when this one began."""

    async def ready(self) -> None:
        """Wait until the spawner serves; then `enforced` is filled.

        Raises:
            HostUnsupported: It could not start; the message has its reason.
        """
        async with asyncio.timeout(READY_TIMEOUT_S):
            hello = await self._started
        if "error" in hello:
            raise HostUnsupported(f"this host cannot isolate: {hello['error']}")
        self.alone = bool(hello["alone"])
        self.weaker = dict(hello["weaker"])
        wanted = {"memory", "pids", "cpu"}
        controllers = set(hello["controllers"])
        limits = tuple(f"{name} limit (cgroup v{hello['cgroup_version']})" for name in sorted(controllers))
        self.enforced = _WALLS + limits
        missing = {
            f"{name} limit": "its control group is not writable" for name in sorted(wanted - controllers)
        }
        self.not_enforced = tuple(f"{name}: {why}" for name, why in {**missing, **self.weaker}.items())

    async def start_zygote(
        self, layers: list[str], modules: list[str], pytest: bool, image: str = "", apart: bool = False
    ) -> tuple[int, dict[str, Any]]:
        """A zygote's number and what it could preload; one that is apart has no layer itself, only its sandboxes.

        Raises:
            SetupFailed: It did not come up.
        """
        if self._early is not None and not (layers or modules or pytest or image):
            early, self._early = self._early, None
            async with asyncio.timeout(_ZYGOTE_TIMEOUT_S):
                found = await early
            if "zygote" in found:
                return int(found["zygote"]), dict(found["preload"])
        message = {
            "op": "zygote",
            "layers": layers,
            "image": image,
            "modules": modules,
            "pytest": pytest,
            "apart": apart,
        }
        answer, _ = await self._call(message, timeout_s=_ZYGOTE_TIMEOUT_S)
        return int(answer["zygote"]), dict(answer["preload"])

    async def create(self, zygote: int, spec: SandboxSpec, restore: Restore = "") -> Box:
        """One closed-off sandbox for a spec, its init ready to serve, with saved files where they are named.

        Raises:
            SetupFailed: A step failed; the message names it.
            NoCapacity: The zygote has no free slice.
        """
        limits = spec.limits
        message = {
            "op": "create",
            "zygote": zygote,
            "limits": _limits(limits),
            "disk_bytes": limits.disk_bytes,
            "shm_bytes": min(_SHM_BYTES, limits.memory_bytes // 4),
            "hostname": "sandbox",
            "env": {},
            "open_root": spec.user == "root",
            "restore": restore,
            "volumes": [
                {"name": volume.name, "subpath": volume.subpath, "path": volume.mount_path}
                for volume in spec.volumes
            ],
            "isolation": spec.isolation,
            "network": spec.network != "none",
        }
        answer, fds = await self._call(message, timeout_s=_COPY_TIMEOUT_S if restore else 30.0)
        if len(fds) != 1:
            close_all(fds)
            raise SetupFailed("the spawner passed no control socket")
        return Box(int(answer["slot"]), socket.socket(fileno=fds[0]))

    async def limit(self, slot: int, limits: Limits, disk: bool = False) -> None:
        """Change a sandbox's memory, pids and cpu limits, and with `disk` the size of its disk."""
        disk_bytes = limits.disk_bytes if disk else 0
        await self._call({"op": "limit", "slot": slot, "limits": _limits(limits), "disk_bytes": disk_bytes})

    def keep(self, slot: int, name: str) -> None:
        """From now on a sandbox's files are saved under `name` when it ends, unless it is killed without saving.

        So also if the spawner is killed before it has read this: the guardian reads what it had not done.
        """
        # Without waiting: requests are taken in order, and whatever ends the sandbox comes later.
        number = self._channel.open(lambda _, fds: close_all(fds))
        self._channel.send({"op": "keep", "slot": slot, "name": name, "id": number})
        self._channel.close_request(number)

    async def freeze(self, slot: int, kind: str, name: str) -> Kept:
        """Copy a live sandbox's files to disk, as `images` or `saved`.

        Raises:
            SetupFailed: They could not be copied; what was there under the name is unchanged.
        """
        message = {"op": "freeze", "slot": slot, "kind": kind, "name": name}
        return _kept((await self._call(message, timeout_s=_COPY_TIMEOUT_S))[0])

    async def copy(self, source: str, kind: str, name: str, base: str = "") -> Kept:
        """Copy saved files to other saved files or, on top of image `base`, to an image.

        Raises:
            SetupFailed: As `freeze`.
        """
        message = {"op": "copy", "source": source, "kind": kind, "name": name, "base": base}
        return _kept((await self._call(message, timeout_s=_COPY_TIMEOUT_S))[0])

    async def unpack(self, tar: int, image: str) -> Kept:
        """Make an image of the open tar of a whole system.

        Raises:
            SetupFailed: It is damaged, or there is no room.
        """
        message = {"op": "import", "name": image}
        return _kept((await self._call(message, (tar,), timeout_s=_COPY_TIMEOUT_S))[0])

    async def stored(self, kind: str) -> list[str]:
        """Names of what is on disk: `saved`, `images` or `volumes`."""
        answer, _ = await self._call({"op": "stored", "kind": kind})
        return [str(name) for name in answer["names"]]

    async def forget(self, kind: str, name: str) -> None:
        """Remove something on disk; no error when it is not there."""
        await self._call({"op": "forget", "kind": kind, "name": name}, timeout_s=_COPY_TIMEOUT_S)

    async def make_volume(self, name: str) -> None:
        """An empty volume; no error when it is there.

        Raises:
            InvalidSpec: This server has no volumes.
        """
        if "volumes" in self.weaker:
            raise InvalidSpec(f"volumes: {self.weaker['volumes']}")
        await self._call({"op": "make_volume", "name": name})

    async def usage(self, slot: int) -> Usage:
        """What a sandbox uses and has used; nothing when it is gone."""
        try:
            answer, _ = await self._call({"op": "counters", "slot": slot})
        except SetupFailed:
            return Usage()
        return Usage(
            int(answer["oom_kills"]),
            answer.get("memory_bytes"),
            answer.get("cache_bytes"),
            answer.get("cpu_ns"),
        )

    async def connect(self, slot: int, family: Literal["inet", "inet6"]) -> socket.socket:
        """A TCP socket of a sandbox's network namespace, not connected yet.

        Raises:
            SetupFailed: The sandbox is gone, or has no such addresses.
        """
        _, fds = await self._call({"op": "connect", "slot": slot, "family": family})
        return socket.socket(fileno=fds[0])

    async def listen(self, slot: int, port: int) -> socket.socket:
        """A socket listening on 127.0.0.1:`port` inside a sandbox."""
        _, fds = await self._call({"op": "listen", "slot": slot, "port": port})
        return socket.socket(fileno=fds[0])

    async def kill(self, slot: int, save: bool = False) -> Kept | None:
        """Kill a sandbox; returns when all its processes are verified dead and, with `save`, its files are on disk.

        None: there was nothing to save, because it was not to be kept or had gone before.

        Raises:
            NotSaved: It is dead, but its files could not be saved; ask again, or kill it without.
        """
        timeout_s = _COPY_TIMEOUT_S if save else 60.0
        answer, _ = await self._call({"op": "kill", "slot": slot, "save": save}, timeout_s=timeout_s)
        saved = answer.get("saved") or self._unclaimed.pop(slot, None)
        if saved is None:
            return None
        if saved["error"]:
            raise NotSaved(f"its files {_HELD}: {saved['error']}")
        return _kept(saved)

    async def end_zygote(self, zygote: int) -> None:
        """End a zygote and all its sandboxes; returns when they are dead."""
        await self._call({"op": "end_zygote", "zygote": zygote}, timeout_s=60.0)

    async def close(self) -> None:
        """End the spawner, which kills and removes everything it made; returns when it has."""
        self._is_closing = True
        if self._channel.lost is None:
            # Only our half: the other half's end shows that it has ended, also when the first process was killed.
            self._launched.sock.shutdown(socket.SHUT_WR)
            async with asyncio.timeout(_COPY_TIMEOUT_S):
                await self._ended.wait()
        await asyncio.to_thread(self._launched.process.wait, 30)

    def retire_zygote(self, zygote: int) -> None:
        """Nothing more will be made from a zygote: it ends with the last sandbox that was."""
        number = self._channel.open(lambda _, fds: close_all(fds))
        with contextlib.suppress(SandboxLost):  # then it has ended
            self._channel.send({"op": "retire", "zygote": zygote, "id": number})
        self._channel.close_request(number)

    async def _call(
        self, message: dict[str, Any], fds: tuple[int, ...] = (), timeout_s: float = 30.0
    ) -> tuple[dict[str, Any], list[int]]:
        try:
            answer, received = await self._channel.call(message, fds, timeout_s)
            if "restarted" in answer and message["op"] in _AGAIN:
                answer, received = await self._channel.call(message, fds, timeout_s)
        except SandboxLost as error:
            raise Fault(f"the spawner does not answer: {error}") from None
        if "restarted" in answer:
            raise SetupFailed(f"{message['op']}: {answer['restarted']}; try again")
        if "lost" in answer:
            raise Fault(f"the spawner is gone: {answer['lost']}")
        if "error" in answer:
            close_all(received)
            kind = NoCapacity if "full" in answer["error"] else SetupFailed
            raise kind(answer["error"])
        return answer, received

    def _on_early(self, told: asyncio.Future[dict[str, Any]], answer: dict[str, Any], fds: list[int]) -> None:
        close_all(fds)
        self._channel.close_request(protocol.EARLY)
        if not told.done():
            told.set_result(answer)

    def _on_event(self, message: dict[str, Any]) -> None:
        if message.get("id") == 0 and not self._started.done():
            self._started.set_result(message)
        elif self._is_closing:
            return  # it tells of every sandbox that it ends because we do
        elif "died" in message:
            saved = message.get("saved")
            if not self._on_death(_death(message)) and saved is not None:
                self._unclaimed[int(message["died"])] = saved
        elif "restarted" in message:
            log.error("%s; a new one serves, sandboxes that ran were ended", message["restarted"])
            self._early = None  # what it would be called may be another one by now
            self._channel.answer_all(int(message["last"]), {"restarted": message["restarted"]})
            self._on_restart(str(message["restarted"]))
        elif "error" in message:
            log.error("the spawner: %s", message["error"])

    def _on_lost(self, why: str) -> None:
        self._ended.set()
        if not self._started.done():
            self._started.set_result({"error": why})
        elif not self._is_closing:
            log.critical(
                "spawner and guardian are gone; no sandbox can be made until the server is started again"
            )
            self._on_restart("spawner and guardian were killed")


def _death(message: dict[str, Any]) -> Death:
    saved: dict[str, Any] = message.get("saved") or {}
    why, is_held = str(message["why"]), bool(saved.get("error"))
    if is_held:
        why += f"; its files {_HELD}: {saved['error']}"
    kept = _kept(saved) if saved and not is_held else None
    by_itself = bool(message.get("by_itself"))
    return Death(int(message["died"]), why, kept, bool(message["oom_kills"]), by_itself, is_held)


def _kept(answer: dict[str, Any]) -> Kept:
    return Kept(int(answer["bytes"]), tuple(answer["skipped"]))


def _limits(limits: Limits) -> dict[str, Any]:
    return {"memory_bytes": limits.memory_bytes, "pids": limits.pids, "cpu": limits.cpu}
