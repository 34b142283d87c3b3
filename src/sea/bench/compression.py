"""M1 and M2: how much shorter a library makes programs it has not seen, and which of its tools are used there.

Half of the tasks are the test; tools are mined on training tasks and chosen on validation tasks too. Everything is
counted as `sea.score` says. Beside it, of the same run and with the same token count: the trivial miner (whole
programs that are equal but for their literals, not executed).
"""

import ast
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sea import patterns, select
from sea.bench.rows import Row, Setting
from sea.box import Box
from sea.evolve import Funnel, prepare
from sea.generate import tool_code
from sea.ingest import read_traces
from sea.inline import is_empty
from sea.normalise import cost, parse
from sea.patterns import Source
from sea.regions import canon, survey
from sea.score import Score, Shelved, score, sides
from sea.trace import Intake

SUPPORT = 3
SETS = {
    "pot_tabmwp": (1.300, 1.45),
    "pot_multiarith_zs": (1.329, 1.40),
    "pot_svamp_zs": (1.240, 1.30),
    "pot_svamp": (1.090, 1.12),
    "tora_gsm8k": (1.018, 1.06),
    "trove_math": (1.001, 1.05),
}
"""Corpus to floor and goal of M1."""
_ONLY = {"trove_math": "baseline_run0/"}
"""Of a corpus with many runs over the same tasks: the start of the ids of the run that is measured."""
_USED, _THRICE = 0.90, 0.75
"""Goals of M2."""


@dataclass(frozen=True)
class Measured:
    """One corpus."""

    ours: Score
    trivial: Score
    tools: tuple[str, ...]
    """The library's code."""


def rows(setting: Setting, box: Box, say: Callable[[str], None]) -> Iterator[Row]:
    """M1 and M2 of the six corpora."""
    for name, (floor_then, goal) in SETS.items():
        say(f"M1, M2: {name}")
        found = measure(setting.file(f"{name}.jsonl.gz"), name, setting.seed, box)
        ours = found.ours
        for sentence in [*ours.errors, *ours.not_given_back]:
            say(f"  {sentence}")
        once, thrice = ours.share_used(1), ours.share_used(3)
        yield Row(
            "M1",
            name,
            f"{ours.ratio:.3f}, {len(ours.errors)} errors, {ours.tools} tools",
            f"{floor_then:.3f} ({found.trivial.ratio:.3f} here)",
            f">= {goal:.2f}, 0 errors",
            ours.ratio >= goal and not ours.errors,
        )
        used = bool(ours.tools) and once >= _USED and thrice >= _THRICE
        yield Row("M2", name, f"{once:.0%} / {thrice:.0%}", "14 % / 2 %", ">= 90 % / 75 %", used)


def measure(path: Path, name: str, seed: int, box: Box) -> Measured:
    """Mine, choose, specify and score one corpus."""
    traces = [trace for trace in read_traces([path]).traces if trace.id.startswith(_ONLY.get(name, ""))]
    found = sides(patterns.load(traces), seed)
    tools = library_of(found, box)
    ours = score(found["test"], tools, box, seed)
    trivial = floor([*found["train"], *found["validation"]], found["test"])
    return Measured(ours, trivial, tuple(tool.code for tool in tools))


def library_of(found: dict[str, list[Source]], box: Box) -> list[Shelved]:
    """Tools mined on training tasks, chosen with validation tasks, specified from what running them showed."""
    learn = [*found["train"], *found["validation"]]
    chosen = select.choose(patterns.mine(found["train"], SUPPORT), learn)
    funnel = Funnel(Intake(), chosen=chosen)
    prepare(funnel, found["train"], found["validation"], box, lambda _: None)
    tools = [Shelved(c.spec.name, tool_code(c.spec), pattern) for c, pattern in funnel.candidates]
    for tool in tools:
        assert not is_empty(tool.code), tool.code
    return tools


def floor(learn: list[Source], test: list[Source]) -> Score:
    """One tool for each whole program that recurs in three tasks but for its literals, which become parameters."""
    tools: dict[str, tuple[list[int], list[str]]] = {}
    seen: dict[str, list[tuple[Source, list[str]]]] = defaultdict(list)
    for source in learn:
        key, values = _skeleton(source)
        seen[key].append((source, values))
    result = Score(len(test))
    for key, places in seen.items():
        if len({source.task for source, _ in places}) < SUPPORT:
            continue
        first, values = places[0]
        varying = [i for i in range(len(values)) if len({other[i] for _, other in places}) > 1]
        tools[key] = (varying, values)
        result.library += first.size + 6 + 2 * len(varying)
    result.tools = len(tools)
    for source in test:
        _count(result, source, tools)
    return result


def _count(result: Score, source: Source, tools: dict[str, tuple[list[int], list[str]]]) -> None:
    key, values = _skeleton(source)
    result.before += source.size
    result.after += source.size
    if key not in tools:
        return
    varying, constant = tools[key]
    call = cost("ans = tool(" + ", ".join(values[i] for i in varying) + ")\n")
    same = all(i in varying or value == constant[i] for i, value in enumerate(values))
    if same and call < source.size:
        result.rewritten += 1
        result.after += call - source.size


def _skeleton(source: Source) -> tuple[str, list[str]]:
    tree = parse(source.trace.steps[source.step].code)
    key, holes, _ = canon(tree.body, survey(tree, frozenset()).fixed)
    return key, [ast.unparse(hole) for hole in holes]
