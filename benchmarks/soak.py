"""Sandboxes made, used and deleted with faults on the way, and what is left afterwards: nothing, or it says what.

`soak.py [COUNT] [--at-once N] [--seed N]`; Ctrl-C ends it early with the same report. An engine of its own, as root.
Faults come from the seed: a sandbox's init is killed from outside, all its processes from inside, a run is
cancelled midway, a sandbox is deleted during a run, and now and then the spawner is killed (then another serves).
"""

import argparse
import asyncio
import contextlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from tidepool.engine import CodeRun, Command, Engine, EngineConfig, Sandbox, SandboxSpec, Verdict
from tidepool.engine.errors import TidepoolError

SPAWNER_DIES_EVERY = 2000
"""Sandboxes between two deaths of the spawner, on average."""


@dataclass
class Soak:
    """One soak: how far it is, and what it met."""

    engine: Engine
    chance: random.Random
    """What the sandboxes meet, in the order they are made in."""
    deaths: random.Random
    """When the spawner dies; another, for it is asked in the order that sandboxes end in."""
    met: Counter[str] = field(default_factory=Counter)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    """Resident bytes of this process and of the spawner's side, ten times on the way."""
    done: int = 0

    async def one(self) -> None:
        """One sandbox, from its making to its end; what the engine refuses is counted, what is wrong is raised."""
        fault = self.chance.choices(list(FAULTS), [one[0] for one in FAULTS.values()])[0]
        try:
            box = await self.engine.create(SandboxSpec(network="none"))
        except TidepoolError as error:  # the spawner died meanwhile
            self.met[f"create: {type(error).__name__}"] += 1
            self.done += 1
            return
        try:
            await use(box)
            await FAULTS[fault][1](self, box)
            self.met[fault] += 1
        except TidepoolError as error:
            self.met[f"{fault}: {type(error).__name__}"] += 1
        finally:
            await self.engine.delete(box)
            self.done += 1

    async def nothing(self, box: Sandbox) -> None:
        """No fault: what was written is there."""
        assert await box.files.read("kept") == b"x" * 1000

    async def init_dies(self, box: Sandbox) -> None:
        """Its init is killed from outside."""
        run = asyncio.ensure_future(box.exec(Command(shell="sleep 20")))
        while not (found := inits(box)) and not run.done():  # noqa: ASYNC110 - nobody tells us
            await asyncio.sleep(0.01)
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await run

    async def all_die(self, box: Sandbox) -> None:
        """A program kills whatever it may."""
        await box.run_code(CodeRun("import os, signal\nos.kill(-1, signal.SIGKILL)", timeout_s=5))

    async def cancelled(self, box: Sandbox) -> None:
        """Whoever waits for a run goes away."""
        run = asyncio.ensure_future(box.exec(Command(shell="sleep 20 & sleep 20")))
        await asyncio.sleep(0.01)
        run.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await run
        result = await box.exec(Command(shell="true"))
        assert result.exit_code == 0 or result.verdict is Verdict.LOST, result  # the spawner died meanwhile

    async def deleted(self, box: Sandbox) -> None:
        """It is deleted while something runs."""
        run = asyncio.ensure_future(box.exec(Command(shell="sleep 20")))
        await asyncio.sleep(0.005)
        await self.engine.delete(box)
        await run


FAULTS: dict[str, tuple[int, Callable[[Soak, Sandbox], Awaitable[None]]]] = {
    "no fault": (70, Soak.nothing),
    "init killed": (8, Soak.init_dies),
    "all killed from inside": (7, Soak.all_die),
    "run cancelled": (8, Soak.cancelled),
    "deleted during a run": (7, Soak.deleted),
}
"""Weight and deed of each."""


async def use(box: Sandbox) -> None:
    """A little of everything."""
    await box.files.write("kept", b"x" * 1000)
    result = await box.run_code(CodeRun("print(6 * 7)"))
    assert result.stdout == b"42\n" or result.verdict is Verdict.LOST, result
    await box.exec(Command(shell="echo more > other; true"))


