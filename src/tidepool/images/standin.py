"""What of a Dockerfile's text the local base already is: packages of the system that need not be installed. Pure.

The base is composed of this host's own /usr and has no package manager of the system. Steps that only fill one are
taken out of a script, and the caller says so in the build's log; anything else in the script stays as it was.
"""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

_UPDATE = re.compile(r"(apt-get|apt)(\s+-\S+)*\s+(update|clean|autoclean|autoremove|upgrade)(\s+-\S+)*\Z")
_LISTS = re.compile(r"rm\s+-r?fr?\s+(/var/lib/apt/lists/?\S*|/var/cache/apt\S*)(\s+/var/\S+)*\Z")
_DEBCONF = re.compile(r"echo\s+('[^']*'|\"[^\"$`]*\")\s*\|\s*debconf-set-selections\Z")
_INSTALL = re.compile(r"(?:[A-Z_]+=\S+\s+)*(?:apt-get|apt)(?:\s+-\S+)*\s+install\s+(.*)\Z", re.DOTALL)
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9.+-]+(?:=[A-Za-z0-9.+:~-]+)?\Z")
PREAMBLE = frozenset({"gcc", "gfortran", "build-essential"})
"""What the clients' `Image.debian_slim` always asks for, whether it is used or not."""


@dataclass(frozen=True)
class Split:
    """A script in two parts."""

    rest: str
    """What is left to be run; empty when nothing is."""
    packages: tuple[str, ...]
    """What it would have installed."""


def split_script(script: str) -> Split:
    """Take the steps out of a script `A && B && C` that only fill the system's package manager."""
    left: list[str] = []
    packages: list[str] = []
    for part in _parts(script):
        text = part.strip()
        if _UPDATE.match(text) or _LISTS.match(text) or _DEBCONF.match(text):
            continue
        names = _packages(text)
        if names is None:
            left.append(text)
        packages += names or ()
    return Split(" && ".join(left), tuple(packages))


def _parts(script: str) -> list[str]:
    """The parts of `A && B`; the script itself when it has any other structure."""
    try:
        lexer = shlex.shlex(script, posix=False, punctuation_chars="();<>|&")
        lexer.whitespace_split = True
        words = list(lexer)
    except ValueError:
        return [script]
    if "\n" in script or {";", "||", "&", "(", ")", ";;"} & set(words) or "`" in script or "$(" in script:
        return [script]
    parts: list[str] = [""]
    for word in words:
        if word == "&&":
            parts.append("")
        else:
            parts[-1] += f"{word} "
    return parts


def _packages(text: str) -> list[str] | None:
    found = _INSTALL.match(text)
    if found is None:
        return None
    names = [word for word in found[1].split() if not word.startswith("-")]
    return [name.partition("=")[0] for name in names] if all(map(_PACKAGE.match, names)) else None


def missing(packages: tuple[str, ...], status: Path = Path("/var/lib/dpkg/status")) -> list[str]:
    """Those of these packages whose files are not in this host's /usr.

    Args:
        packages: Names of Debian packages.
        status: The host's list of packages; where there is none, only programs in /usr/bin are known.
    """
    installed = _installed(status)
    return [name for name in packages if name not in installed and not (Path("/usr/bin") / name).exists()]


def _installed(status: Path) -> set[str]:
    try:
        text = status.read_text("utf-8", "replace")
    except OSError:
        return set()
    pattern = re.compile(r"^Package: (\S+)\nStatus: \S+ ok installed$", re.MULTILINE)
    return {found[1] for found in pattern.finditer(text)}
