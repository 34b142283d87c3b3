"""A scripted agent: it solves tasks, its traces become tools, and it solves further tasks with them.

    .venv/bin/python examples/agent.py [LIBRARY]

No model is asked: what stands for one writes a program for each task from a few turns of phrase, as a model does,
with names and numbers of its own. Every program runs in a sandbox of its own; with tools and without them a task takes
one call. LIBRARY (default: a temporary directory) is where the tools go.
"""

import json
import random
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from daytona_sdk import CreateSandboxFromSnapshotParams, Daytona
from sea.box import Box
from sea.evolve import evolve
from sea.ingest import read_traces
from sea.library import Library
from sea.normalise import cost
from sea.use import Shelf

LEARNED_FROM = 24
SOLVED_AFTERWARDS = 8
LIMIT_SECONDS = 20
NAMES = (("price", "rate"), ("amount", "tax"), ("cost", "share"), ("total", "percent"))
SAVINGS = "An account of {0} grows by {1} % a year. What does it hold after {2} years, to the cent?"
BILL = "Goods for {0} are reduced by {1} %, then {2} % tax are added. What is to be paid, to the cent?"


class Solved(NamedTuple):
    """One task: what was asked, the program, what it printed, and the calls that were made for it."""

    task: str
    problem: str
    code: str
    output: str
    calls: int


def programs(seed: int, count: int) -> list[tuple[str, str, str]]:
    """Task, problem and the program that the stand-in for a model writes."""
    chance = random.Random(seed)  # noqa: S311 (no secret)
    found = []
    for number in range(count):
        first, second = chance.choice(NAMES)
        given = (chance.randint(100, 900), chance.randint(2, 9), chance.randint(3, 19))
        if number % 2:
            code = (
                f"{first} = {given[0]}\n{second} = {given[1]}\nfor year in range({given[2]}):\n"
                f"    growth = {first} * {second} / 100\n    {first} = {first} + growth\nprint(round({first}, 2))\n"
            )
        else:
            code = (
                f"{first} = {given[0]}\nreduced = {first} - {first} * {given[1]} / 100\n"
                f"{second} = reduced * {given[2]} / 100\nprint(round(reduced + {second}, 2))\n"
            )
        found.append((f"task-{seed}-{number}", (SAVINGS if number % 2 else BILL).format(*given), code))
    return found


def solve(daytona: Daytona, task: str, problem: str, code: str, tools: str = "") -> Solved:
    """Run one program, with the tools it calls in scope, in a sandbox of its own."""
    with daytona.create(CreateSandboxFromSnapshotParams(network="none")) as sandbox:
        response = sandbox.process.code_run(f"{tools}\n{code}" if tools else code, timeout=LIMIT_SECONDS)
    if response.exit_code:
        raise RuntimeError(f"{task} failed:\n{response.result}")
    return Solved(task, problem, code, response.result, 1)


def trace_of(solved: Solved) -> dict[str, Any]:
    """What the agent notes of a task."""
    return {
        "id": solved.task,
        "problem": solved.problem,
        "solution": f"```python\n{solved.code}```\n\n```output\n{solved.output.rstrip()}\n```",
        "execution_flow": [
            {"type": "code", "content": solved.code},
            {"type": "output", "content": solved.output},
        ],
        "metadata": {"status": "success"},
    }


def write_traces(path: Path, solved: list[Solved]) -> None:
    """One trace a line."""
    path.write_text("".join(json.dumps(trace_of(one)) + "\n" for one in solved), encoding="utf-8")


def main(library: Path, place: Path) -> int:
    """Solve, learn, solve again; 0 when every answer is the same with tools and without."""
    with Daytona() as daytona:
        first = [solve(daytona, *one) for one in programs(1, LEARNED_FROM)]
        write_traces(place / "first.jsonl", first)
        print(f"solved {len(first)} tasks in {len(first)} calls; their traces become tools:")
        tools = Library(library)
        evolve([place / "first.jsonl"], tools, box=Box(daytona), say=lambda _: None)
        for name in tools.names():
            print(f"\n{tools.source(name)}")
        plain = [solve(daytona, *one) for one in programs(2, SOLVED_AFTERWARDS)]
        write_traces(place / "second.jsonl", plain)
        again = []
        for one, made in zip(
            plain, Shelf(tools).rewritten(read_traces([place / "second.jsonl"]).traces), strict=True
        ):
            sources = "\n".join(tools.source(name) for name in made["tools"])
            again.append(solve(daytona, one.task, one.problem, made["rewritten"], sources))
    same = sum(one.output == other.output for one, other in zip(plain, again, strict=True))
    before, after = (sum(cost(one.code) for one in side) for side in (plain, again))
    print(f"{len(plain)} further tasks     calls   tokens the agent wrote   same answers")
    print(f"without tools      {sum(one.calls for one in plain):5}   {before:22}")
    print(f"with tools         {sum(one.calls for one in again):5}   {after:22}   {same} of {len(plain)}")
    print(f"\nThe last one with tools:\n{again[-1].code}")
    return 0 if same == len(plain) else 1


if __name__ == "__main__":
    if len(sys.argv) > 2:
        sys.exit("usage: agent.py [LIBRARY]")
    with tempfile.TemporaryDirectory(prefix="tidepool-agent-") as directory:
        chosen = Path(sys.argv[1]) if len(sys.argv) == 2 else Path(directory) / "tools"
        sys.exit(main(chosen, Path(directory)))
