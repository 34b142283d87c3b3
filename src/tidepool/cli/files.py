"""`cp`: one file into a sandbox or out of it.

Whether a path inside may be touched is decided inside, as the sandbox's own user. Nothing here follows remote links.
"""

import contextlib
import re
from pathlib import Path, PurePosixPath

import click

from daytona_sdk import DaytonaNotFoundError, Sandbox
from tidepool.cli.connection import connect, find

# A local path with a colon in its first part is written ./like:this.
_REMOTE = re.compile(r"(?P<sandbox>[A-Za-z0-9][A-Za-z0-9._-]*):(?P<path>.+)", re.DOTALL)


@click.command()
@click.argument("source", metavar="SRC")
@click.argument("destination", metavar="DST")
def cp(source: str, destination: str) -> None:
    """Copy a file into a sandbox or out of it.

    One of SRC and DST is ID:PATH. A PATH in the sandbox is absolute or relative to its work directory. A DST that is a
    directory, or ends in `/`, takes the file under its own name.
    """
    remote_source, remote_destination = _REMOTE.fullmatch(source), _REMOTE.fullmatch(destination)
    if (remote_source is None) == (remote_destination is None):
        raise click.UsageError(
            "exactly one of SRC and DST must be ID:PATH; a local file with a colon is ./NAME"
        )
    if remote_source:
        download(remote_source["sandbox"], remote_source["path"], destination)
    elif remote_destination:
        upload(source, remote_destination["sandbox"], remote_destination["path"])


def download(sandbox: str, path: str, destination: str) -> None:
    """From a sandbox to a local file, which appears only when complete."""
    target = Path(destination)
    if target.is_dir() or destination.endswith("/"):
        target /= PurePosixPath(path).name
    with connect() as daytona:
        find(daytona, sandbox).fs.download_file(path, target)


def upload(source: str, sandbox: str, path: str) -> None:
    """From a local file into a sandbox."""
    with connect() as daytona:
        box = find(daytona, sandbox)
        if path.endswith("/") or _is_directory(box, path):
            path = str(PurePosixPath(path) / Path(source).name)
        box.fs.upload_file(source, path)


def _is_directory(box: Sandbox, path: str) -> bool:
    with contextlib.suppress(DaytonaNotFoundError):
        return box.fs.get_file_info(path).is_dir
    return False
