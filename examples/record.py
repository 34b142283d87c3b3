"""Records the example traces: runs each program under examples/tasks in a sandbox and keeps what it printed.

The programs are the source (the problem is the docstring) and examples/traces/KIND.jsonl, one SEA trace per
line, is made from them; edit the programs, never the traces. No program is run outside a sandbox, and a
record is written only if its program ended with exit code 0.
"""

import argparse
import ast
import hashlib
import json
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from daytona_sdk import CreateSandboxFromSnapshotParams, Daytona, DaytonaError

HERE = Path(__file__).resolve().parent
TASKS = HERE / "tasks"
TRACES = HERE / "traces"
LIMIT_SECONDS = 20


class Task(NamedTuple):
    """One example program: `kind` is its folder, `problem` the text the solver was given."""

    kind: str
    name: str
    problem: str
    code: str


class Run(NamedTuple):
    """What one sandboxed run printed, how it ended, and how long the call took (milliseconds)."""

    output: str
    exit_code: int
    latency_ms: float


def read_task(path: Path) -> Task:
    """Split a program file into the problem (its docstring) and the code below it."""
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source, filename=str(path))
    problem = ast.get_docstring(tree)
    if problem is None:
        raise ValueError(f"{path} has no docstring; the problem text belongs there")
    end = tree.body[0].end_lineno or 0
    code = "\n".join(source.splitlines()[end:]).strip("\n") + "\n"
    return Task(path.parent.name, path.stem, " ".join(problem.split()), code)


def read_tasks(kinds: list[str]) -> list[Task]:
    """All example tasks in a fixed order, or those of the given kinds."""
    tasks = [read_task(path) for path in sorted(TASKS.glob("*/*.py"))]
    return [task for task in tasks if not kinds or task.kind in kinds]


def run(daytona: Daytona, task: Task) -> Run:
    """Run one program in a sandbox of its own, which is deleted whatever happens."""
    sandbox = daytona.create(CreateSandboxFromSnapshotParams(network="none"))
    try:
        began = time.perf_counter()
        response = sandbox.process.code_run(task.code, timeout=LIMIT_SECONDS)
        latency_ms = (time.perf_counter() - began) * 1000
    finally:
        sandbox.delete()
    return Run(response.result, response.exit_code, latency_ms)


def trace_of(task: Task, done: Run) -> dict[str, Any]:
    """The SEA trace of one run; ids depend on the program only, so that recording again keeps them."""
    digest = hashlib.sha256(f"{task.kind}/{task.name}\n{task.code}".encode()).hexdigest()
    return {
        "trace_id": digest[:32],
        "id": f"{task.kind}/{task.name}",
        "problem": task.problem,
        "solution": f"```python\n{task.code}```\n\n```output\n{done.output.rstrip()}\n```",
        "tools_invoked": ["python"],
        "execution_flow": [
            {"type": "code", "description": "Ran a Python program in a sandbox", "content": task.code},
            {"type": "output", "description": "What it printed", "content": done.output},
        ],
        "metadata": {
            "latency_ms": round(done.latency_ms, 2),
            "status": "success",
            "trace_name": f"example_{task.kind}",
        },
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def read_traces() -> dict[str, dict[str, Any]]:
    """The recorded traces by id."""
    lines = [line for path in sorted(TRACES.glob("*.jsonl")) for line in path.read_text("utf-8").splitlines()]
    return {record["id"]: record for record in map(json.loads, lines)}


def differences(tasks: list[Task], runs: list[Run]) -> Iterator[str]:
    """One sentence for every task whose record is missing, stale or does not reproduce."""
    recorded = read_traces()
    for task, done in zip(tasks, runs, strict=True):
        name = f"{task.kind}/{task.name}"
        if name not in recorded:
            yield f"{name} is not recorded"
            continue
        code, output = (step["content"] for step in recorded[name]["execution_flow"])
        if code != task.code:
            yield f"{name} was changed after it was recorded"
        elif output != done.output:
            yield f"{name} printed {done.output!r}, recorded is {output!r}"
    kinds = {task.kind for task in tasks}
    names = {f"{task.kind}/{task.name}" for task in tasks}
    for name in sorted(recorded.keys() - names):
        if name.partition("/")[0] in kinds:
            yield f"{name} is recorded, but its program is gone"


def write_traces(tasks: list[Task], runs: list[Run]) -> None:
    """Write one file per kind, replacing the old one."""
    TRACES.mkdir(exist_ok=True)
    for kind in sorted({task.kind for task in tasks}):
        records = [trace_of(task, done) for task, done in zip(tasks, runs, strict=True) if task.kind == kind]
        text = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
        (TRACES / f"{kind}.jsonl").write_text(text, encoding="utf-8")


def main() -> int:
    """Record the traces, or compare with --check; 0 when everything ran (and reproduced)."""
    parser = argparse.ArgumentParser(description="Record the example traces in sandboxes.")
    parser.add_argument("--check", action="store_true", help="run again and compare; write nothing")
    parser.add_argument("--kind", action="append", default=[], help="only this folder of tasks; may repeat")
    options = parser.parse_args()
    tasks = read_tasks(options.kind)
    if not tasks:
        print(f"no example programs of kind {', '.join(options.kind) or 'any'} in {TASKS}", file=sys.stderr)
        return 2
    try:
        with Daytona() as daytona:
            runs = [run(daytona, task) for task in tasks]
    except DaytonaError as error:
        print(f"the example programs cannot run: {error}", file=sys.stderr)
        return 1
    problems = [
        f"{task.kind}/{task.name} ended with exit code {done.exit_code}: {done.output}"
        for task, done in zip(tasks, runs, strict=True)
        if done.exit_code != 0
    ]
    if options.check:
        problems += differences(tasks, runs)
    elif not problems:
        write_traces(tasks, runs)
    for problem in problems:
        print(problem, file=sys.stderr)
    verb = "reproduced" if options.check else "recorded"
    print(f"{len(tasks) - len(problems)} of {len(tasks)} programs {verb}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
