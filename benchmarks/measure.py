"""Interleaved timing of several ways to do the same thing, in one run: medians, spread, ratios.

Absolute times on a shared machine mean little; the ratio of two columns of one run does.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from daytona_sdk import DaytonaConfig


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
        if sys.stderr.isatty():
            print(f"\r{number + 1}/{rounds + warmup}", end="", file=sys.stderr, flush=True)
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


@contextmanager
def own_server(pool: int) -> Iterator[DaytonaConfig]:
    """A server of this run's own that keeps `pool` parked sandboxes; it and all it made end with the block."""
    with tempfile.TemporaryDirectory(prefix="tidepool-bench-") as place:
        os.chmod(place, 0o755)  # the server gives root up and must still come through
        environment = {**os.environ, "TIDEPOOL_STATE_DIR": f"{place}/state", "TIDEPOOL_API_KEY": "benchmark"}
        command = [sys.executable, "-m", "tidepool.server", "--port", "0", "--pool", str(pool)]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True)
        try:
            assert server.stdout is not None
            url = server.stdout.readline().strip()
            yield DaytonaConfig(api_key="benchmark", api_url=url)
        finally:
            server.terminate()
            server.wait(30)
