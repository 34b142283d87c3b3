"""How well the gates tell good tools from bad: `gates.py [m3] [m4] [hostile] [m5] [m6] [--tasks N]`.

m3: labelled solutions of MBPP tasks, judged by half of each task's asserts; beside it what these asserts alone can turn
away. m4: planted bad tools (hostile: attacks). m5: how many mutants the generated tests notice. Everything runs in
sandboxes of a server of this run's own; the data is read from `../shared/data` beside the project.
"""

import argparse
import ast
import gzip
import itertools
import json
import random
import statistics
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from measure import own_server

from daytona_sdk import Daytona
from sea import equivalence
from sea.box import Box
from sea.gates import hostile
from sea.gates.evidence import Evidence, Original, Recorded, asserts
from sea.gates.judge import STEPS, WITHOUT_MUTATION, Judgement, judge
from sea.gates.lab import Lab, Program, Terms
from sea.gates.mutants import scoring, strengthening
from sea.gates.strength import LEAST_SCORE, Strength, different, measure

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "gate_mbpp" / "gate_mbpp.jsonl.gz"
THREADS = 3
ANSWERS_ALONE = tuple(step for step in STEPS if step[0] in ("isolated import", "replay"))


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


def tasks(limit: int | None) -> list[Task]:
    """Tasks of the data set, in its order."""
    found = []
    with gzip.open(DATA, "rt") as lines:
        for line in list(lines)[:limit]:
            row = json.loads(line)
            test = row["official_test"]
            calls = tuple(asserts(test, ("candidate", row["entry_point"])))
            solutions = tuple((one["code"], bool(one["passes_official"])) for one in row["solutions"])
            found.append(Task(row["name"], row["entry_point"], calls, test.count("assert "), solutions))
    return found


def m3(box: Box, options: argparse.Namespace) -> None:
    """Good accepted, bad rejected, and the same by the asserts alone."""
    chosen = tasks(options.tasks)
    lab = Lab(box)
    work = [(task, code, good) for task in chosen for code, good in dict(task.solutions).items()]
    times = Counter((task.name, code) for task in chosen for code, _ in task.solutions)

    def one(item: tuple[Task, str, bool]) -> tuple[bool, Judgement]:
        task, code, _ = item
        evidence = Evidence(task.half, equality="python")
        full = judge(code, task.entry, evidence, lab, WITHOUT_MUTATION)
        reached = any(verdict.gate == "replay" for verdict in full.verdicts)
        replayed = reached and all(v.passed for v in full.verdicts if v.gate in ("isolated import", "replay"))
        alone = replayed if reached else judge(code, task.entry, evidence, lab, ANSWERS_ALONE).accepted
        return alone, full

    with ThreadPoolExecutor(THREADS) as pool:
        results = list(pool.map(one, work))
    rows = [
        (task, code, good, alone, full, times[task.name, code])
        for (task, code, good), (alone, full) in zip(work, results, strict=True)
    ]
    print(
        f"\nM3: {len(chosen)} tasks, {sum(row[5] for row in rows)} solutions, half of the asserts as evidence"
    )
    for title, index in (("asserts alone (the ceiling)", 3), ("all gates", 4)):
        table: Counter[tuple[bool, bool]] = Counter()
        for row in rows:
            accepted = row[4].accepted if index == 4 else row[3]
            table[row[2], accepted] += row[5]
        good, bad = table[True, True] + table[True, False], table[False, True] + table[False, False]
        print(
            f"  {title:28} good accepted {table[True, True]}/{good} = {table[True, True] / good:.1%}"
            f"   bad rejected {table[False, False]}/{bad} = {table[False, False] / bad:.1%}"
        )
    gates: Counter[tuple[str, bool]] = Counter()
    for _, _, good, _, full, count in rows:
        if not full.accepted:
            gates[full.reason.partition(":")[0], good] += count
    for (gate, good), count in sorted(gates.items()):
        print(f"    {'good' if good else 'bad'} turned away at {gate}: {count}")
    for task, _, good, _, full, _ in rows:
        if good and not full.accepted:
            print(f"    {task.name}: {full.reason[:140]}")


@dataclass(frozen=True)
class Tool:
    """A tool that every gate accepted, with its evidence."""

    code: str
    name: str
    evidence: Evidence
    where: str


def mbpp_tools(chosen: list[Task]) -> list[Tool]:
    """The first good solution of each task; its evidence is half of the task's asserts."""
    found = []
    for task in chosen:
        good = [code for code, passes in task.solutions if passes]
        if good:
            evidence = Evidence(task.half, original=Original(good[0], task.entry), equality="python")
            found.append(Tool(good[0], task.entry, evidence, "mbpp"))
    return found


