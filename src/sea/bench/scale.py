"""M8: what mining many traces costs. The traces are made from recorded ones, with other names and other numbers.

Nothing is executed here. Time and memory are those of a process of its own, which does nothing else.
"""

import ast
import itertools
import random
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from sea import patterns, select
from sea.bench.rows import Row, Setting
from sea.ingest import read_traces
from sea.normalise import BUILTINS, bound
from sea.score import other_number
from sea.trace import Step, Trace

_BASE = ("pot_tabmwp", "pot_multiarith_zs", "pot_svamp_zs", "pot_svamp", "tora_gsm8k")
_SECONDS, _MEMORY = {10_000: 30, 100_000: 300}, {10_000: 500_000_000, 100_000: 2_000_000_000}


def rows(setting: Setting, say: Callable[[str], None]) -> Iterator[Row]:
    """Seconds and memory for so many traces."""
    files = [setting.file(f"{name}.jsonl.gz") for name in _BASE]
    say(f"M8: mining {setting.traces} traces")
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        seconds, memory, tools = pool.submit(mined, files, setting.traces, setting.seed).result()
    size = 10_000 if setting.traces <= 10_000 else 100_000
    met = seconds <= _SECONDS[size] and memory <= _MEMORY[size]
    yield Row(
        "M8",
        f"{setting.traces} traces",
        f"{seconds:.0f} CPU s, {memory / 1e9:.2f} GB, {tools} tools",
        "8.7 GB at 8,000 (Stitch)",
        f"{_SECONDS[size]} s, {_MEMORY[size] / 1e9:g} GB",
        met if setting.traces in _SECONDS else None,
    )


def mined(files: Sequence[Path], count: int, seed: int) -> tuple[float, int, int]:
    """CPU seconds and the most memory (bytes) of reading apart, mining and choosing; and how many were chosen."""
    traces = list(itertools.islice(changed_traces(read_traces(files).traces, seed), count))
    started = time.process_time()
    sources = patterns.load(traces)
    chosen = select.choose(patterns.mine(sources), sources)
    seconds = time.process_time() - started
    status = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    return seconds, peak * 1024, len(chosen)


def changed_traces(traces: Sequence[Trace], seed: int) -> Iterator[Trace]:
    """Endless traces of tasks of their own, made from some by other names and numbers; the same for a seed."""
    rng = random.Random(seed)  # noqa: S311
    for number in itertools.count():
        trace = traces[number % len(traces)]
        try:
            steps = tuple(
                Step(_changed(s.code, s.result_name, rng), result_name=s.result_name) for s in trace.steps
            )
        except (SyntaxError, ValueError, RecursionError):
            continue
        yield Trace(f"changed-{number}", f"changed-{number}", f"changed:{number}", steps)


def _changed(code: str, keep: str | None, rng: random.Random) -> str:
    tree = ast.parse(code)
    own = {name for node in ast.walk(tree) for name in bound(node) if name} - BUILTINS - {keep or ""}
    own -= {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    names: dict[str, str] = {name: f"{name}_{rng.randrange(1000)}" for name in sorted(own)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            node.id = names.get(node.id, node.id)
        elif isinstance(node, ast.FunctionDef):
            node.name = names.get(node.name, node.name)
        elif isinstance(node, ast.arg) or (isinstance(node, ast.keyword) and node.arg):
            node.arg = names.get(str(node.arg), str(node.arg))
        elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
            node.value = other_number(node.value, rng)  # type: ignore[arg-type]
    return ast.unparse(tree)
