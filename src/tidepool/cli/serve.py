"""`serve`: the server in the foreground, until it is told to stop.

What it does is in `tidepool.server`, which starts the same way under `python -m tidepool.server`.
"""

import click


@click.command(
    add_help_option=False, context_settings={"ignore_unknown_options": True, "help_option_names": []}
)
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
def serve(options: tuple[str, ...]) -> int:
    """Serve Daytona's API over TCP or a Unix socket; `tidepool serve --help` lists the options."""
    from tidepool.server.__main__ import main

    return main(list(options)) or 0
