"""M3: how well the gates tell good solutions of MBPP tasks from bad ones, by half of each task's asserts.

Beside it what these asserts alone can turn away: the ceiling of the evidence.
"""

import gzip
import json
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from sea.bench.rows import Row, Setting
from sea.box import Box
from sea.gates.evidence import Evidence, Recorded, asserts
from sea.gates.judge import STEPS, WITHOUT_MUTATION, judge
from sea.gates.lab import Lab

THREADS = 3
FILE = "gate_mbpp.jsonl.gz"
_GOOD, _BAD = 0.95, 0.92
_ANSWERS_ALONE = tuple(step for step in STEPS if step[0] in ("isolated import", "replay"))


@dataclass(frozen=True)
class Task:
    """One MBPP task: its function, its asserts as calls, its labelled solutions."""

    name: str
    entry: str
    calls: tuple[Recorded, ...]
    asserts: int
    solutions: tuple[tuple[str, bool], ...]
    """(code, whether it passes all official asserts)."""

    @property
    def half(self) -> tuple[Recorded, ...]:
        """The larger half of the asserts."""
        return self.calls[: (len(self.calls) + 1) // 2]


def tasks(path: Path, limit: int | None = None) -> list[Task]:
    """Tasks of the data set, in its order; all when there is no limit."""
    found = []
    with gzip.open(path, "rt") as lines:
        for line in list(lines)[:limit]:
            row = json.loads(line)
            test = row["official_test"]
            calls = tuple(asserts(test, ("candidate", row["entry_point"])))
            solutions = tuple((one["code"], bool(one["passes_official"])) for one in row["solutions"])
            found.append(Task(row["name"], row["entry_point"], calls, test.count("assert "), solutions))
    return found


def rows(setting: Setting, box: Box, say: Callable[[str], None]) -> Iterator[Row]:
    """Good accepted and bad rejected, all gates and the asserts alone."""
    chosen, lab = tasks(setting.file(FILE)), Lab(box)
    work = [(task, code, good) for task in chosen for code, good in dict(task.solutions).items()]
    times = Counter((task.name, code) for task in chosen for code, _ in task.solutions)
    say(f"M3: {len(chosen)} tasks, {len(work)} different solutions")
    alone: Counter[tuple[bool, bool]] = Counter()
    full: Counter[tuple[bool, bool]] = Counter()
    pool = ThreadPoolExecutor(THREADS)
    try:
        results = pool.map(lambda item: _judged(item[0], item[1], lab), work)
        for number, ((task, code, good), (by_asserts, by_all)) in enumerate(zip(work, results, strict=True)):
            alone[good, by_asserts] += times[task.name, code]
            full[good, by_all] += times[task.name, code]
            if number % 200 == 199:
                say(f"  {number + 1}/{len(work)}")
    finally:
        pool.shutdown(cancel_futures=True)
    kept, caught = _share(full, True), _share(full, False)
    met = kept >= _GOOD and caught >= _BAD
    ceiling = f"{_share(alone, False):.1%} by the evidence alone"
    yield Row("M3", f"{full.total()} solutions", f"{kept:.1%} / {caught:.1%}", ceiling, ">= 95 % / 92 %", met)


def _judged(task: Task, code: str, lab: Lab) -> tuple[bool, bool]:
    """Whether the asserts alone accept a solution, and whether all gates do."""
    evidence = Evidence(task.half, equality="python")
    full = judge(code, task.entry, evidence, lab, WITHOUT_MUTATION)
    reached = any(verdict.gate == "replay" for verdict in full.verdicts)
    replayed = reached and all(v.passed for v in full.verdicts if v.gate in ("isolated import", "replay"))
    return (
        replayed if reached else judge(code, task.entry, evidence, lab, _ANSWERS_ALONE).accepted
    ), full.accepted


def _share(table: Counter[tuple[bool, bool]], good: bool) -> float:
    """Share of the good that is accepted, or of the bad that is rejected."""
    total = table[good, True] + table[good, False]
    return table[good, good] / total if total else 1.0