def mined_tools(folder: Path) -> list[Tool]:
    """Tools of libraries that `sea evolve` made in subfolders of `folder`; their evidence is their recorded calls."""
    found = []
    for path in sorted(folder.glob("*/*/spec.json")):
        spec = json.loads(path.read_text())
        code = path.with_name("tool.py").read_text()
        calls = tuple(
            Recorded(tuple(map(ast.literal_eval, call["input"].values())), ast.literal_eval(call["output"]))
            for call in spec["example_calls"]
        )
        evidence = Evidence(calls, original=Original(code, spec["name"]))
        found.append(Tool(code, spec["name"], evidence, "mined"))
    return found


def population(options: argparse.Namespace) -> list[Tool]:
    """The tools that m4 and m5 look at."""
    mined = mined_tools(options.libraries) if options.libraries else []
    tools = mbpp_tools(tasks(options.tasks))
    for some in (mined, tools):
        random.Random(options.seed).shuffle(some)
    return mined[: options.sample] + tools[: options.sample]


def m5(box: Box, options: argparse.Namespace) -> None:
    """Mutation scores of the tests that the gates generate."""
    tools = population(options)

    def one(tool: Tool) -> tuple[Tool, Strength, float]:
        started = time.monotonic()
        lab = Lab(box, packages(tool.code))
        found = measure(Program(tool.code, tool.name), tool.evidence.calls, lab, options.seed)
        return tool, found, time.monotonic() - started

    results = [one(tool) for tool in tools]
    for where in ("mined", "mbpp"):
        rows = [row for row in results if row[0].where == where and row[1].mutants]
        if not rows:
            continue
        admitted = [found for _, found, _ in rows if found.adjusted >= LEAST_SCORE]
        seconds = sorted(seconds for _, _, seconds in rows)
        print(f"\nM5, {where}: {len(rows)} tools, {sum(found.mutants for _, found, _ in rows)} mutants")
        for title, values in (
            ("raw", [found.raw for _, found, _ in rows]),
            ("adjusted", [found.adjusted for _, found, _ in rows]),
            ("adjusted, admitted", [found.adjusted for found in admitted]),
        ):
            mean, worst = statistics.fmean(values), min(values)
            print(f"  {title:20} median {statistics.median(values):.1%}  mean {mean:.1%}  worst {worst:.1%}")
        middle, late = statistics.median(seconds), seconds[int(len(seconds) * 0.95)]
        print(
            f"  {len(admitted)} of {len(rows)} admitted; seconds a tool: median {middle:.2f}, p95 {late:.2f}"
        )
        added = statistics.fmean(len(found.tests) for _, found, _ in rows)
        print(f"  {added:.1f} tests added to each tool's recorded calls, on average")
        for tool, found, took in sorted(rows, key=lambda row: row[1].adjusted)[:5]:
            print(f"    {tool.name}: {found.adjusted:.0%} in {took:.1f} s; unnoticed {found.survivors[:2]}")


def packages(code: str) -> list[str]:
    """Packages outside the standard library that a tool needs."""
    return [name for name in ("numpy", "sympy") if f"import {name}" in code or f"from {name}" in code]


def planted(code: str, name: str, rng: random.Random, most: int) -> list[tuple[str, str]]:
    """(kind, text): one-edit mutants of both families, and wrong constants."""
    edits = [text for _, text in scoring(code, name) + strengthening(code, name)]
    found = [("mutant", text) for text in rng.sample(edits, min(most, len(edits)))]
    for _ in range(2):
        tree = ast.parse(code)
        numbers = [
            node
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, int) and type(node.value) is not bool
        ]
        if numbers:
            node = rng.choice(numbers)
            node.value = rng.choice([n for n in range(-9, 30) if n != node.value])
            found.append(("constant", ast.unparse(tree)))
    return found


def renamed(code: str, name: str) -> str:
    """The same function with other names for its own variables, and without its docstring."""
    tree = ast.parse(code)
    function = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name)
    own = {
        node.id for node in ast.walk(function) if isinstance(node, ast.Name) and type(node.ctx) is ast.Store
    }
    taken = {node.arg for node in ast.walk(function) if isinstance(node, ast.arg)}
    inner = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    declared = {
        n for node in ast.walk(tree) if isinstance(node, ast.Global | ast.Nonlocal) for n in node.names
    }
    for node in ast.walk(function):
        if isinstance(node, ast.Name) and node.id in own - taken - inner - declared:
            node.id = f"{node.id}_"
    if ast.get_docstring(function) is not None and len(function.body) > 1:
        function.body = function.body[1:]
    return ast.unparse(tree)


