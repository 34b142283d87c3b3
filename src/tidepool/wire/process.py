"""JSON of runs: requests of the toolbox's process calls. Answers are built in one place, `server.translate`."""

import msgspec


class Execute(msgspec.Struct, rename="camel"):
    """`POST /process/execute`."""

    command: str
    cwd: str | None = None
    timeout: float | None = None
    """Seconds; None or 0 is no limit."""
    envs: dict[str, str] | None = None


class CodeRun(msgspec.Struct, rename="camel"):
    """`POST /process/code-run`."""

    code: str
    language: str = "python"
    argv: list[str] | None = None
    envs: dict[str, str] | None = None
    timeout: float | None = None


class Tests(msgspec.Struct, rename="camel"):
    """`POST /process/tests` (ours)."""

    paths: list[str] | None = None
    cwd: str | None = None
    envs: dict[str, str] | None = None
    timeout: float | None = None


class Stream(msgspec.Struct, rename="camel"):
    """`POST /process/stream` (ours): exactly one of command, argv and code."""

    command: str | None = None
    argv: list[str] | None = None
    code: str | None = None
    language: str = "python"
    cwd: str | None = None
    envs: dict[str, str] | None = None
    timeout: float | None = None
    stdin: str | None = None
    """Base64."""
