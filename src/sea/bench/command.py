"""The command `sea bench`: which metrics, in which order, and what is printed; it can be interrupted at any time."""

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import click

from daytona_sdk import Daytona, DaytonaConfig
from sea.bench import compression, duplicates, labelled, planted, population, scale, stability, steps
from sea.bench.rows import DATA, Row, Setting, table
from sea.box import Box
from sea.ingest import BadInput

METRICS = ("M11", "M10", "M6", "M5", "M4", "M8", "M1", "M2", "M3")
"""In the order they are measured: what is short first."""
_FROM_LIBRARY = frozenset({"M4", "M5", "M6", "M10"})
Say = Callable[[str], None]


def measure(setting: Setting, wanted: Iterable[str], box: Box, say: Say) -> Iterator[Row]:
    """The rows of some metrics, each as soon as it is known."""
    asked = set(wanted)
    if "M11" in asked:
        yield from steps.rows(setting, say)
    if asked & _FROM_LIBRARY:
        with tempfile.TemporaryDirectory(prefix="sea-bench-") as folder:
            yield from _of_tools(setting, asked, box, Path(folder), say)
    if "M8" in asked:
        yield from scale.rows(setting, say)
    if asked & {"M1", "M2"}:
        yield from (row for row in compression.rows(setting, box, say) if row.metric in asked)
    if "M3" in asked:
        yield from labelled.rows(setting, box, say)


def _of_tools(setting: Setting, asked: set[str], box: Box, folder: Path, say: Say) -> Iterator[Row]:
    if "M10" in asked:
        yield from stability.rows(setting, box, folder, say)
    elif asked & _FROM_LIBRARY:
        say(f"making a library of {stability.CORPUS}")
        corpus = setting.file(f"{stability.CORPUS}.jsonl.gz")
        stability.library(corpus, folder / "once", box, setting.seed)
    if not asked & {"M4", "M5", "M6"}:
        return
    seed = setting.seed
    mined = population.mined_tools(folder / "once")
    mbpp = population.mbpp_tools(labelled.tasks(setting.file(labelled.FILE)))
    some = [
        *population.sample(mined, setting.sample, seed),
        *population.sample(mbpp, setting.sample, seed),
    ]
    if "M6" in asked:
        yield from duplicates.m6(some, box, seed, say)
    if "M5" in asked:
        yield from planted.m5(some, box, seed, say)
    if "M4" in asked:
        yield from planted.m4(some, box, seed, say)


def run_with(config: DaytonaConfig, arguments: Sequence[str]) -> None:
    """The command with sandboxes of a server that is named here, not in the environment."""
    with Daytona(config) as daytona:
        bench.main(list(arguments), prog_name="sea bench", obj=Box(daytona))


@click.command()
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the data; default: shared/data beside the checkout.",
)
@click.option("--only", default=",".join(METRICS), help="Metrics, separated by commas; default: all.")
@click.option("--seed", type=int, default=0, show_default=True, help="Decides which task is on which side.")
@click.option(
    "--sample", type=click.IntRange(min=1), default=15, show_default=True, help="Tools for M4 to M6."
)
@click.option(
    "--traces", type=click.IntRange(min=1), default=100_000, show_default=True, help="Traces for M8."
)
@click.pass_context
def bench(context: click.Context, data: Path | None, only: str, seed: int, sample: int, traces: int) -> None:
    """Measure the tools against their goals and print the table; an interrupt prints what there is."""
    place = data or DATA
    if not place.is_dir():
        raise BadInput(f"{place}: there is no such folder, so nothing was measured; name one with --data")
    wanted = [name.strip().upper() for name in only.split(",") if name.strip()]
    unknown = sorted(set(wanted) - set(METRICS))
    if unknown:
        raise click.BadParameter(f"{unknown[0]} is none of {', '.join(sorted(METRICS))}", param_hint="--only")
    started, rows, whole = time.monotonic(), [], False
    try:
        for row in measure(Setting(place, seed, sample, traces), wanted, context.obj or Box(), _say):
            rows.append(row)
            _say(f"{time.monotonic() - started:5.0f} s  {row.metric} {row.what}: {row.measured}")
        whole = True
    except KeyboardInterrupt:
        _say("interrupted")
    finally:  # an error on the way leaves what was measured on the screen, then says what it was
        rows.sort(key=lambda row: int(row.metric[1:]))
        click.echo(table(rows))
    if not whole:
        raise click.Abort


def _say(sentence: str) -> None:
    click.echo(sentence, err=True)
