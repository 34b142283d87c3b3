"""The command tree of `tidepool`, and how a command ends: an exit code and one sentence, never a traceback for a user.

What the commands do is in the other modules of this room; each is loaded only when its name is asked for.
"""

import importlib
import os
import sys
from collections.abc import Sequence

import click

from tidepool import __version__

COMMANDS = {
    "run": "tidepool.cli.run:run",
    "exec": "tidepool.cli.run:execute",
    "ps": "tidepool.cli.sandbox:ps",
    "logs": "tidepool.cli.sandbox:logs",
    "cp": "tidepool.cli.files:cp",
    "rm": "tidepool.cli.sandbox:rm",
    "prune": "tidepool.cli.sandbox:prune",
    "serve": "tidepool.cli.serve:serve",
    "doctor": "tidepool.cli.doctor:doctor",
}
"""Every command and where it lives, in the order of the help text."""

INTERRUPTED = 128 + 2
BROKEN_PIPE = 128 + 13


class _Tree(click.Group):
    """Loads a command's module when the command is named."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            status = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            # The reader has gone; what is still buffered must not fail again when the interpreter ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return BROKEN_PIPE
        return status

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command = getattr(importlib.import_module(module), name)
        assert isinstance(command, click.Command)
        return command


@click.group(cls=_Tree, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="tidepool")
def tree() -> None:
    """Run code that nobody has read yet in isolated sandboxes on this machine.

    Commands talk to the local server, which is started when needed, or to the one that DAYTONA_API_URL names.
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code: 1 for an error, 2 for wrong usage, 130 after Ctrl-C."""
    try:
        status = tree.main(args=arguments, prog_name="tidepool", standalone_mode=False)
    except click.UsageError as error:
        error.show()
        return 2
    except click.ClickException as error:
        click.echo(f"tidepool: {error.format_message()}", err=True)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    return status if isinstance(status, int) else 0
