"""The door from the commands to a server: the SDK's client, with its errors as one-sentence failures.

Nothing here knows HTTP or the engine. The SDK is imported when first used, so that help texts stay quick.
"""

import contextlib
import re
from collections.abc import Iterator

import click

from daytona_sdk import Daytona, DaytonaError, Sandbox

_SENTENCE_END = re.compile(r"\s*\n\s*")


@contextlib.contextmanager
def connect() -> Iterator[Daytona]:
    """A client of the local server, or of the one that the environment names.

    Raises:
        click.ClickException: A call failed; the message is one line.
    """
    try:
        with Daytona() as daytona:
            yield daytona
    except DaytonaError as error:
        raise click.ClickException(sentence(error)) from error


def sentence(error: DaytonaError) -> str:
    """An error's message on one line."""
    return _SENTENCE_END.sub("; ", str(error).strip())


def find(daytona: Daytona, ref: str) -> Sandbox:
    """A sandbox by id, by name, or by the first characters of its id when they fit only one.

    Raises:
        click.ClickException: None or several fit.
    """
    fitting = [box for box in daytona.list() if ref in (box.id, box.name)]
    fitting = fitting or [box for box in daytona.list() if ref and box.id.startswith(ref)]
    if not fitting:
        raise click.ClickException(f"there is no sandbox {ref!r}; `tidepool ps` lists those that there are")
    if len(fitting) > 1:
        raise click.ClickException(f"{ref!r} fits {len(fitting)} sandboxes; give more of the id")
    return fitting[0]
