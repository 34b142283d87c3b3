"""The rows of the table: each is a function of `Terms` that starts what it needs, measures, and gives an `Outcome`.

Rows know nothing of one another and of printing; a row runs in a process of its own.
"""

from collections.abc import Callable
from dataclasses import dataclass

from outcome import Outcome, Terms

from rows import create, files, layers, load, programs, running, start


@dataclass(frozen=True)
class Row:
    """One row of the table."""

    title: str
    target: str
    measure: Callable[[Terms], Outcome]
    deadline_s: float = 120.0
    """Longer than it ever takes; `full` and longer loads add theirs."""


ROWS = {
    "create_hit": Row(
        "create, pool hit, 20 a second with refill: raw client / daytona_sdk",
        "p50 <= 1.5 / 2.5 ms, p99 <= 8 / 12 ms",
        create.hit,
    ),
    "create_cold": Row("create, pool empty", "p50 <= 8 ms, p99 <= 40 ms", create.cold),
    "first_line": Row(
        "create + first Python line, pool hit, daytona_sdk",
        "p50 <= 4 ms, >= 3x faster than python3 -c",
        create.first_line,
    ),
    "warm_exec": Row(
        "warm exec of true / a Python line in a context", "p50 <= 2.5 ms / <= 1 ms", running.warm_exec
    ),
    "tests": Row(
        "run_code_with_tests, cached dependencies incl. langchain-core",
        "p50 <= 35 ms, >= 20x faster than python -m pytest, with and without third-party plugins",
        running.tests,
        300,
    ),
    "cycles": Row(
        "full cycles (create, one Python line, delete), sustained",
        ">= 150/s on 2 cores, no growth in memory, latency or leftovers",
        load.cycles,
        180,
    ),
    "burst": Row(
        "100 created at once, pool of 16, all alive, second command in each",
        "all done < 0.6 s, 100 % success",
        load.burst,
    ),
    "alive": Row("parked sandbox; many alive, each answering", "<= 2 MiB each; 3,000 alive", load.alive, 420),
    "programs": Row(
        "real programs, outputs equal, against a subprocess each at the same parallelism, per corpus",
        "a sandbox each >= 1.2x, one shared sandbox >= 5x",
        programs.replay,
        420,
    ),
    "layers": Row(
        "dependency layer: second use / first use of cached wheels over uv pip install",
        "0 / <= 300 ms",
        layers.dependencies,
        240,
    ),
    "fork": Row("fork of a sandbox's files, new interpreter included", "<= 25 ms", layers.fork),
    "files": Row(
        "100 MB through the files API: download / upload",
        ">= 400 / 250 MB/s, server memory flat",
        files.transfer,
    ),
    "start": Row(
        "daytona_sdk: import / first call incl. starting the local server",
        "<= 120 ms / <= 400 ms",
        start.first_use,
    ),
}
