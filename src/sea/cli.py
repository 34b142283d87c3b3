"""`sea`: evolve a library from traces, and look at it."""

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click

from sea import observe
from sea.bench.command import bench
from sea.box import Box, NoSandbox
from sea.commands import COMMANDS
from sea.evolve import Funnel, Settings, evolve_from
from sea.evolve import evolve as run_evolve
from sea.gates.command import verify_command
from sea.ingest import BadInput
from sea.library import Library, NoLibrary
from sea.model import NoModel, configured
from sea.report import funnel_of
from sea.watch import INDEX, index_of, intakes

_DIRECTORY = click.Path(file_okay=False, path_type=Path)


class _Sentences(click.Group):
    """Errors of ours are one sentence and exit status 1."""

    def invoke(self, ctx: click.Context) -> object:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except (BadInput, NoLibrary, NoModel, NoSandbox) as error:
            raise click.ClickException(str(error)) from None


@click.group(cls=_Sentences)
def main() -> None:
    """Automatic Tool Creation: solver traces in, validated tools out."""


@main.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--library", required=True, type=_DIRECTORY, help="Directory of tools; made when it is not there."
)
@click.option("--limit", type=click.IntRange(min=1), help="Read at most so many traces.")
@click.option("--seed", type=int, default=0, show_default=True, help="Decides which tasks are held out.")
@click.option(
    "--min-support", type=click.IntRange(min=2), default=3, show_default=True, help="Distinct tasks."
)
@click.option("--dry-run", is_flag=True, help="Say what would be written, and write nothing.")
@click.option(
    "--watch",
    type=click.FloatRange(0.1),
    metavar="SECONDS",
    help="Look for new traces so often, and evolve again with them, until interrupted.",
)
@click.option(
    "--model",
    envvar="SEA_MODEL",
    metavar="PROVIDER:NAME",
    help="Ask this model for names, and for other code of tools that a gate turns away. Keys: from the environment.",
)
@click.option(
    "--model-url",
    envvar="SEA_MODEL_URL",
    metavar="URL",
    help="Of an endpoint that speaks OpenAI's protocol; the model needs no provider then.",
)
def evolve(files: tuple[Path, ...], library: Path, dry_run: bool, watch: float | None, **chosen: Any) -> None:
    """Read traces, find what recurs, and admit what passes every gate."""
    settings = _settings(**chosen)
    if watch is not None:
        if dry_run or settings.limit is not None:
            raise click.UsageError("--watch goes with neither --dry-run nor --limit: it takes all and writes")
        _watch(files, library, watch, chosen)
        return
    shelf = Library(library, dry_run, _say)
    with (
        nullcontext() if dry_run else observe.logged(library / observe.EVENTS),
        observe.span("evolve") as noted,
    ):
        funnel = run_evolve(files, shelf, settings, say=_say)
        noted |= funnel_of(funnel) | ({"model": dict(funnel.asked)} if funnel.asked else {})
    _summary(funnel)


def _settings(
    limit: int | None, seed: int, min_support: int, model: str | None, model_url: str | None
) -> Settings:
    return Settings(seed, min_support, limit, configured(model, model_url, _say))


def _watch(files: tuple[Path, ...], library: Path, every_s: float, chosen: dict[str, Any]) -> None:
    known = index_of(library)
    click.echo(
        f"watching; interrupt to end (what is known of programs is kept in {library / INDEX})", err=True
    )
    try:
        for intake in intakes(files, every_s, _say):
            with observe.logged(library / observe.EVENTS), observe.span("evolve") as noted:
                shelf = Library(library, False, _say)
                funnel = evolve_from(intake, known, shelf, _settings(**chosen), say=_say)
                noted |= funnel_of(funnel) | ({"model": dict(funnel.asked)} if funnel.asked else {})
            _summary(funnel)
    except KeyboardInterrupt:
        click.echo("interrupted; the library is as the last whole round left it", err=True)


def _summary(funnel: Funnel) -> None:
    click.echo(f"traces    {len(funnel.intake.traces)} of {funnel.intake.tasks} tasks")
    click.echo(f"skipped   {len(funnel.intake.skipped)}")
    click.echo(f"patterns  {len(funnel.patterns)}")
    click.echo(f"tested    {len(funnel.candidates)}")
    if funnel.asked:
        click.echo(
            "model     " + ", ".join(f"{count} {what}" for what, count in sorted(funnel.asked.items()))
        )
    click.echo(f"admitted  {len(funnel.admitted)}")
    for candidate, pattern in funnel.admitted:
        click.echo(f"  {candidate.spec.name}: {pattern.support} tasks, saves {pattern.saving} tokens")


def _say(sentence: str) -> None:
    click.echo(sentence, err=True)


@main.command("list")
@click.argument("library", type=_DIRECTORY)
def list_tools(library: Path) -> None:
    """The tools of a library."""
    shelf = Library(library)
    states = shelf.states()
    for name in shelf.names():
        evidence, state = shelf.evidence(name), states[name]
        marked = "" if state == "active" else f" ({state})"
        click.echo(f"{name}  {evidence['support']} tasks, {evidence['tokens_saved']} tokens saved{marked}")


@main.command()
@click.argument("library", type=_DIRECTORY)
@click.argument("name")
def show(library: Path, name: str) -> None:
    """One tool: its source and what it was admitted on."""
    shelf = Library(library)
    click.echo(shelf.source(name))
    for gate in shelf.evidence(name)["gates"]:
        click.echo(f"{'passed' if gate['passed'] else 'failed'}  {gate['gate']}: {gate['detail']}")


@main.command("test")
@click.argument("library", type=_DIRECTORY)
@click.argument("names", nargs=-1)
def test_tools(library: Path, names: tuple[str, ...]) -> None:
    """Run the tools' tests again, each in a sandbox of its own; exit status 1 when one fails."""
    shelf, box, failed = Library(library), Box(), 0
    for name in names or shelf.names():
        source = shelf.source(name)
        needed = [package for package in ("numpy", "sympy") if package in source]
        with box.sandbox(("pytest", *needed)) as sandbox:
            sandbox.fs.upload_file(source.encode(), "tool.py")
            sandbox.fs.upload_file((library / name / "test_tool.py").read_bytes(), "test_tool.py")
            report = sandbox.process.run_tests("test_tool.py", timeout=60)
        failed += not report.success
        click.echo(
            f"{'passed' if report.success else 'FAILED'}  {name}: {report.reason or f'{len(report.tests)} tests'}"
        )
    sys.exit(1 if failed else 0)


main.add_command(verify_command)
main.add_command(bench)
for command in COMMANDS:
    main.add_command(command)
