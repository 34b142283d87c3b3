"""Two curves: latency against the number of living sandboxes, throughput against the number of clients.

`plots.py [--alive N] [--clients N] [--seconds S]` writes PNG files and their data beside them to `results/`, fits how
fast cost grows, and prints where the knee is and what was busy there. Needs matplotlib.
"""

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from footprint import MIB, available, tree_pss
from measure import percentile, progress, serving
from rows.load import affordable, cycle, sustained
from table import machine
from wire import Raw

PLACE = Path(__file__).resolve().parent / "results"
_REFILL_S = 0.05
_POOL = 4
_KNEE = 1.15
"""Twice the clients that do not bring so many times the throughput are beyond the knee."""


def levels(most: int) -> list[int]:
    """1, 3, 10, 30 … and the most itself."""
    found = [number for power in range(6) for number in (10**power, 3 * 10**power)]
    return [number for number in found if number < most] + [most]


def exponent(xs: Sequence[float], ys: Sequence[float]) -> float:
    """The b of y = a * x^b that fits best in logarithms: 0 is constant, 1 is linear."""
    logs = [(math.log(x), math.log(y)) for x, y in zip(xs, ys, strict=True)]
    return statistics.linear_regression([x for x, _ in logs], [y for _, y in logs]).slope


def knee(clients: Sequence[int], rates: Sequence[float]) -> int:
    """The smallest number of clients after which more of them bring next to nothing."""
    for here, now, after in zip(clients, rates, rates[1:], strict=False):
        if after < _KNEE * now:
            return here
    return clients[-1]


