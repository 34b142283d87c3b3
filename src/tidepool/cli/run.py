"""`run` and `exec`: a program's output as it comes, its stdin and its exit code, passed through.

A sandbox made by `run` never outlives it: it is deleted on every way out, by a name that was chosen before it existed.
"""

import contextlib
import os
import secrets
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

import click

from daytona_sdk import (
    CreateSandboxFromSnapshotParams,
    Daytona,
    DaytonaNotFoundError,
    ExecuteResponse,
    Sandbox,
)
from tidepool.cli.connection import connect, find

INTERPRETERS = {
    ".py": ("python",),
    ".js": ("node",),
    ".cjs": ("node",),
    ".mjs": ("node",),
}
"""What runs a file, by its suffix."""
MAKER_LABEL = "tidepool-run"
"""Label of a sandbox made by `run`, with that process as value (see `maker`): `prune` can tell whose maker is gone."""
MAX_STDIN = 64 << 20
_PATIENCE_S = 1.0
_ENDINGS = {
    "timed_out": "the program did not end in time and was killed",
    "out_of_memory": "the program reached the sandbox's memory limit and was killed",
    "lost": "the sandbox died under the program",
}
_ISOLATION = f"{__name__}.isolation"


def _remember(ctx: click.Context, _: click.Parameter, value: str) -> None:
    ctx.meta[_ISOLATION] = value


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, readable=True, allow_dash=True))
@click.argument("arguments", nargs=-1, metavar="[ARGS]...")
@click.option(
    "--dep",
    "dependencies",
    multiple=True,
    metavar="NAME",
    help="A package it needs, such as numpy>=2. Repeatable.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(0, min_open=True),
    metavar="S",
    help="Kill it after S seconds; exit code 124.",
)
@click.option(
    "--memory",
    type=click.IntRange(64),
    metavar="MB",
    help="Memory of the whole sandbox, in MiB. [default: 1024]",
)
@click.option(
    "--net",
    type=click.Choice(["none", "packages"]),
    default="none",
    show_default=True,
    help="What it can reach: nothing, or the package indexes of this host.",
)
@click.option(
    "--isolation",
    type=click.Choice(["namespaces", "gvisor", "crun"]),
    default="namespaces",
    show_default=True,
    expose_value=False,
    callback=_remember,
    help="What stands between it and the host: namespaces, or inside these gVisor or crun besides.",
)
@click.option(
    "--file",
    "files",
    multiple=True,
    metavar="PATH",
    type=click.Path(exists=True, dir_okay=False, readable=True),
    help="A file to lay beside the program. Repeatable.",
)
def run(
    file: str,
    arguments: tuple[str, ...],
    dependencies: tuple[str, ...],
    timeout: float | None,
    memory: int | None,
    net: str,
    files: tuple[str, ...],
) -> int:
    """Run a program in a sandbox of its own.

    The sandbox is deleted at the end. FILE ends in .py, .js, .mjs or .cjs; `-` is a Python program from stdin.
    Options for the program itself stand behind `--`. Its stdin is that of this command, unless that is a terminal. Its
    exit code is this command's.
    """
    argv, stdin, uploads = _program(file, arguments, files)
    params = CreateSandboxFromSnapshotParams(
        name=f"run-{secrets.token_hex(6)}",
        labels={MAKER_LABEL: maker(os.getpid())},
        dependencies=dependencies,
        network="packages" if net == "packages" else "none",
        memory_bytes=memory and memory << 20,
        isolation=click.get_current_context().meta[_ISOLATION],
    )
    with connect() as daytona, _throwaway(daytona, params) as box:
        for source, name in uploads:
            box.fs.upload_file(source, name)
        return _follow(box, argv, stdin, timeout)


@click.command("exec", context_settings={"allow_interspersed_args": False})
@click.option(
    "--timeout",
    type=click.FloatRange(0, min_open=True),
    metavar="S",
    help="Kill it after S seconds; exit code 124.",
)
@click.argument("sandbox")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- CMD...")
def execute(timeout: float | None, sandbox: str, command: tuple[str, ...]) -> int:
    """Run a command in a sandbox that exists.

    Its stdin is that of this command, unless that is a terminal. Its exit code is this command's.
    """
    argv = command[1:] if command[0] == "--" else command
    if not argv:
        raise click.UsageError("no command is given: tidepool exec ID -- CMD...")
    with connect() as daytona:
        return _follow(find(daytona, sandbox), argv, read_stdin(), timeout)


