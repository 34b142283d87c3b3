"""`ps`, `logs`, `rm` and `prune`: what sandboxes there are, what they said, and taking them away.

Running things is in `run`, files in `files`. Nothing here deletes a sandbox that was not named or asked for.
"""

import contextlib
import sys
from datetime import UTC, datetime

import click

from daytona_sdk import DaytonaNotFoundError, Sandbox, SandboxState
from tidepool.cli import output
from tidepool.cli.connection import connect, find
from tidepool.cli.run import MAKER_LABEL, machine, maker

_HEADER = ("ID", "NAME", "STATE", "AGE", "MEMORY", "NETWORK", "DEPENDENCIES")


@click.command()
@click.option("-q", "--quiet", is_flag=True, help="Only the ids.")
def ps(quiet: bool) -> None:
    """List the sandboxes there are."""
    with connect() as daytona:
        boxes = daytona.list()
    if quiet:
        click.echo("".join(f"{box.id}\n" for box in boxes), nl=False)
        return
    now = datetime.now(UTC)
    click.echo(output.table(_HEADER, [_row(box, now) for box in boxes]))


def _row(box: Sandbox, now: datetime) -> tuple[str, ...]:
    ours = box.isolation
    age = output.age(datetime.fromisoformat(box.created_at), now) if box.created_at else "-"
    name = box.name if box.name != box.id else "-"
    if ours is None:
        return (box.id[:12], name, box.state, age, f"{box.memory:g}GiB", "-", "-")
    size = output.size(ours.memory_bytes)
    return (box.id[:12], name, box.state, age, size, ours.network, ", ".join(ours.dependencies) or "-")


@click.command()
@click.argument("sandbox")
def logs(sandbox: str) -> None:
    """Print what the runs in a sandbox wrote.

    The newest 64 KiB of it, as the server kept it.
    """
    with connect() as daytona:
        sys.stdout.buffer.write(find(daytona, sandbox).get_logs())
    sys.stdout.buffer.flush()


@click.command()
@click.argument("sandboxes", nargs=-1, required=True)
def rm(sandboxes: tuple[str, ...]) -> None:
    """Delete sandboxes, with everything in them."""
    with connect() as daytona:
        for box in [find(daytona, ref) for ref in sandboxes]:
            _delete(box)


@click.command()
@click.option("--all", "everything", is_flag=True, help="Every sandbox there is.")
def prune(everything: bool) -> None:
    """Delete sandboxes that nobody needs.

    Those that have failed, and those that a `tidepool run` on this machine left behind when it was killed.
    """
    with connect() as daytona:
        for box in daytona.list():
            if everything or box.state == SandboxState.ERROR or _is_left_over(box):
                _delete(box)


def _delete(box: Sandbox) -> None:
    """Delete one and print its id; one that has gone meanwhile is what was wanted."""
    with contextlib.suppress(DaytonaNotFoundError):
        box.delete()
    click.echo(box.id)


def _is_left_over(box: Sandbox) -> bool:
    """Whether `tidepool run` made it on this machine and has ended; of other machines nothing is known."""
    made_by = box.labels.get(MAKER_LABEL, "")
    where, _, process = made_by.partition(".")
    pid = process.partition(".")[0]
    if where != machine() or not pid.isdecimal():
        return False
    try:
        return maker(int(pid)) != made_by
    except OSError:
        return True
