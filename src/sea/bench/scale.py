"""M8: what mining many traces costs. The traces are made from recorded ones, with other names and other numbers.

Nothing is executed here. Time and memory are those of a process of its own, which does nothing else.
"""

import ast
import itertools
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from sea import select
from sea.bench.rows import Row, Setting
from sea.corpus import Corpus
from sea.ingest import read_traces
from sea.normalise import BUILTINS, bound
from sea.score import other_number
from sea.trace import Step, Trace

_BASE = ("pot_tabmwp", "pot_multiarith_zs", "pot_svamp_zs", "pot_svamp", "tora_gsm8k")
_GOALS = {10_000: (30, 500_000_000), 100_000: (300, 2_000_000_000)}
"""Traces to seconds and bytes."""
_MORE, _MORE_SECONDS = 1000, 10
"""Traces that are added to the most of these."""


def rows(setting: Setting, say: Callable[[str], None]) -> Iterator[Row]:
    """Seconds and memory for so many traces, and for some more on top of the most that there is a goal for."""
    files = [setting.file(f"{name}.jsonl.gz") for name in _BASE]
    largest = max(_GOALS)
    with tempfile.TemporaryDirectory(prefix="sea-bench-") as folder:
        for count in sorted({setting.traces, *(size for size in _GOALS if size <= setting.traces)}):
            say(f"M8: mining {count} traces")
            path = Path(folder) / f"{count}"
            seconds, memory, tools = _alone(files, path, 0, count, setting.seed)
            allowed = _GOALS.get(count)
            yield Row(
                "M8",
                f"{count} traces",
                f"{seconds:.0f} CPU s, {memory / 1e9:.2f} GB, {tools} tools",
                "8.7 GB at 8,000 (Stitch)",
                f"{allowed[0]} s, {allowed[1] / 1e9:g} GB" if allowed else "-",
                seconds <= allowed[0] and memory <= allowed[1] if allowed else None,
            )
        if setting.traces >= largest:
            say(f"M8: {_MORE} more on {largest}")
            path = Path(folder) / f"{largest}"
            seconds, memory, tools = _alone(files, path, largest, _MORE, setting.seed + 1)
            yield Row(
                "M8",
                f"{_MORE} more on {largest}",
                f"{seconds:.1f} CPU s, {memory / 1e9:.2f} GB, {tools} tools",
                "-",
                f"{_MORE_SECONDS} s",
                seconds <= _MORE_SECONDS,
            )


def _alone(files: Sequence[Path], path: Path, start: int, count: int, seed: int) -> tuple[float, int, int]:
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(mined, files, path, start, count, seed).result()


def mined(files: Sequence[Path], path: Path, start: int, count: int, seed: int) -> tuple[float, int, int]:
    """CPU seconds and the most memory (bytes) of reading programs apart, mining and choosing; and how many were chosen.

    What is known of the programs is read from a corpus at `path` first, and kept there.
    """
    traces = list(itertools.islice(changed_traces(read_traces(files).traces, seed, start), count))
    started = time.process_time()
    corpus = Corpus(path)
    corpus.add(traces)
    chosen = select.choose(corpus.patterns(), corpus.sources)
    seconds = time.process_time() - started
    corpus.close()
    status = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    return seconds, peak * 1024, len(chosen)


def changed_traces(traces: Sequence[Trace], seed: int, start: int = 0) -> Iterator[Trace]:
    """Endless traces of tasks of their own, made from some by other names and numbers; the same for a seed.

    They are numbered from `start`.
    """
    rng = random.Random(seed)  # noqa: S311
    for number in itertools.count(start):
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
