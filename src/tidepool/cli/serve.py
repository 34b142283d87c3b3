"""`serve`: the server in the foreground, until it is told to stop.

What it does is in `tidepool.server`, which starts the same way under `python -m tidepool.server`.
"""

import click


@click.command()
@click.option("--host", metavar="ADDRESS", help="Address to listen on. [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), help="TCP port; 0 takes a free one. [default: 3986]")
@click.option("--uds", metavar="PATH", type=click.Path(), help="A Unix socket to listen on, instead of TCP.")
@click.option(
    "--idle", type=click.FloatRange(0, min_open=True), metavar="S", help="End after S seconds without work."
)
@click.option(
    "--pool", type=click.IntRange(0), metavar="N", help="Sandboxes kept warm per layer. [default: 2]"
)
@click.option(
    "--network",
    type=click.Choice(("none", "packages", "all")),
    help="For sandboxes whose request names none. [default: all over TCP, packages over a socket]",
)
def serve(**options: str | float | None) -> int:
    """Serve Daytona's API, over TCP or a Unix socket.

    Prints one line with its URL when it is ready. The key for TCP is TIDEPOOL_API_KEY, or in the file that
    TIDEPOOL_API_KEY_FILE names, or else one that is made once; where it is kept is said on stderr.
    """
    if options["uds"] and (options["host"] or options["port"] is not None):
        raise click.UsageError("--uds is instead of --host and --port; give one of them")
    from tidepool.server.__main__ import main

    given = [(f"--{name}", str(value)) for name, value in options.items() if value is not None]
    return main([word for pair in given for word in pair])
