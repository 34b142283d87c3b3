"""What official clients wrap around a command, and the hint for a shell line that was sent as code. Pure.

Clients up to about 0.157 send `sh -c "<exports>echo '<base64>' | base64 -d | sh"` (protocol section 10.2): the command
inside is run directly, and code inside that runs as code, which gives the right exit code and saves three processes.
"""

import ast
import base64
import binascii
import re
from dataclasses import dataclass, field

_BASE64 = "[A-Za-z0-9+/=]*"
_ARGV = r"(?P<argv>[\w@%+=:,./ -]*)"  # words that no shell would change
_OUTER = re.compile(
    rf"""\s*sh -c "(?P<exports>.*?)echo '(?P<command>{_BASE64})' \| base64 -d \| sh"\s*""", re.S
)
_EXPORT = re.compile(
    rf"""export (?P<key>[A-Za-z_][A-Za-z0-9_]*)=\$\(echo '(?P<value>{_BASE64})' \| base64 -d\);\s*"""
)
_INNER = {
    "python": re.compile(
        rf"""\s*sh -c 'python3 -u -c "exec\(__import__\(\\"base64\\"\)\.b64decode\(\\"(?P<code>{_BASE64})\\"\)"""
        rf"""\.decode\(\)\)" {_ARGV}'\s*"""
    ),
    "javascript": re.compile(
        rf"""\s*sh -c 'echo (?P<code>{_BASE64}) \| base64 --decode \| node -e "\$\(cat\)" """
        rf"""{_ARGV} 2>&1 \| grep -vE "npm notice"'\s*"""
    ),
    "typescript": re.compile(
        rf"""\s*sh -c 'echo (?P<code>{_BASE64}) \| base64 --decode \| npx ts-node """
        rf"""-O "\{{\\"module\\":\\"CommonJS\\"\}}" -e "\$\(cat\)" x {_ARGV} 2>&1 \| grep -vE "npm notice"'\s*"""
    ),
}
_PIPED = {
    language: re.compile(
        rf"""(?P<exports>.*?)printf '%s' '(?P<code>{_BASE64})' \| base64 -d \| {program} - {_ARGV}""", re.S
    )
    for language, program in (("python", "python3 -u"), ("javascript", "node"))
}
"""What clients of about 0.158 to 0.166 send, with no shell around it."""
_PIPED_EXPORT = re.compile(
    rf"""export (?P<key>[A-Za-z_][A-Za-z0-9_]*)="\$\(printf '%s' '(?P<value>{_BASE64})' \| base64 -d\)";\s*"""
)
_PROGRAMS = (
    " apt apt-get awk bash cat cd chmod cp curl echo env export find git grep ls make mkdir mv node npm npx pip pip3"
    " pwd pytest python python3 rm sed sh sudo tar touch uv wget which "
)
HINT = "ERROR: code_run runs source code; this looks like a shell command, use process.exec for it\n"


@dataclass(frozen=True)
class Unwrapped:
    """What was in an envelope: exactly one of `command` and `code` is set."""

    command: str | None = None
    code: str | None = None
    language: str = ""
    """Of `code`."""
    argv: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)


def unwrap(text: str) -> Unwrapped:
    """The command or program text inside an envelope; text without one is the command itself."""
    outer = _OUTER.fullmatch(text)
    if outer is None:
        return _piped(text)
    command, env = _decode(outer["command"]), _exports(outer["exports"], _EXPORT)
    if command is None or env is None:
        return Unwrapped(command=text)  # not quite an envelope: a shell must see it as it is
    for language, pattern in _INNER.items():
        inner = pattern.fullmatch(command)
        code = _decode(inner["code"]) if inner else None
        if inner and code is not None:
            return Unwrapped(code=code, language=language, argv=tuple(inner["argv"].split()), env=env)
    return Unwrapped(command=command, env=env)


def _piped(text: str) -> Unwrapped:
    for language, pattern in _PIPED.items():
        found = pattern.fullmatch(text)
        code = _decode(found["code"]) if found else None
        env = _exports(found["exports"], _PIPED_EXPORT) if found else None
        if found and code is not None and env is not None:
            return Unwrapped(code=code, language=language, argv=tuple(found["argv"].split()), env=env)
    return Unwrapped(command=text)


def _exports(text: str, pattern: re.Pattern[str]) -> dict[str, str] | None:
    """Variables that a row of exports sets; None when there is anything else in it."""
    env = {found["key"]: _decode(found["value"]) for found in pattern.finditer(text)}
    values = {key: value for key, value in env.items() if value is not None}
    return values if len(values) == len(env) and not pattern.sub("", text).strip() else None


def _decode(text: str) -> str | None:
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None


def hint(code: str, language: str, exit_code: int) -> str:
    """One line for who sent a shell command as source code; empty otherwise.

    Only for a failed Python text of one line that does not compile and begins with a well-known program's name.
    """
    line = code.strip()
    program = line.partition(" ")[0]
    if language != "python" or exit_code == 0 or "\n" in line or f" {program} " not in _PROGRAMS:
        return ""
    try:
        ast.parse(line)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return HINT
    return ""