def _program(
    file: str, arguments: Sequence[str], files: Sequence[str]
) -> tuple[Sequence[str], bytes, list[tuple[str, str]]]:
    """What to execute, its stdin, and which local files go where."""
    uploads = [(path, Path(path).name) for path in files]
    if file == "-":
        argv, stdin = ["python", "-", *arguments], sys.stdin.buffer.read(MAX_STDIN)
    else:
        path = Path(file)
        if path.suffix not in INTERPRETERS:
            raise click.UsageError(
                f"{file} ends in none of {', '.join(INTERPRETERS)}: how to run it is not known"
            )
        uploads.append((file, path.name))
        argv, stdin = [*INTERPRETERS[path.suffix], path.name, *arguments], read_stdin()
    names = [name for _, name in uploads]
    if twice := {name for name in names if names.count(name) > 1}:
        raise click.UsageError(f"two files would both be laid down as {', '.join(sorted(twice))}; rename one")
    return argv, stdin, uploads


def read_stdin() -> bytes:
    """All of stdin; nothing when it is a terminal or closed.

    Raises:
        click.ClickException: It is larger than 64 MiB.
    """
    if sys.stdin is None or sys.stdin.closed or sys.stdin.isatty():
        return b""
    data = sys.stdin.buffer.read(MAX_STDIN + 1)
    if len(data) > MAX_STDIN:
        raise click.ClickException(
            f"stdin is larger than {MAX_STDIN >> 20} MiB; put it into a file and use --file or cp"
        )
    return data


@contextlib.contextmanager
def _throwaway(daytona: Daytona, params: CreateSandboxFromSnapshotParams) -> Iterator[Sandbox]:
    """A sandbox for the length of a block, whatever ends it: an error, Ctrl-C, SIGTERM or SIGHUP."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    try:
        with _told_when_slow(params.dependencies):
            box = daytona.create(params, timeout=0)
        yield box
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        # By name: where `create` was interrupted, the sandbox may exist without our having heard of it.
        with contextlib.suppress(DaytonaNotFoundError):
            daytona.get(str(params.name)).delete()


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


@contextlib.contextmanager
def _told_when_slow(dependencies: Sequence[str]) -> Iterator[None]:
    if not dependencies:
        yield
        return
    sentence = f"tidepool: installing {', '.join(dependencies)} (kept for the next time) ..."
    timer = threading.Timer(_PATIENCE_S, click.echo, (sentence,), {"err": True})
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _follow(box: Sandbox, argv: Sequence[str], stdin: bytes, timeout: float | None) -> int:
    """Pass a run's output on as it comes; returns its exit code."""
    with box.process.stream(argv=argv, stdin=stdin or None, timeout=timeout) as running:
        for chunk in running:
            target = sys.stdout.buffer if chunk.stream == "stdout" else sys.stderr.buffer
            target.write(chunk.data)
            target.flush()
        result = running.result
    _explain(result, timeout)
    return result.exit_code


def _explain(result: ExecuteResponse, timeout: float | None) -> None:
    why = _ENDINGS.get(result.verdict or "")
    if why:
        limit = f" (--timeout {timeout:g})" if timeout and result.verdict == "timed_out" else ""
        click.echo(f"tidepool: {why}{limit}", err=True)


def maker(pid: int) -> str:
    """A process as `MAKER_LABEL` names it: `machine.pid.start`, so that no other process can ever be taken for it.

    Raises:
        OSError: There is no such process.
    """
    # In parentheses stands the command's name, which may contain anything; proc(5) counts the start time as field 22.
    start = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return f"{machine()}.{pid}.{start}"


def machine() -> str:
    """This start of this kernel and our process ids' namespace: where a process id means what it means here."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot}-{os.stat('/proc/self/ns/pid').st_ino}"
