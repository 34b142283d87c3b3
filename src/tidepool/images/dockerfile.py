"""Dockerfile text as stages and instructions. Pure: nothing is expanded, looked up or run here.

Continuation lines, comments, parser directives, heredocs, flags and JSON forms are resolved; what an instruction does
is `build`'s. A parsed file has at least one stage, and every instruction in it has passed its own grammar.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from tidepool.images.errors import BadDockerfile
from tidepool.images.words import ESCAPE, BadWord, json_words, split

MAX_BYTES = 1 << 20
MAX_INSTRUCTIONS = 2000
_DIRECTIVE = re.compile(r"#\s*([A-Za-z][A-Za-z0-9]*)\s*=\s*(.+?)\s*\Z")
_FLAG = re.compile(r"--([a-z][a-z-]*)(?:=(\S*))?(?:\s+|\Z)")
_HEREDOC = re.compile(r"[0-9]*<<(-?)(['\"]?)([A-Za-z0-9_.-]+)\2\Z")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_STAGE = re.compile(r"[A-Za-z][A-Za-z0-9._-]*\Z")

FLAGS: Mapping[str, frozenset[str]] = {
    "FROM": frozenset({"platform"}),
    "RUN": frozenset({"mount", "network", "security"}),
    "COPY": frozenset({"from", "chown", "chmod", "link"}),
    "ADD": frozenset({"chown", "chmod", "link"}),
    "HEALTHCHECK": frozenset({"interval", "timeout", "start-period", "start-interval", "retries"}),
}
"""The flags an instruction may have; others have none."""
KEYWORDS = (
    *("FROM", "RUN", "COPY", "ADD", "ENV", "ARG", "WORKDIR", "ENTRYPOINT", "CMD", "USER", "SHELL", "EXPOSE"),
    *("LABEL", "VOLUME", "STOPSIGNAL", "HEALTHCHECK", "MAINTAINER"),
)
_WITH_HEREDOCS = ("RUN", "COPY", "ADD")
_WITH_JSON = ("RUN", "COPY", "ADD", "ENTRYPOINT", "CMD", "SHELL", "VOLUME")


@dataclass(frozen=True)
class Heredoc:
    """Lines given in the Dockerfile itself."""

    name: str
    body: str
    """Ends with a line feed unless it is empty."""
    expands: bool
    """Whether variables in it are replaced: its name was not quoted."""


@dataclass(frozen=True)
class Instruction:
    """One instruction."""

    line: int
    """Of its first character, from 1."""
    keyword: str
    """In upper case."""
    text: str
    """What follows keyword and flags, on one line."""
    flags: tuple[tuple[str, str], ...] = ()
    """In order; a flag may come several times."""
    argv: tuple[str, ...] | None = None
    """The words of the JSON form; None for the shell form."""
    heredocs: tuple[Heredoc, ...] = ()

    def flag(self, name: str) -> str:
        """The last value of a flag; empty when it is not given."""
        return next((value for key, value in reversed(self.flags) if key == name), "")

    def __str__(self) -> str:
        flags = "".join(f"--{key}={value} " if value else f"--{key} " for key, value in self.flags)
        return f"{self.keyword} {flags}{self.text}"


@dataclass(frozen=True)
class Stage:
    """From one FROM to the next."""

    line: int
    base: str
    """As written: variables of ARG before the first FROM are not replaced yet."""
    name: str
    """In lower case; empty when it has none."""
    platform: str
    steps: tuple[Instruction, ...]


@dataclass(frozen=True)
class Dockerfile:
    """A whole file."""

    arguments: tuple[Instruction, ...]
    """ARG before the first FROM."""
    stages: tuple[Stage, ...]
    """At least one; the last is what is built."""
    escape: str = ESCAPE


def parse(text: str) -> Dockerfile:
    """Read a Dockerfile.

    Raises:
        BadDockerfile: It is not one; the message names the line.
    """
    if len(text) > MAX_BYTES:
        raise BadDockerfile(1, f"the text is longer than {MAX_BYTES} characters")
    if "\0" in text:
        raise BadDockerfile(text[: text.index("\0")].count("\n") + 1, "a NUL character is not allowed")
    reader = _Reader(text)
    found: list[Instruction] = []
    while (instruction := reader.next()) is not None:
        found.append(instruction)
        if len(found) > MAX_INSTRUCTIONS:
            raise BadDockerfile(instruction.line, f"there are more than {MAX_INSTRUCTIONS} instructions")
    return _staged(found, reader.escape)


def pairs(instruction: Instruction, escape: str = ESCAPE) -> list[tuple[str, str]]:
    """Names and unexpanded values of ENV and LABEL: `a=1 b="2 3"`, or the older `a 1 2`.

    Raises:
        BadDockerfile: There is none, or a name is not one.
    """
    words = _split(instruction, escape)
    if not words:
        raise BadDockerfile(instruction.line, f"{instruction.keyword} needs NAME=VALUE")
    if "=" not in words[0]:
        rest = instruction.text[len(words[0]) :].strip()
        if not rest:
            raise BadDockerfile(instruction.line, f"{instruction.keyword} {words[0]} has no value")
        found = [(words[0], rest)]
    else:
        found = [_pair(instruction, word) for word in words]
    for name, _ in found:
        if instruction.keyword == "ENV" and not _VARIABLE.match(name):
            raise BadDockerfile(instruction.line, f"{name[:80]!r} is not a name of a variable")
    return found


def arguments(instruction: Instruction, escape: str = ESCAPE) -> list[tuple[str, str | None]]:
    """Names and unexpanded defaults of ARG; None where there is no default.

    Raises:
        BadDockerfile: There is none, or a name is not one.
    """
    words = _split(instruction, escape)
    found = [(name, value if equals else None) for name, equals, value in (w.partition("=") for w in words)]
    for name, _ in found:
        if not _VARIABLE.match(name):
            raise BadDockerfile(instruction.line, f"{name[:80]!r} is not a name of an argument")
    if not found:
        raise BadDockerfile(instruction.line, "ARG needs a name")
    return found


def operands(instruction: Instruction, escape: str = ESCAPE) -> tuple[str, ...]:
    """The words of COPY and the like, unexpanded: of the JSON form, else split at white space."""
    return instruction.argv if instruction.argv is not None else tuple(_split(instruction, escape))


def _pair(instruction: Instruction, word: str) -> tuple[str, str]:
    name, equals, value = word.partition("=")
    if not equals or not name:
        raise BadDockerfile(instruction.line, f"{word[:80]!r} must be NAME=VALUE")
    return name.strip("\"'"), value


def _split(instruction: Instruction, escape: str) -> list[str]:
    try:
        return split(instruction.text, escape)
    except BadWord as error:
        raise BadDockerfile(instruction.line, str(error)) from None


@dataclass
class _Reader:
    """Turns lines into instructions."""

    text: str
    escape: str = ESCAPE
    _lines: list[str] = field(default_factory=list)
    _at: int = 0

    def __post_init__(self) -> None:
        self._lines = self.text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
        for number, line in enumerate(self._lines, 1):
            directive = _DIRECTIVE.match(line.strip())
            if directive is None:
                break
            if directive[1].lower() == "escape":
                if directive[2] not in ("\\", "`"):
                    raise BadDockerfile(number, f"escape is {directive[2][:20]!r}; allowed are \\ and `")
                self.escape = directive[2]

    def next(self) -> Instruction | None:
        while self._at < len(self._lines) and _is_blank(self._lines[self._at]):
            self._at += 1
        if self._at == len(self._lines):
            return None
        line = self._at + 1
        keyword, _, rest = self._logical().strip().partition(" ")
        head = keyword.split("\t", 1)
        keyword, rest = head[0].upper(), " ".join([*head[1:], rest]).strip()
        if keyword not in KEYWORDS:
            raise BadDockerfile(line, f"{keyword[:40]!r} is not an instruction that is known")
        flags, rest = _flags(keyword, rest, line)
        argv = json_words(rest) if keyword in _WITH_JSON else None
        heredocs = self._heredocs(rest, line) if keyword in _WITH_HEREDOCS and argv is None else ()
        instruction = Instruction(line, keyword, rest, flags, argv, heredocs)
        _check(instruction, self.escape)
        return instruction

    def _logical(self) -> str:
        """One line with those that continue it; comments and empty lines between them are left out."""
        parts: list[str] = []
        while self._at < len(self._lines):
            line = self._lines[self._at]
            self._at += 1
            if parts and _is_blank(line):
                continue
            stripped = line.rstrip()
            if not stripped.endswith(self.escape):
                parts.append(line)
                break
            parts.append(stripped[:-1])
        return "".join(parts)

    def _heredocs(self, text: str, line: int) -> tuple[Heredoc, ...]:
        try:
            words = split(text, self.escape)
        except BadWord:
            return ()  # text for a shell, which has its own say on quotes
        starts = [start for word in words if (start := _HEREDOC.match(word))]
        return tuple(self._heredoc(start[3], not start[2], bool(start[1]), line) for start in starts)

    def _heredoc(self, name: str, expands: bool, strips_tabs: bool, line: int) -> Heredoc:
        body: list[str] = []
        while self._at < len(self._lines):
            text = self._lines[self._at]
            self._at += 1
            text = text.lstrip("\t") if strips_tabs else text
            if text == name:
                return Heredoc(name, "".join(f"{one}\n" for one in body), expands)
            body.append(text)
        raise BadDockerfile(line, f"the heredoc {name[:40]!r} is not ended by a line with its name")


def _is_blank(line: str) -> bool:
    stripped = line.strip()
    return not stripped or stripped.startswith("#")


def _flags(keyword: str, text: str, line: int) -> tuple[tuple[tuple[str, str], ...], str]:
    found: list[tuple[str, str]] = []
    allowed = FLAGS.get(keyword, frozenset())
    while allowed and (flag := _FLAG.match(text)) is not None:
        if flag[1] not in allowed:
            names = ", ".join(f"--{name}" for name in sorted(allowed))
            raise BadDockerfile(line, f"{keyword} --{flag[1]} is not supported; allowed are {names}")
        found.append((flag[1], flag[2] or ""))
        text = text[flag.end() :]
    return tuple(found), text


def _check(instruction: Instruction, escape: str) -> None:
    """The grammar of one instruction."""
    keyword, line = instruction.keyword, instruction.line
    if not instruction.text and keyword not in ("CMD", "ENTRYPOINT"):
        raise BadDockerfile(line, f"{keyword} needs something to follow it")
    if keyword in ("ENV", "LABEL"):
        pairs(instruction, escape)
    elif keyword == "ARG":
        arguments(instruction, escape)
    elif keyword in ("COPY", "ADD"):
        if len(operands(instruction, escape)) < 2:
            raise BadDockerfile(line, f"{keyword} needs at least one source and a destination")
    elif keyword == "SHELL" and not instruction.argv:
        raise BadDockerfile(line, 'SHELL needs the JSON form: SHELL ["program", "argument"]')
    elif keyword == "RUN" and instruction.argv == ():
        raise BadDockerfile(line, "RUN needs a command")


def _staged(instructions: list[Instruction], escape: str) -> Dockerfile:
    first = next((n for n, one in enumerate(instructions) if one.keyword == "FROM"), None)
    before = instructions if first is None else instructions[:first]
    for one in before:
        if one.keyword != "ARG":
            raise BadDockerfile(one.line, f"{one.keyword} comes before FROM; only ARG may")
    if first is None:
        raise BadDockerfile(1, "there is no FROM")
    stages: list[Stage] = []
    for one in instructions[first:]:
        if one.keyword == "FROM":
            stages.append(_stage(one, {stage.name for stage in stages if stage.name}))
        else:
            last = stages[-1]
            stages[-1] = Stage(last.line, last.base, last.name, last.platform, (*last.steps, one))
    return Dockerfile(tuple(before), tuple(stages), escape)


def _stage(instruction: Instruction, known: set[str]) -> Stage:
    words = instruction.text.split()
    if len(words) not in (1, 3) or (len(words) == 3 and words[1].upper() != "AS"):
        raise BadDockerfile(instruction.line, "FROM must read FROM IMAGE or FROM IMAGE AS NAME")
    name = words[2].lower() if len(words) == 3 else ""
    if name and not _STAGE.match(name):
        raise BadDockerfile(instruction.line, f"{name[:80]!r} is not a name for a stage")
    if name in known:
        raise BadDockerfile(instruction.line, f"there is a stage named {name} already")
    return Stage(instruction.line, words[0], name, instruction.flag("platform"), ())
