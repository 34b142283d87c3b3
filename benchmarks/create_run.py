"""A sandbox for one line of Python, beside the unsandboxed interpreter and bubblewrap; `create_run.py [ROUNDS]`.

Warm: parked sandboxes are there (they are refilled between the rounds, outside the timed part). Cold: none are kept,
each create builds one. The interpreter beside is the very binary that the sandboxes use.
"""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from measure import interleaved, own_server, table

from daytona_sdk import Daytona, Sandbox

PYTHON = str(Path(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}"))
LINE = "print(1)"
REFILL_S = 0.05
TARGETS = {"create, warm": 5.0, "a Python line in a living sandbox": 3.0}


def cycle(daytona: Daytona) -> None:
    """Create, one line, delete."""
    sandbox = daytona.create()
    try:
        ran = sandbox.process.code_run(LINE)
        assert ran.result == "1\n", ran
    finally:
        sandbox.delete()


def plain() -> None:
    """The same line without a sandbox."""
    subprocess.run([PYTHON, "-c", LINE], check=True, stdout=subprocess.DEVNULL)


def bubblewrap() -> None:
    """The same line in bubblewrap with every namespace."""
    command = ["bwrap", "--unshare-all", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"]
    subprocess.run([*command, PYTHON, "-c", LINE], check=True, stdout=subprocess.DEVNULL)


def parts(daytona: Daytona, rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each call on its own."""
    names = ["create, warm", "a Python line in a living sandbox", "exec of true", "delete"]
    times: dict[str, list[float]] = {name: [] for name in names}

    def note(name: str, call: Callable[[], object]) -> object:
        started = time.perf_counter()
        found = call()
        times[name].append((time.perf_counter() - started) * 1000)
        return found

    for _ in range(rounds):
        time.sleep(REFILL_S)
        sandbox = note(names[0], daytona.create)
        assert isinstance(sandbox, Sandbox)
        note(names[1], partial(sandbox.process.code_run, LINE))
        note(names[2], partial(sandbox.process.exec, "true"))
        note(names[3], sandbox.delete)
    return times


def main(rounds: int) -> None:
    """Print both tables and the targets."""
    ways: dict[str, Callable[[], None]] = {"unsandboxed python3 -c": plain}
    if shutil.which("bwrap"):
        ways["bwrap python3 -c"] = bubblewrap
    else:
        print("bubblewrap is not installed: left out")
    with own_server(pool=2) as warm, own_server(pool=0) as cold:
        warm_daytona, cold_daytona = Daytona(warm), Daytona(cold)
        cycle(warm_daytona), cycle(cold_daytona)

        def warm_cycle() -> None:
            cycle(warm_daytona)

        ways |= {
            "create + line + delete, warm": warm_cycle,
            "create + line + delete, cold": lambda: cycle(cold_daytona),
        }
        print(table(interleaved(ways, rounds, pause_s=REFILL_S), "unsandboxed python3 -c"))
        seen = parts(warm_daytona, rounds)
    print(table(seen, "create, warm"))
    for name, target in TARGETS.items():
        median = sorted(seen[name])[len(seen[name]) // 2]
        print(f"target {name} <= {target:g} ms: {median:.2f} ms, {'met' if median <= target else 'NOT met'}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 60)
