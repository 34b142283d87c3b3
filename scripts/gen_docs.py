#!/usr/bin/env python3
"""Rewrites the generated parts of docs/ from the code: command help, states, defaults, the protocol's endpoints.

A part stands between `<!-- generated: NAME -->` and `<!-- end -->`. With --check nothing is written; the exit code is 1
when a page is not what it would become.
"""

import dataclasses
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from tidepool.cli import main as cli
from tidepool.engine.guest.run import DIFFERENCES
from tidepool.engine.lifecycle import TABLE, State
from tidepool.engine.spec import Limits
from tidepool.server import openapi
from tidepool.server.app import routes
from tidepool.server.permissions import TABLE as TABLE_OF_PERMISSIONS
from tidepool.wire import protocol

DOCS = Path(__file__).parents[1] / "docs"
_ROUTES = routes()
_PART = re.compile(r"(?P<head><!-- generated: (?P<name>[\w ]+) -->\n).*?(?P<tail><!-- end -->)", re.DOTALL)


def states() -> str:
    """The states of a sandbox and what moves it from one to the next."""
    lines = ["| state | event | next state |", "|---|---|---|"]
    order = list(State)
    for (state, event), after in sorted(
        TABLE.items(), key=lambda item: (order.index(item[0][0]), item[0][1])
    ):
        lines.append(f"| {state.value} | {event.value} | {after.value} |")
    return "\n".join(lines)


def limits() -> str:
    """What a sandbox may use when nothing else is asked for."""
    lines = ["| limit | default |", "|---|---|"]
    for field in dataclasses.fields(Limits):
        value = field.default
        text = (
            f"{value >> 20} MiB" if field.name.endswith("_bytes") and isinstance(value, int) else f"{value:g}"
        )
        lines.append(f"| {field.name} | {text} |")
    return "\n".join(lines)


def commands() -> str:
    """The help text of every command."""
    return "\n\n".join(f"## {name}\n\n```\n{text}\n```" for name, text in _helps())


def _helps() -> Iterator[tuple[str, str]]:
    context = _context(cli.tree, "tidepool", None)
    for name in cli.COMMANDS:
        command = cli.tree.get_command(context, name)
        assert command is not None
        child = _context(command, name, context)
        yield name, command.get_help(child).strip()


def _context(command: click.Command, name: str, parent: click.Context | None) -> click.Context:
    names = ["-h", "--help"]
    return click.Context(
        command, parent, name, terminal_width=100, max_content_width=100, help_option_names=names
    )


def differences() -> str:
    """How a forked run can be told from a fresh interpreter."""
    return "\n".join(f"- {sentence}" for sentence in DIFFERENCES)


def endpoints() -> str:
    """Every endpoint of the protocol and what becomes of a client that asks for it."""
    return "\n\n".join(f"### {title}\n\n{_table(area, is_older)}" for title, area, is_older in _GROUPS)


_GROUPS = (
    ("Control API", "control", False),
    ("Toolbox of a sandbox", "toolbox", False),
    ("Control API, known to clients of 0.110 only", "control", True),
    ("Toolbox, known to clients of 0.110 only", "toolbox", True),
)


def _table(area: str, is_older: bool) -> str:
    chosen = [one for one in protocol.endpoints() if (one.area, one.is_older) == (area, is_older)]
    states = [openapi.state_of(one, _ROUTES) for one in chosen]
    lines = [f"{states.count('served')} of {len(chosen)} are served.", "", "| method | path | for | state |"]
    lines.append("|---|---|---|---|")
    for one, state in zip(chosen, states, strict=True):
        lines.append(f"| {one.method} | `{one.path}` | {one.summary} | {state} |")
    return "\n".join(lines)


def extra_endpoints() -> str:
    """What is served and no part of the protocol."""
    known = {one.shape for one in protocol.endpoints()}
    lines = ["| method | path | for |", "|---|---|---|"]
    for one in openapi.served(_ROUTES):
        if one.key not in known and not one.path.startswith("/api/toolbox/"):
            lines.append(f"| {one.method} | `{one.path}` | {openapi.words(one, None)[0]} |")
    return "\n".join(lines)


def permissions() -> str:
    """Which permission an API key needs for what."""
    lines = ["| methods | path below `/api` | permission |", "|---|---|---|"]
    for methods, pattern, permission in TABLE_OF_PERMISSIONS:
        path = pattern.pattern.replace("|", "\\|")
        lines.append(f"| {', '.join(sorted(methods))} | `{path}` | {permission or 'none'} |")
    return "\n".join(lines)


PARTS: dict[str, Callable[[], str]] = {
    "states": states,
    "limits": limits,
    "commands": commands,
    "differences": differences,
    "endpoints": endpoints,
    "extra endpoints": extra_endpoints,
    "permissions": permissions,
}


def generated(text: str) -> str:
    """A page with its generated parts as they should be."""
    return _PART.sub(lambda part: f"{part['head']}{PARTS[part['name']]()}\n{part['tail']}", text)


def main() -> int:
    """Write, or with --check compare, every page."""
    stale = []
    for page in sorted(DOCS.rglob("*.md")):
        text = page.read_text()
        new = generated(text)
        if new != text:
            stale.append(page.name)
            if "--check" not in sys.argv[1:]:
                page.write_text(new)
    if stale and "--check" in sys.argv[1:]:
        print(f"stale: {', '.join(stale)}; run scripts/gen_docs.py")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
