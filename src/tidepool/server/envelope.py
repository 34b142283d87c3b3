"""What official clients wrap around a command, and the hint for a shell line that was sent as code. Pure.

Clients up to about 0.166 send `sh -c "<exports>echo '<base64>' | base64 -d | sh"` (protocol section 10.2): the command
inside is run directly, which gives the right exit code and saves three processes.
"""

import ast
import base64
import binascii
import re
from dataclasses import dataclass, field

_OUTER = re.compile(
    r"""^\s*sh -c "(?P<exports>.*?)echo '(?P<command>[A-Za-z0-9+/=]*)' \| base64 -d \| sh"\s*$""", re.S
)
_EXPORT = re.compile(
    r"""export (?P<key>[A-Za-z_][A-Za-z0-9_]*)=\$\(echo '(?P<value>[A-Za-z0-9+/=]*)' \| base64 -d\);\s*"""
)
_PYTHON = re.compile(
    r"""^\s*sh -c 'python3 -u -c "exec\(__import__\(\\"base64\\"\)\.b64decode\(\\"(?P<code>[A-Za-z0-9+/=]*)\\"\)"""
    r"""\.decode\(\)\)" (?P<argv>[^'"`$\\|&;<>()]*)'\s*$"""
)
_PROGRAMS = {
    *(
        "python",
        "python3",
        "pip",
        "pip3",
        "pytest",
        "uv",
        "node",
        "npm",
        "npx",
        "bash",
        "sh",
        "ls",
        "cd",
        "cat",
        "echo",
    ),
    *(
        "mkdir",
        "rm",
        "cp",
        "mv",
        "git",
        "curl",
        "wget",
        "apt",
        "apt-get",
        "make",
        "find",
        "grep",
        "sed",
        "awk",
        "tar",
    ),
    *("touch", "chmod", "pwd", "which", "env", "export", "sudo"),
}
HINT = "ERROR: code_run runs source code; this looks like a shell command, use process.exec for it\n"


@dataclass(frozen=True)
class Unwrapped:
    """What was in an envelope; exactly one of `command` and `code` is set."""

    command: str | None = None
    code: str | None = None
    argv: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)


def unwrap(text: str) -> Unwrapped:
    """The command or Python text inside an envelope; text without one is the command itself."""
    outer = _OUTER.match(text)
    if outer is None:
        return Unwrapped(command=text)
    exports = outer["exports"]
    env = {found["key"]: _decode(found["value"]) for found in _EXPORT.finditer(exports)}
    command = _decode(outer["command"])
    if command is None or None in env.values() or _EXPORT.sub("", exports).strip():
        return Unwrapped(command=text)
    values = {key: value for key, value in env.items() if value is not None}
    inner = _PYTHON.match(command)
    code = _decode(inner["code"]) if inner is not None else None
    if inner is None or code is None:
        return Unwrapped(command=command, env=values)
    return Unwrapped(code=code, argv=tuple(inner["argv"].split()), env=values)


def _decode(text: str) -> str | None:
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None


def hint(code: str, language: str, exit_code: int) -> str:
    """One line for who sent a shell command as source code; empty otherwise.

    Only for a failed Python text of one line that does not compile and begins with a well-known program's name.
    """
    words = code.strip().split()
    if (
        language != "python"
        or exit_code == 0
        or not words
        or "\n" in code.strip()
        or words[0] not in _PROGRAMS
    ):
        return ""
    try:
        ast.parse(code)
    except (SyntaxError, ValueError):
        return HINT
    return ""
