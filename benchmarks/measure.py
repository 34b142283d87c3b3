"""Timing that the benchmarks share: several ways in turn within one run, percentiles, servers of a run's own.

Absolute times on a shared machine mean little; the ratio of two columns of one run does. Nothing here knows what is
measured.
"""

import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from daytona_sdk import DaytonaConfig

KEY = "benchmark"
PYTHON = sys.executable
"""This environment's interpreter: the real binary that sandboxes use as well, not a shim in front of it. Asked by the
name it has here it does not run what the host may have hung into the start of its system-wide installation."""


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` (0 to 1) of all are not above."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def timed(call: Callable[[], object]) -> float:
    """Milliseconds of one call."""
    started = time.perf_counter()
    call()
    return (time.perf_counter() - started) * 1000


def progress(text: str) -> None:
    """Say on a terminal's standard error how far it is, in place."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def interleaved(
    ways: dict[str, Callable[[], None]], rounds: int, warmup: int = 2, pause_s: float = 0.0
) -> dict[str, list[float]]:
    """Milliseconds of each way, taken in turn so that a slow moment of the machine hits all of them."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + warmup):
        for name, run in ways.items():
            time.sleep(pause_s)
            started = time.perf_counter()
            run()
            if number >= warmup:
                times[name].append((time.perf_counter() - started) * 1000)
        progress(f"{number + 1}/{rounds + warmup}")
    return times


def table(times: dict[str, list[float]], against: str) -> str:
    """One row a way: median, 10th and 90th percentile, and how many times faster than `against` (medians)."""
    base = statistics.median(times[against])
    rows = [f"{'':44} {'median':>9} {'p10':>9} {'p90':>9}   ratio to {against!r}"]
    for name, values in times.items():
        tenths = statistics.quantiles(values, n=10)
        median = statistics.median(values)
        rows.append(
            f"{name:44} {median:7.2f}ms {tenths[0]:7.2f}ms {tenths[-1]:7.2f}ms   {base / median:5.1f}x"
        )
    return "\n".join(rows)


@dataclass(frozen=True)
class Serving:
    """A server of this run's own."""

    config: DaytonaConfig
    pid: int
    place: Path
    """Its state directory's parent, and room for the run's own files."""


@contextmanager
def serving(pool: int, **environment: str) -> Iterator[Serving]:
    """A server that keeps `pool` parked sandboxes; it and all it made end with the block.

    What it says on standard error is shown only when it could not start, or did not end as it should.
    """
    with tempfile.TemporaryDirectory(prefix="tidepool-bench-") as name:
        place = Path(name)
        place.chmod(0o755)  # the server gives root up and must still come through
        given = {**os.environ, "TIDEPOOL_STATE_DIR": f"{name}/state", "TIDEPOOL_API_KEY": KEY, **environment}
        command = [sys.executable, "-m", "tidepool.server", "--port", "0", "--pool", str(pool)]
        with (place / "log").open("w+") as log:
            server = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, env=given, text=True, start_new_session=True
            )
            try:
                assert server.stdout is not None
                if not (url := server.stdout.readline().strip()):
                    raise RuntimeError(f"the server did not start: {(place / 'log').read_text()}")
                yield Serving(DaytonaConfig(api_key=KEY, api_url=url), server.pid, place)
            finally:
                server.terminate()
                if server.stdout is not None:
                    server.stdout.close()
                if server.wait(60):
                    print(
                        f"the server ended with {server.returncode}: {(place / 'log').read_text()}",
                        file=sys.stderr,
                    )


@contextmanager
def own_server(pool: int) -> Iterator[DaytonaConfig]:
    """As `serving`, for who needs nothing but the way to it."""
    with serving(pool) as server:
        yield server.config
