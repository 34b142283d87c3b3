"""What a sandbox may ask for: the request target as a value, by one table of grammars.

Pure. A target is split on slashes first and each segment decoded once, so an encoded slash, a dot segment or
a control byte can never become part of a path: it is simply not in any grammar.
"""

import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from tidepool.egress.refusal import Refusal

MAX_TARGET_BYTES = 2048

_PROJECT = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,126}[A-Za-z0-9])?\Z")
FILENAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+!~-]{0,254}\Z")
_INDEX = re.compile(r"[0-9]{1,2}\Z")
_NPM_NAME = re.compile(r"[A-Za-z0-9_~][A-Za-z0-9._~-]{0,213}\Z")
_NPM_SCOPE = re.compile(r"@[a-z0-9_~-][A-Za-z0-9._~-]{0,100}\Z")
_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True)
class Project:
    """`/simple/NAME/`: the files of one Python project; the name is normalised (PEP 503)."""

    name: str


@dataclass(frozen=True)
class ProjectFile:
    """`/files/INDEX/NAME/FILENAME`: one file that this index lists for this project, or its `.metadata`."""

    index: int
    project: str
    filename: str


@dataclass(frozen=True)
class NpmPackage:
    """`/npm/NAME` or `/npm/@SCOPE%2fNAME`: what npm knows about one package."""

    name: str


@dataclass(frozen=True)
class NpmTarball:
    """`/npm/NAME/-/FILENAME`: one tarball that the registry lists for this package."""

    name: str
    filename: str


Target = Project | ProjectFile | NpmPackage | NpmTarball


def normalise(name: str) -> str:
    """A Python project's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def parse_target(raw: bytes) -> Target:
    """The thing that a request line asks for.

    Raises:
        Refusal: 400 malformed, 403 another server's URL, 404 nothing of ours has this path.
    """
    if len(raw) > MAX_TARGET_BYTES:
        raise Refusal(400, f"The request path is longer than {MAX_TARGET_BYTES} bytes.")
    text = raw.decode("ascii", "replace")
    if not text.startswith("/"):
        raise Refusal(
            403, "This is a mirror of package indexes, not a proxy to other servers: only paths are answered."
        )
    if "?" in text or "#" in text:
        raise Refusal(400, "The request path has a query; the mirror takes none.")
    if _ESCAPE.search(text):
        raise Refusal(400, "The request path has a broken percent escape.")
    return _match(_segments(text))


def _segments(text: str) -> list[str]:
    # npm writes the slash between scope and name encoded; there, and only there, it means a slash.
    text = re.sub(r"\A(/npm/@[A-Za-z0-9._~-]+)%2[fF]", r"\1/", text)
    decoded = [unquote_to_bytes(part) for part in text[1:].split("/")]
    if decoded and decoded[-1] == b"":
        decoded.pop()
    parts = [part.decode("ascii", "replace") for part in decoded]
    if any(part in ("", ".", "..") or "/" in part or not part.isprintable() for part in parts):
        raise Refusal(400, "The request path has an empty, dot or undecodable segment.")
    return parts


def _match(parts: list[str]) -> Target:
    match parts:
        case ["simple", name] if _PROJECT.match(name):
            return Project(normalise(name))
        case ["files", index, project, filename] if (
            _INDEX.match(index) and _PROJECT.match(project) and FILENAME.match(filename)
        ):
            return ProjectFile(int(index), normalise(project), filename)
        case ["npm", *rest]:
            return _match_npm(rest)
    raise Refusal(
        404, "The mirror has /simple/NAME/, /files/... as linked there, and /npm/NAME; nothing else."
    )


def _match_npm(parts: list[str]) -> Target:
    name = ""
    if parts and _NPM_SCOPE.match(parts[0]):
        name, parts = parts[0] + "/", parts[1:]
    match parts:
        case [package] if _NPM_NAME.match(package):
            return NpmPackage(name + package)
        case [package, "-", filename] if _NPM_NAME.match(package) and FILENAME.match(filename):
            return NpmTarball(name + package, filename)
    raise Refusal(
        404, "The mirror has /npm/NAME and /npm/NAME/-/FILE as linked there; nothing else under /npm."
    )