def busy_seconds() -> float:
    """Processor time of the whole host that was not idle, so far."""
    fields = [int(text) for text in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / 100


def live_curve(most: int, rounds: int) -> list[dict[str, float]]:
    """At each number of living sandboxes: create + line, a line in one that lives, memory."""
    found = []
    with serving(_POOL, TIDEPOOL_MAX_SANDBOXES=str(most + 100)) as server, Raw(server.config) as raw:
        cycle(raw)
        boxes: list[str] = []
        try:
            for level in levels(most):
                while len(boxes) < level:
                    boxes.append(raw.create())
                    progress(f"{len(boxes)}/{most} alive")
                found.append({"alive": level, **_at_level(raw, boxes, rounds)})
                found[-1]["memory of all processes, MiB"] = round(tree_pss(server.pid) / MIB, 1)
        finally:
            for box in boxes:
                raw.delete(box)
    return found


def _at_level(raw: Raw, boxes: list[str], rounds: int) -> dict[str, float]:
    made, ran = [], []
    for number in range(rounds + 2):
        time.sleep(_REFILL_S)  # the pool is refilled outside the timed part
        begin = time.perf_counter()
        box = raw.create()
        raw.line(box, "print(1)")
        created = time.perf_counter()
        raw.delete(box)
        again = time.perf_counter()
        raw.line(boxes[number * len(boxes) // (rounds + 2)], "print(1)")
        if number >= 2:
            made.append((created - begin) * 1000)
            ran.append((time.perf_counter() - again) * 1000)
    return {
        "create + line, p50 ms": round(percentile(made, 0.5), 3),
        "create + line, p95 ms": round(percentile(made, 0.95), 3),
        "line in a living one, p50 ms": round(percentile(ran, 0.5), 3),
        "line in a living one, p95 ms": round(percentile(ran, 0.95), 3),
    }


def client_curve(most: int, seconds: float) -> list[dict[str, float]]:
    """At each number of clients: cycles a second, latency, processor time of a cycle."""
    found = []
    with serving(16) as server:
        sustained(server, 2, 1)
        count = 1
        while count <= most:
            busy = busy_seconds()
            done, wrong, took = sustained(server, count, seconds)
            busy = busy_seconds() - busy
            times = [milliseconds for _, milliseconds in done]
            found.append(
                {
                    "clients": count,
                    "cycles a second": round(len(done) / took, 2),
                    "cycle, p50 ms": round(percentile(times, 0.5), 2),
                    "cycle, p99 ms": round(percentile(times, 0.99), 2),
                    "processor time of a cycle, ms": round(busy * 1000 / len(done), 3),
                    "processors busy": round(busy / took, 2),
                    "failures": len(wrong),
                }
            )
            progress(f"{count}/{most} clients")
            count *= 2
    return found


def column(rows: list[dict[str, float]], name: str) -> list[float]:
    """One column of a curve."""
    return [row[name] for row in rows]


def live_findings(rows: list[dict[str, float]]) -> list[str]:
    """How latency grows with what is alive, in sentences."""
    alive, said = column(rows, "alive"), []
    for name in ("create + line, p50 ms", "line in a living one, p50 ms"):
        values = column(rows, name)
        power = exponent(alive, values)
        slow = next((int(x) for x, y in zip(alive, values, strict=True) if y > 1.5 * values[0]), None)
        where = f"more than half as long again from {slow} alive" if slow else "nowhere half as long again"
        grows = "no faster than linear" if power <= 1 else "FASTER than linear"
        said.append(
            f"{name}: {values[0]:.2f} with {alive[0]:.0f} alive, {values[-1]:.2f} with {alive[-1]:.0f}; "
            f"grows as N^{power:.2f} ({grows}); {where}"
        )
    return said


def client_findings(rows: list[dict[str, float]], processors: int) -> list[str]:
    """Where the knee of throughput is, and what was busy there."""
    clients = [int(count) for count in column(rows, "clients")]
    at = knee(clients, column(rows, "cycles a second"))
    row = rows[clients.index(at)]
    power = exponent(clients, column(rows, "processor time of a cycle, ms"))
    share = row["processors busy"] / processors
    why = (
        "the processors are the limit" if share > 0.85 else "something else than the processors is the limit"
    )
    return [
        f"throughput: knee at {at} clients with {row['cycles a second']:.1f} cycles a second; there "
        f"{row['processors busy']:.2f} of {processors} processors were busy ({share:.0%}): {why}",
        f"processor time of a cycle: {rows[0]['processor time of a cycle, ms']:.1f} ms with one client, "
        f"{rows[-1]['processor time of a cycle, ms']:.1f} ms with {clients[-1]}; grows as clients^{power:.2f}",
        f"failures: {sum(column(rows, 'failures')):.0f}",
    ]


def draw(rows: list[dict[str, float]], x: str, lines: Sequence[str], title: str, path: Path) -> None:
    """One picture with both axes logarithmic."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 4.5), dpi=120)
    for name in lines:
        axes.plot(column(rows, x), column(rows, name), marker="o", markersize=4, label=name)
    axes.set(xscale="log", yscale="log", xlabel=x, title=title)
    axes.grid(visible=True, which="both", alpha=0.25)
    axes.legend()
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)


def save(name: str, rows: list[dict[str, float]], findings: list[str], host: dict[str, Any]) -> None:
    """The data beside the picture."""
    data = {"machine": host, "findings": findings, "points": rows}
    (PLACE / f"{name}.json").write_text(json.dumps(data, indent=1) + "\n")
    print("\n".join(findings), flush=True)


def main() -> None:
    """Measure, fit, draw."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench plots", description="Curves of speed.", allow_abbrev=False
    )
    parser.add_argument("--alive", type=int, default=3000, help="most sandboxes alive (default %(default)s)")
    parser.add_argument("--clients", type=int, default=64, help="most clients at once (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=8, help="of load at each number of clients")
    parser.add_argument("--rounds", type=int, default=30, help="at each number of living sandboxes")
    asked = parser.parse_args()
    host, processors = machine(), machine()["processors"]
    PLACE.mkdir(exist_ok=True)
    most = affordable(asked.alive, available())
    if most < asked.alive:
        print(f"only {most} fit into this machine's memory", file=sys.stderr)
    rows = client_curve(asked.clients, asked.seconds)
    save("clients", rows, client_findings(rows, processors), host)
    lines = ["cycles a second", "cycle, p50 ms", "cycle, p99 ms", "processor time of a cycle, ms"]
    draw(rows, "clients", lines, "Full cycles against clients at once", PLACE / "clients.png")
    rows = live_curve(most, asked.rounds)
    save("alive", rows, live_findings(rows), host)
    lines = [name for name in rows[0] if name.endswith(" ms")]
    draw(rows, "alive", lines, "Latency against living sandboxes", PLACE / "alive.png")


if __name__ == "__main__":
    main()
