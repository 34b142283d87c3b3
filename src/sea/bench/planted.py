"""M4 and M5: planted bad tools and hostile code turned away, and how many mutants the generated tests notice."""

import ast
import random
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from sea.bench.labelled import THREADS
from sea.bench.population import Tool, packages, renamed
from sea.bench.rows import Row
from sea.box import Box
from sea.gates import hostile
from sea.gates.judge import STEPS, WITHOUT_MUTATION, Gate, judge
from sea.gates.lab import Lab, Program
from sea.gates.mutants import scoring, strengthening
from sea.gates.strength import LEAST_SCORE, different, measure

_PLANTED = 4
_ATTACKS_AT_ONCE = 6
"""Most of them sleep or wait for their limits."""
_CAUGHT, _LOST, _MEDIAN, _SECONDS = 0.98, 0.02, 0.92, 2.0


def m4(tools: Sequence[Tool], box: Box, seed: int, say: Callable[[str], None]) -> Iterator[Row]:
    """Planted bad tools rejected by the recorded calls and the original; good ones accepted."""
    table: Counter[tuple[str, bool]] = Counter()
    say(f"M4: planting beside {len(tools)} tools")
    pool = ThreadPoolExecutor(THREADS)
    try:
        for one, lines in pool.map(lambda tool: plant(tool, box, seed), tools):
            table += one
            for line in lines:
                say(f"  {line[:170]}")
    finally:
        pool.shutdown(cancel_futures=True)
    yield _rejected("mutants", table, "mutant")
    yield _rejected("wrong constants", table, "constant")
    kept = sum(count for (kind, accepted), count in table.items() if kind.startswith("good") and accepted)
    good = sum(count for (kind, _), count in table.items() if kind.startswith("good"))
    lost = (good - kept) / good if good else 0.0
    yield Row(
        "M4", "good tools lost", f"{lost:.1%} of {good}", "-", "<= 2 %", lost <= _LOST if good else None
    )
    yield _hostile(box, say)


def _rejected(title: str, table: Counter[tuple[str, bool]], kind: str) -> Row:
    rejected, total = table[kind, False], table[kind, False] + table[kind, True]
    share = rejected / total if total else 0.0
    return Row("M4", title, f"{share:.1%} of {total}", "-", ">= 98 %", share >= _CAUGHT if total else None)


def _hostile(box: Box, say: Callable[[str], None]) -> Row:
    """Attacks turned away by all gates and, without the static policy, by the sandboxes alone."""
    lab, refused = Lab(box), [0, 0]
    ways = [(number, attack) for number in (0, 1) for attack in hostile.ATTACKS]
    pool = ThreadPoolExecutor(_ATTACKS_AT_ONCE)
    try:
        found = pool.map(lambda way: _attacked(way[1], STEPS[way[0] :], lab), ways)
        for (number, attack), accepted in zip(ways, found, strict=True):
            refused[number] += not accepted
            if accepted:
                say(f"  accepted: {attack}")
    finally:
        pool.shutdown(cancel_futures=True)
    total = len(hostile.ATTACKS)
    text = f"{refused[0]}, by sandboxes alone {refused[1]}, of {total}"
    return Row("M4", "hostile code", text, "-", "100 %", refused == [total, total])


def _attacked(attack: str, steps: Sequence[tuple[str, Gate]], lab: Lab) -> bool:
    return judge(hostile.ATTACKS[attack], hostile.NAME, hostile.EVIDENCE, lab, steps).accepted


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


def plant(tool: Tool, box: Box, seed: int) -> tuple[Counter[tuple[str, bool]], list[str]]:
    """(kind, accepted) counted over what was planted beside one tool, and a line for each miss."""
    table: Counter[tuple[str, bool]] = Counter()
    missed: list[str] = []
    lab, evidence = Lab(box, packages(tool.code)), tool.evidence
    admitted = judge(tool.code, tool.name, evidence, lab, seed=seed)
    table["good, as it is", admitted.accepted] += 1
    if not admitted.accepted:
        return table, [f"good {tool.name}: {admitted.reason}"]
    good = judge(renamed(tool.code, tool.name), tool.name, evidence, lab, WITHOUT_MUTATION, seed + 1)
    table["good, renamed", good.accepted] += 1
    if not good.accepted:
        missed.append(f"good {tool.name}: {good.reason}")
    bad = planted(tool.code, tool.name, random.Random(f"{seed} {tool.name}"), _PLANTED)  # noqa: S311
    programs = [Program(text, tool.name) for _, text in bad]
    real = different(Program(tool.code, tool.name), programs, evidence.calls, lab, seed + 99)
    for (kind, text), counts in zip(bad, real, strict=True):
        if counts:
            accepted = judge(text, tool.name, evidence, lab, WITHOUT_MUTATION, seed + 1).accepted
            table[kind, accepted] += 1
            if accepted:
                missed.append(f"{kind} of {tool.name}")
    return table, missed


def m5(tools: Sequence[Tool], box: Box, seed: int, say: Callable[[str], None]) -> Iterator[Row]:
    """Mutation scores of the tests that the gates generate, by where the tools are from."""
    for where in sorted({tool.where for tool in tools}):
        some = [tool for tool in tools if tool.where == where]
        say(f"M5: {len(some)} {where} tools")
        raw, adjusted, seconds = [], [], []
        for tool in some:
            started = time.monotonic()
            found = measure(
                Program(tool.code, tool.name), tool.evidence.calls, Lab(box, packages(tool.code)), seed
            )
            if found.mutants:
                raw.append(found.raw)
                adjusted.append(found.adjusted)
                seconds.append(time.monotonic() - started)
        if not raw:
            yield Row("M5", where, "no mutants", "79 % / 89 %", ">= 92 %", None)
            continue
        admitted = [score for score in adjusted if score >= LEAST_SCORE]
        worst = min(admitted, default=0.0)
        middle, took = statistics.median(adjusted), statistics.median(seconds)
        text = f"{middle:.1%} (raw {statistics.median(raw):.1%}), worst {worst:.0%}, {took:.1f} s"
        met = middle >= _MEDIAN and worst >= LEAST_SCORE and took <= _SECONDS
        yield Row(
            "M5", f"{len(raw)} {where}", text, "79 % GPT-4, 89 % human", ">= 92 %, worst 80 %, 2 s", met
        )
