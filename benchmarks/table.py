"""The whole table of speed: every row in a process of its own, with its target, peers, percentiles and what was warm.

`scripts/bench [--only ROW…] [--quick] [--full] [--seconds S] [--alive N] [--against REV]` starts it. Ctrl-C ends the
row under way and prints what there is. Results go to `results/` as JSON and as a table, by date.
"""

import argparse
import datetime
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import against
from measure import PYTHON, percentile, timed
from outcome import Outcome, Terms
from rows import ROWS

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
REFERENCE_MS = (10, 16)
"""What `python3 -c pass` takes on the machine that the targets are for."""


@dataclass
class Results:
    """Everything of one run."""

    machine: dict[str, Any]
    calibration_ms: float
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """For a file."""
        rows = {name: found.as_json() for name, found in self.outcomes.items()}
        return {
            "machine": self.machine,
            "python3 -c pass, ms": self.calibration_ms,
            "rows": rows,
            **self._failed(),
        }

    def _failed(self) -> dict[str, Any]:
        return {"not measured": self.failures} if self.failures else {}


def machine() -> dict[str, Any]:
    """What the figures depend on; nothing that tells which machine it is."""
    info = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in info if line.startswith("model name")]
    memory = Path("/proc/meminfo").read_text().split()[1]
    return {
        "processors": os.cpu_count(),
        "processor": models[0] if models else platform.machine(),
        "memory GiB": round(int(memory) / (1 << 20), 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "commit": against.commit(ROOT),
        "load before": round(os.getloadavg()[0], 2),
        "when": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def calibrate(rounds: int = 20) -> float:
    """Median milliseconds of the plain interpreter doing nothing."""
    return statistics.median(
        timed(lambda: subprocess.run([PYTHON, "-c", "pass"], check=True)) for _ in range(rounds)
    )


def run_row(name: str, terms: Terms, python: str = sys.executable) -> Outcome:
    """One row in a process of its own, with the packages and the code that `python` has.

    Raises:
        RuntimeError: It failed, or took longer than it may.
    """
    limit = ROWS[name].deadline_s + terms.seconds * (name == "cycles") + 3000 * terms.full
    given = json.dumps({**vars(terms), "data": str(terms.data)})
    command = [python, str(HERE / "row.py"), name]
    pipe = subprocess.PIPE
    # In a session of its own: a Ctrl-C must reach it once, from here, or the second would meet it cleaning up.
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, start_new_session=True) as child:
        try:
            out, _ = child.communicate(given, timeout=limit)
        except BaseException as error:
            child.send_signal(signal.SIGINT)  # it ends its server and removes what it made
            child.communicate(timeout=90)
            if isinstance(error, subprocess.TimeoutExpired):
                raise RuntimeError(f"it was not over after {limit:g} s and was ended") from None
            raise
    if child.returncode:
        raise RuntimeError(f"it ended with {child.returncode}; the reason is above")
    return Outcome.from_json(json.loads(out))


def measure(results: Results, names: list[str], terms: Terms) -> None:
    """All rows, one after another; what fails is said and the next begins."""
    for name in names:
        begin = time.perf_counter()
        print(f"# {name} …", file=sys.stderr, flush=True)
        try:
            results.outcomes[name] = run_row(name, terms)
        except RuntimeError as error:
            results.failures[name] = str(error)
            print(f"{name}: {error}", file=sys.stderr)
            continue
        except KeyboardInterrupt:
            results.failures[name] = "interrupted"
            return
        print("\n".join(row_lines(name, results.outcomes[name])), flush=True)
        print(f"({time.perf_counter() - begin:.0f} s)\n", flush=True)


def row_lines(name: str, found: Outcome) -> list[str]:
    """One row as text: percentiles of ours and the peers, success, what was warm, verdicts."""
    row = ROWS[name]
    lines = [f"## {name}: {row.title}", f"target: {row.target}", f"warm: {found.warm}"]
    lines.append(f"success: {found.success:.2%} of {found.tried}")
    if found.samples:
        lines += ["", "| ms | p50 | p95 | p99 | max | runs |", "|---|--:|--:|--:|--:|--:|"]
    for way, values in found.samples.items():
        figures = [percentile(values, share) for share in (0.5, 0.95, 0.99, 1)]
        lines.append(f"| {way} | {' | '.join(f'{one:.2f}' for one in figures)} | {len(values)} |")
    lines += ["", *(f"- {check.sentence}" for check in found.checks)]
    lines += [f"- {what}: {value}" for what, value in found.facts.items()]
    lines += [f"- left out: {why}" for why in found.left_out]
    lines += [f"- WRONG: {sentence}" for sentence in found.wrong]
    return lines


def head_lines(results: Results) -> list[str]:
    """The machine, and how it compares with the one that the targets are for."""
    low, high = REFERENCE_MS
    slower = results.calibration_ms / ((low + high) / 2)
    return [
        ", ".join(f"{key} {value}" for key, value in results.machine.items()),
        f"`python3 -c pass`: {results.calibration_ms:.1f} ms here, {low}-{high} ms on the reference machine: "
        f"absolute targets are {slower:.1f} times as hard to meet here; ratios are not affected.",
    ]


def summary_lines(results: Results) -> list[str]:
    """Every verdict once more, one line each."""
    lines = ["| row | check | target | here | |", "|---|---|--:|--:|---|"]
    for name, found in results.outcomes.items():
        for check in found.checks:
            verdict = f"{'met' if check.met else 'NOT met'}{', ratio' if check.kind == 'ratio' else ''}"
            target = f"{check.sense} {check.target:g}{check.unit}"
            lines.append(f"| {name} | {check.what} | {target} | {check.value:.2f}{check.unit} | {verdict} |")
    return lines + [f"| {name} | not measured: {why} | | | |" for name, why in results.failures.items()]


def save(results: Results, place: Path) -> Path:
    """Write the results of the day; a second run of the same day replaces the rows it measured."""
    place.mkdir(exist_ok=True)
    path = place / f"{results.machine['when'][:10]}.json"
    found = results.as_json()
    if (
        path.exists()
        and (earlier := json.loads(path.read_text()))["machine"]["commit"] == results.machine["commit"]
    ):
        found["rows"] = {**earlier["rows"], **found["rows"]}
    path.write_text(json.dumps(found, indent=1) + "\n")
    whole = Results(results.machine, results.calibration_ms, failures=results.failures)
    whole.outcomes = {name: Outcome.from_json(found["rows"][name]) for name in ROWS if name in found["rows"]}
    parts = [["# Speed, " + path.stem], head_lines(whole), summary_lines(whole)]
    parts += [row_lines(name, outcome) for name, outcome in whole.outcomes.items()]
    path.with_suffix(".md").write_text("\n\n".join("\n".join(part) for part in parts) + "\n")
    return path


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description=__doc__.splitlines()[0], allow_abbrev=False
    )
    parser.add_argument(
        "--only", nargs="+", choices=ROWS, metavar="ROW", default=list(ROWS), help=", ".join(ROWS)
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of the rounds, 5 s of load, 100 alive")
    parser.add_argument("--full", action="store_true", help="every real program, 2,500 in all")
    parser.add_argument("--seconds", type=float, help="of the sustained load (default 60)")
    parser.add_argument("--alive", type=int, help="sandboxes alive at once (default 3000)")
    parser.add_argument("--against", metavar="REV", help="compare this tree with a commit, in turn: A B B A")
    parser.add_argument("--no-save", action="store_true", help="write nothing to benchmarks/results")
    return parser.parse_args()


def terms_of(asked: argparse.Namespace) -> Terms:
    """How much is measured."""
    scale, seconds, alive = (0.1, 5.0, 100) if asked.quick else (1.0, 60.0, 3000)
    return Terms(scale, asked.seconds or seconds, asked.alive or alive, asked.full)


def main() -> int:
    """Measure, print, save; 1 when a row could not be measured or something failed in it."""
    asked = options()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does
    names, terms = asked.only, terms_of(asked)
    results = Results(machine(), calibrate())
    print("\n".join(head_lines(results)), end="\n\n", flush=True)
    if asked.against:
        return against.compare(ROOT, asked.against, names, lambda name, python: run_row(name, terms, python))
    measure(results, names, terms)
    print("\n".join(summary_lines(results)))
    if results.outcomes and not asked.no_save:
        print(f"\nwritten: {save(results, HERE / 'results').relative_to(ROOT)}")
    return 1 if results.failures or any(found.wrong for found in results.outcomes.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