def inits(box: Sandbox) -> list[int]:
    """Host process ids of a sandbox's init, found above what has the mark of a run in its environment."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if box.id.encode() in (place / "environ").read_bytes():
                found.append(init_above(int(place.name)))
    return found


def init_above(pid: int) -> int:
    """The first of a process's ancestors that is pid 1 of its namespace (NSpid in proc_pid_status(5))."""
    while True:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        status = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}
        if status["NSpid"][-1] == "1":
            return pid
        pid = int(status["PPid"][0])


def children(pid: int) -> list[int]:
    """Its child processes; none when it is gone."""
    with contextlib.suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def family(pid: int) -> list[int]:
    """Descendants of a process."""
    return [one for child in children(pid) for one in (child, *family(child))]


def resident(pid: int) -> int:
    """Bytes of memory that a process has; 0 when it is gone."""
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
    return 0


def holdings() -> dict[str, set[str]]:
    """What this process may leave behind: children, mounts, control groups, descriptors.

    A namespace, and a block of ids, lives as long as one of these holds it.
    """
    own = f"tidepool-{os.getpid()}"
    return {
        "processes": {str(pid) for pid in family(os.getpid())},
        "mounts": set(Path("/proc/self/mounts").read_text().splitlines()),
        "control groups": {
            str(one) for root in Path("/sys/fs/cgroup").glob("*") for one in root.rglob(f"{own}-*")
        },
        "descriptors": set(os.listdir("/proc/self/fd")),
    }


async def soak(count: int, at_once: int, seed: int, place: Path) -> Soak:
    """Make, use and delete so many; the engine is closed at the end."""
    settings = EngineConfig(place / "state", place / "run", pool_size=4, drop_root=False)
    engine = await Engine.start(settings)
    work = Soak(engine, random.Random(seed), random.Random(seed + 1))
    started, left = time.monotonic(), count
    try:
        running: set[asyncio.Task[None]] = set()
        while left or running:
            while left and len(running) < at_once:
                running.add(asyncio.create_task(work.one()))
                left -= 1
            finished, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in finished:
                task.result()
            watch(work, count, started)
    except asyncio.CancelledError:
        print("\ninterrupted", file=sys.stderr)
    finally:
        await engine.close()
    return work


def watch(work: Soak, count: int, started: float) -> None:
    """Progress, sizes at each tenth, and now and then the death of the spawner."""
    guardian = work.engine._backend._launched.process.pid
    if work.done >= (len(work.sizes) + 1) * count // 10:
        sizes = sum(map(resident, [guardian, *children(guardian)]))
        work.sizes.append((resident(os.getpid()), sizes))
        rate = work.done / (time.monotonic() - started)
        print(f"\r{work.done} of {count}, {rate:.1f} a second", end="", file=sys.stderr, flush=True)
    if work.deaths.randrange(SPAWNER_DIES_EVERY) == 0:
        work.met["spawner killed"] += 1
        for spawner in children(guardian)[:1]:
            os.kill(spawner, signal.SIGKILL)


def report(work: Soak, before: dict[str, set[str]], seconds: float) -> list[str]:
    """Print how it went; sentences for what is left."""
    print(f"\n{work.done} sandboxes in {seconds:.0f} s, {work.done / seconds:.1f} a second")
    for what, times in sorted(work.met.items()):
        print(f"  {times:6} {what}")
    if work.sizes:
        first, last = work.sizes[0], work.sizes[-1]
        for name, a, b in (("server", first[0], last[0]), ("spawner and guardian", first[1], last[1])):
            print(f"memory of the {name}: {a >> 20} MiB after a tenth, {b >> 20} MiB at the end")
    left = [
        f"{name}: {', '.join(sorted(more)[:5])}"
        for name, now in holdings().items()
        if (more := now - before[name])
    ]
    print("\n".join(["left behind:", *left]) if left else "nothing is left behind")
    return left


def main() -> int:
    """Run it; 1 when something is left behind."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("count", type=int, nargs="?", default=20_000)
    parser.add_argument("--at-once", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="tidepool-soak-"))
    place.chmod(0o755)
    before, started = holdings(), time.monotonic()
    try:
        work = asyncio.run(soak(asked.count, asked.at_once, asked.seed, place))
        time.sleep(1.0)  # the kernel takes namespaces down behind our back
        return 1 if report(work, before, time.monotonic() - started) else 0
    finally:
        shutil.rmtree(place)


if __name__ == "__main__":
    sys.exit(main())