def plant(tool: Tool, box: Box, seed: int) -> tuple[Counter[tuple[str, str, bool]], list[str]]:
    """(kind, judged by, accepted) counted over what was planted beside one tool, and a line for each miss."""
    table: Counter[tuple[str, str, bool]] = Counter()
    missed: list[str] = []
    lab, evidence = Lab(box, packages(tool.code)), tool.evidence
    admitted = judge(tool.code, tool.name, evidence, lab, seed=seed)
    table["good, as it is", "all gates", admitted.accepted] += 1
    if not admitted.accepted:
        return table, [f"good {tool.name}: {admitted.reason}"]
    tests = Evidence((*evidence.examples, *admitted.tests), equality=evidence.equality)
    good = judge(renamed(tool.code, tool.name), tool.name, evidence, lab, WITHOUT_MUTATION, seed + 1)
    table["good, renamed", "all gates", good.accepted] += 1
    if not good.accepted:
        missed.append(f"good {tool.name}: {good.reason}")
    bad = planted(tool.code, tool.name, random.Random(f"{seed} {tool.name}"), 4)
    programs = [Program(text, tool.name) for _, text in bad]
    real = different(Program(tool.code, tool.name), programs, evidence.calls, lab, seed + 99)
    for (kind, text), counts in zip(bad, real, strict=True):
        if counts:
            by_tests = judge(text, tool.name, tests, lab, WITHOUT_MUTATION, seed + 1).accepted
            by_all = judge(text, tool.name, evidence, lab, WITHOUT_MUTATION, seed + 1).accepted
            table[kind, "recorded calls and generated tests", by_tests] += 1
            table[kind, "with the original code", by_all] += 1
            if by_all:
                missed.append(f"{kind} of {tool.name}")
    return table, missed


def m4(box: Box, options: argparse.Namespace) -> None:
    """Planted bad tools and hostile code rejected, good tools accepted."""
    tools = population(options)
    table: Counter[tuple[str, str, bool]] = Counter()
    missed: list[str] = []
    with ThreadPoolExecutor(THREADS) as pool:
        for one, lines in pool.map(lambda tool: plant(tool, box, options.seed), tools):
            table += one
            missed += lines
    print(f"\nM4: planted beside {len(tools)} tools")
    for kind, by in sorted({(kind, by) for kind, by, _ in table}):
        accepted, rejected = table[kind, by, True], table[kind, by, False]
        print(
            f"  {kind:14} judged by {by:36} rejected {rejected}/{accepted + rejected}"
            f" = {rejected / (accepted + rejected):.1%}"
        )
    for line in missed[:12]:
        print(f"    {line[:170]}")


def attacks(box: Box, _: argparse.Namespace) -> None:
    """Every attack of `sea.gates.hostile`, with the static policy before it and without."""
    lab = Lab(box)
    for title, steps in (("with the static policy", STEPS), ("without it, sandboxes alone", STEPS[1:])):
        refused = 0
        slowest = (0.0, "")
        for attack, code in hostile.ATTACKS.items():
            found = judge(code, hostile.NAME, hostile.EVIDENCE, lab, steps)
            refused += not found.accepted
            slowest = max(slowest, (found.seconds, attack))
            if found.accepted:
                print(f"    accepted: {attack}")
        total = len(hostile.ATTACKS)
        print(f"  hostile, {title}: {refused}/{total} rejected; slowest {slowest[0]:.1f} s ({slowest[1]})")
    control = judge(hostile.CONTROL, hostile.NAME, hostile.EVIDENCE, lab)
    print(f"  the honest control is {'accepted' if control.accepted else 'rejected: ' + control.reason}")


