"""How long a tree of processes lives on after its deadline: asleep, and busy on every processor.

`deadline.py [ROUNDS] [PROCESSES]`. The deadline is the host's; what is timed is from it to the answer, which comes when
every process of the run is dead. That none is left is looked at from a second run, each time. An engine of its own.
"""

import asyncio
import os
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

from tidepool.engine import Command, Engine, EngineConfig, Limits, Sandbox, SandboxSpec, Verdict

TREE = """
import os, signal, sys, time
count, busy = int(sys.argv[1]), sys.argv[2] == "busy"
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for number in range(count):
    if os.fork() == 0:
        if number % 10 == 0:
            os.setsid()
        open("/tmp/go", "rb").read()  # a FIFO: all begin at once
        while True:
            if not busy:
                time.sleep(60)
open("/tmp/ready", "w").close()
with open("/tmp/go", "wb"):
    time.sleep(60)
"""
PREPARE = "rm -f /tmp/ready /tmp/go; mkfifo /tmp/go"
LEFT = "cat /proc/[0-9]*/stat | awk '$3 != \"Z\"' | wc -l"
TIMEOUT_S = 4.0


async def over(box: Sandbox, count: int, kind: str) -> float:
    """Milliseconds between the deadline and the answer."""
    assert (await box.exec(Command(shell=PREPARE))).exit_code == 0
    run = Command(argv=("python3", "-c", TREE, str(count), kind), timeout_s=TIMEOUT_S)
    result = await box.exec(run)
    assert result.verdict is Verdict.TIMED_OUT, result
    ready = await box.exec(Command(shell="test -e /tmp/ready"))
    assert ready.exit_code == 0, "the tree was not whole by its deadline: ask for fewer processes"
    left = int((await box.exec(Command(shell=LEFT))).stdout)
    assert left < 8, f"{left} processes are left"
    return (result.duration_s - TIMEOUT_S) * 1000


async def measure(rounds: int, count: int, place: Path) -> dict[str, list[float]]:
    """Both kinds in turn, each round in a sandbox that has been used before."""
    engine = await Engine.start(EngineConfig(place / "state", place / "run", pool_size=1, drop_root=False))
    try:
        limits = Limits(pids=count + 64, memory_bytes=4 << 30, cpu=float(os.cpu_count() or 1))
        box = await engine.create(SandboxSpec(network="none", limits=limits))
        return {kind: [await over(box, count, kind) for _ in range(rounds)] for kind in ("asleep", "busy")}
    finally:
        await engine.close()


def main() -> None:
    """Measure and print."""
    rounds, count = (int(text) for text in (sys.argv[1:] + ["5", "500"][len(sys.argv) - 1 :])[:2])
    place = Path(tempfile.mkdtemp(prefix="tidepool-deadline-"))
    place.chmod(0o755)
    try:
        times = asyncio.run(measure(rounds, count, place))
    finally:
        shutil.rmtree(place)
    for kind, promised in (("asleep", 300), ("busy", 600)):
        values = sorted(times[kind])
        middle = statistics.median(values)
        verdict = "met" if middle <= promised else "NOT met"
        print(
            f"{count} processes {kind:6}: median {middle:.0f} ms, from {values[0]:.0f} to {values[-1]:.0f};"
            f" promised {promised} ms: {verdict}"
        )


if __name__ == "__main__":
    main()
