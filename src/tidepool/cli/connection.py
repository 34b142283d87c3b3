"""The door from the commands to a server: the SDK's client, with its errors as one-sentence failures.

Nothing here knows HTTP or the engine. Whatever a call raises on purpose reaches the user as one line.
"""

import contextlib
import re
from collections.abc import Iterator

import click

from daytona_sdk import Daytona, DaytonaError, DaytonaNotFoundError, Sandbox

_LINE_END = re.compile(r"\s*\n\s*")


@contextlib.contextmanager
def connect() -> Iterator[Daytona]:
    """A client of the local server, or of the one that the environment names.

    Raises:
        click.ClickException: A call failed, or a local file could not be read or written; the message is one line.
    """
    try:
        with Daytona() as daytona:
            yield daytona
    except DaytonaError as error:
        raise click.ClickException(_LINE_END.sub("; ", error.message.strip())) from error
    except BrokenPipeError:
        raise
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise click.ClickException(f"{where}{error.strerror or error}") from error


def find(daytona: Daytona, ref: str) -> Sandbox:
    """A sandbox by id, by name, or by the first characters of its id when they fit only one.

    Raises:
        click.ClickException: None or several fit.
    """
    with contextlib.suppress(DaytonaNotFoundError):
        return daytona.get(ref)
    fitting = [box for box in daytona.list() if box.id.startswith(ref)]
    if not fitting:
        raise click.ClickException(f"there is no sandbox {ref!r}; `tidepool ps` lists those that there are")
    if len(fitting) > 1:
        raise click.ClickException(f"{ref!r} fits {len(fitting)} sandboxes; give more of the id")
    return fitting[0]