def m6(box: Box, options: argparse.Namespace) -> None:
    """Behavioural duplicates: planted ones found, look-alikes kept, none left on inputs the deduper did not use."""
    lab, rng = Lab(box), random.Random(options.seed)
    chosen = [tool for tool in population(options) if not packages(tool.code)]
    base = [equivalence.Tool(tool.code, tool.name, tool.evidence.examples) for tool in chosen]
    started = time.monotonic()
    own = equivalence.duplicates(base, lab, options.seed)
    seconds = time.monotonic() - started
    gone = {same.dropped for same in own}
    unique = [tool for number, tool in enumerate(base) if number not in gone]
    left = duplicates_left(unique, lab, options.seed + 1000)
    print(f"\nM6: {len(base)} tools, {len(own)} found to do what another does ({seconds:.0f} s)")
    for same in own[:8]:
        print(f"    {base[same.dropped].name} does what {base[same.kept].name} does ({same.calls} calls)")
    print(f"  left among {len(unique)}, on inputs the deduper did not use: {len(left)}")
    for one, other in left[:5]:
        print(f"    {unique[one].name} and {unique[other].name}")
    subjects = [number for number, tool in enumerate(unique) if tool.width][:60]
    copies = [
        equivalence.Tool(renamed(t.code, t.name), t.name, t.calls) for t in (unique[n] for n in subjects)
    ]
    edited: list[tuple[int, equivalence.Tool]] = []
    for number in subjects:
        tool = unique[number]
        mutants = [text for _, text in scoring(tool.code, tool.name)]
        for text in rng.sample(mutants, min(2, len(mutants))):
            program = Program(text, tool.name)
            seen = [call.arguments for call in tool.calls]
            if different(Program(tool.code, tool.name), [program], seen, lab, options.seed + 99)[0]:
                edited.append((number, equivalence.Tool(text, tool.name, tool.calls)))
    planted_tools = [*unique, *copies, *(tool for _, tool in edited)]
    found = equivalence.duplicates(planted_tools, lab, options.seed)
    pairs = {(same.kept, same.dropped) for same in found}
    first = len(unique)
    hits = sum((number, first + place) in pairs for place, number in enumerate(subjects))
    wrong = sum((n, first + len(copies) + place) in pairs for place, (n, _) in enumerate(edited))
    print(f"  planted copies with other names found: {hits}/{len(copies)}")
    print(f"  planted one-edit look-alikes taken for the same: {wrong}/{len(edited)}")
    general = equivalence.generalise(unique, lab)
    parts = sum(len(one.parts) for one in general)
    print(f"  {parts} tools differ from another by constants only and become {len(general)} with parameters")


def duplicates_left(tools: list[equivalence.Tool], lab: Lab, seed: int) -> list[tuple[int, int]]:
    """Pairs that agree on fresh calls: of the group first, then drawn for the pair alone."""
    found = []
    for members in equivalence.groups(tools):
        group = [tools[number] for number in members]
        orders = equivalence.orders_of(group[0].width)
        fresh = equivalence.common_calls(group, seed, confirm=True)[:200]
        plain = [Program(tool.code, tool.name) for tool in group]
        reports = lab.run(plain, fresh, Terms(call_s=0.1, program_s=3.0, digest=True, coarse=True))
        straight = [[str(out) for out in report.outcomes] for report in reports]
        turned = {
            order: lab.run(
                [equivalence.ordered(tool, order) for tool in group],
                fresh,
                Terms(call_s=0.1, program_s=3.0, digest=True, coarse=True),
            )
            for order in orders[1:]
        }
        for one, other in itertools.combinations(range(len(group)), 2):
            views = [
                straight[other],
                *([str(o) for o in turned[order][other].outcomes] for order in orders[1:]),
            ]
            if len(set(straight[one])) >= 5 and straight[one] in views:
                pair = [group[one], group[other]]
                calls = equivalence.common_calls(pair, seed + 1, confirm=True)
                order = orders[views.index(straight[one])]
                programs = [plain[one], equivalence.ordered(group[other], order)]
                a, b = lab.run(programs, calls, Terms(call_s=0.1, program_s=5.0, digest=True, coarse=True))
                if [str(out) for out in a.outcomes] == [str(out) for out in b.outcomes]:
                    found.append((members[one], members[other]))
    return found


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", help="m3, m4, hostile, m5, m6; all when none")
    parser.add_argument("--tasks", type=int, help="only the first so many tasks of the data")
    parser.add_argument(
        "--libraries", type=Path, help="folder of libraries made by `sea evolve`, for m4 and m5"
    )
    parser.add_argument("--sample", type=int, help="m4 to m6: so many mined and so many MBPP tools")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if not DATA.exists():
        sys.exit(f"{DATA} is not there: nothing was measured")
    runs = {"m3": m3, "m4": m4, "hostile": attacks, "m5": m5, "m6": m6}
    with own_server(4) as config, Daytona(config) as daytona:
        for what in options.what or runs:
            started = time.monotonic()
            runs[what](Box(daytona), options)
            print(f"  ({time.monotonic() - started:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
