"""Commands on a library of tools; what they do is in the modules they call."""

import json
from pathlib import Path

import click

from sea import observe
from sea.box import Box
from sea.export import FORMATS
from sea.export import export as write_export
from sea.ingest import BadInput, read_traces
from sea.ledger import STATES, write
from sea.library import Library, NoLibrary
from sea.mcp_server import serve
from sea.report import page
from sea.retrieve import of_library
from sea.use import Shelf

_DIRECTORY = click.Path(file_okay=False, path_type=Path)
_FILE = click.Path(dir_okay=False, path_type=Path)
_dry_run = click.option("--dry-run", is_flag=True, help="Say what would change, and change nothing.")


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--library", required=True, type=_DIRECTORY, help="Directory of tools.")
@click.option("--out", required=True, type=_FILE, help="JSON lines: id, original, rewritten, tools.")
def rewrite(files: tuple[Path, ...], library: Path, out: Path) -> None:
    """Write traces' programs with calls of the library's tools."""
    shelf = _shelf(Library(library))
    intake = read_traces(files)
    for sentence in intake.skipped:
        click.echo(f"skipped {sentence}", err=True)
    changed, lines = 0, []
    with (
        observe.logged(library / observe.EVENTS),
        observe.span("rewrite", traces=len(intake.traces)) as noted,
    ):
        for record in shelf.rewritten(intake.traces):
            changed += bool(record["tools"])
            lines.append(json.dumps(record, ensure_ascii=False) + "\n")
        noted |= {"rewritten": changed, "skipped": len(intake.skipped)}
    try:
        write(out, "".join(lines))
    except OSError as error:
        raise BadInput(f"{out}: cannot be written: {error.strerror}") from None
    click.echo(f"traces     {len(lines)}\nrewritten  {changed}\nskipped    {len(intake.skipped)}")


def _shelf(library: Library) -> Shelf:
    try:
        return Shelf(library)
    except ValueError as error:
        raise NoLibrary(f"{library.directory}: {error}") from None


@click.command()
@click.argument("library", type=_DIRECTORY)
@click.option("--format", "form", required=True, type=click.Choice(list(FORMATS)))
@click.option("--out", required=True, type=_DIRECTORY, help="A directory that is new or empty.")
def export(library: Path, form: str, out: Path) -> None:
    """Write the active tools in a form that others take."""
    for path in write_export(Library(library), form, out):
        click.echo(path)


@click.command()
@click.argument("library", type=_DIRECTORY)
@click.argument("task")
@click.option("--count", type=click.IntRange(min=1), default=5, show_default=True)
def find(library: Path, task: str, count: int) -> None:
    """The active tools that suit the text of a task, the best first."""
    for found in of_library(Library(library)).find(task, count):
        click.echo(f"{found.name}  {found.score:.2f}")


@click.command()
@click.argument("library", type=_DIRECTORY)
def mcp(library: Path) -> None:
    """Serve the active tools over stdio as an MCP server; each call runs in a sandbox of its own."""
    serve(Library(library), Box())


@click.command()
@click.argument("library", type=_DIRECTORY)
@click.option("--out", required=True, type=_FILE, help="The HTML file to write.")
def report(library: Path, out: Path) -> None:
    """Write one HTML page: the funnel, each tool's evidence, saving and reuse."""
    write(out, page(Library(library)))
    click.echo(out)


@click.command()
@click.argument("library", type=_DIRECTORY)
@click.argument("name")
@click.argument("state", type=click.Choice(STATES))
@_dry_run
def mark(library: Path, name: str, state: str, dry_run: bool) -> None:
    """Give a tool another state; an archived one is kept in the archive and can be made active again."""
    Library(library, dry_run, click.echo).mark(name, state)


@click.command()
@click.argument("library", type=_DIRECTORY)
@click.option(
    "--after", type=click.IntRange(min=1), default=100, show_default=True, help="Noted calls, of any tool."
)
@_dry_run
def retire(library: Path, after: int, dry_run: bool) -> None:
    """Deprecate tools whose noted calls did not save what the tool costs; archive those deprecated before."""
    changed = Library(library, dry_run, click.echo).retire(after)
    for name, state in changed.items():
        click.echo(f"{name} is {'to be ' if dry_run else ''}{state}")


@click.command()
@click.argument("library", type=_DIRECTORY)
@_dry_run
def undo(library: Path, dry_run: bool) -> None:
    """Take the last change of a library back; again for the one before it."""
    what = Library(library, dry_run, click.echo).undo()
    click.echo(f"{'would undo' if dry_run else 'undone'}: {what}")


@click.command()
@click.argument("library", type=_DIRECTORY)
@click.argument("name")
@click.argument("saved_tokens", type=int)
def used(library: Path, name: str, saved_tokens: int) -> None:
    """Note one real call of a tool and the tokens it saved."""
    Library(library).note_use(name, saved_tokens)


COMMANDS: tuple[click.Command, ...] = (rewrite, export, find, mcp, report, mark, retire, undo, used)
