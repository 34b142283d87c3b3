"""M10: whether the same traces give the same library, and nearly the same in another order. Makes what M4 to M6 use."""

import gzip
import random
from collections.abc import Callable
from pathlib import Path

from sea.bench.rows import Row, Setting
from sea.box import Box
from sea.evolve import Settings, evolve
from sea.library import Library
from sea.score import stripped

CORPUS = "pot_multiarith_zs"
_JACCARD = 0.95


def rows(setting: Setting, box: Box, folder: Path, say: Callable[[str], None]) -> list[Row]:
    """Three libraries of one corpus below `folder`: once, again, and from shuffled traces."""
    file = setting.file(f"{CORPUS}.jsonl.gz")
    lines = gzip.decompress(file.read_bytes()).decode().splitlines(keepends=True)
    random.Random(setting.seed).shuffle(lines)  # noqa: S311
    shuffled = folder / f"{CORPUS}.jsonl"
    shuffled.write_text("".join(lines))
    made = []
    for name, path in (("once", file), ("again", file), ("shuffled", shuffled)):
        say(f"M10: {name}")
        made.append(library(path, folder / name, box, setting.seed))
    once, again, other = made
    same = once == again
    bare, mixed = (
        {stripped(code) for code in some} for some in (once, other)
    )  # docstrings name lines of files
    jaccard = len(bare & mixed) / len(bare | mixed) if bare | mixed else 1.0
    text = f"{'identical' if same else 'different'}, Jaccard {jaccard:.2f}"
    met = same and jaccard >= _JACCARD
    return [
        Row("M10", f"{CORPUS}, {len(once)} tools", text, "-", "identical, >= 0.95", met if once else None)
    ]


def library(path: Path, folder: Path, box: Box, seed: int) -> set[str]:
    """The tools of a library that is made anew, as texts."""
    shelf = Library(folder)
    evolve([path], shelf, Settings(seed=seed), box=box)
    return {shelf.source(name) for name in shelf.names()}
