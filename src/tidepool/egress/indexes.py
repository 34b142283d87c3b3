"""The package indexes that this host's own tools are configured for, as one value that can be handed over.

The types and what the readers (`pip_config`, `uv_config`, `npm_config`; put together by `host`) share.
Credentials are in the value: it never appears in argv, environ, logs or answers.
"""

import hashlib
import importlib
import re
import shutil
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

import msgspec

from tidepool.egress.destination import Url, parse_url


def _pip_default() -> str:
    """pip's own default, asked of pip, as the one place where it is written down."""
    try:
        models = importlib.import_module(
            "pip._internal.models.index"
        )  # not a dependency: a tool that may be there
    except ImportError:
        return ""
    return str(models.PyPI.simple_url)


def _npm_default() -> str:
    """npm's own default, from its definitions; empty where there is no npm."""
    npm = shutil.which("npm")
    if npm is None:
        return ""
    home = Path(npm).resolve().parent.parent
    definitions = home / "node_modules/@npmcli/config/lib/definitions/definitions.js"
    try:
        text = definitions.read_text("utf-8", "replace")
    except OSError:
        return ""
    found = re.search(r"new Definition\('registry', \{\s*default: [`'\"](https://[^`'\"]+)", text)
    return found[1].rstrip("/") if found else ""


PUBLIC_PYTHON_INDEX = _pip_default()
"""What pip and uv use when nothing is configured; empty where pip is not there to say."""
PUBLIC_NPM_REGISTRY = _npm_default()
"""What npm uses when nothing is configured; empty where npm is not there to say."""


class Index(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One index, trusted as a destination because the operator configured it: exactly its scheme, host and
    port."""

    url: str
    """Canonical, without credentials and trailing slash."""
    authorization: str | None = None
    """Value of the Authorization header, sent to this origin only."""
    ca: str | None = None
    """PEM text of the certificate authorities; the system's when None."""
    scope: str | None = None
    """npm only: the `@scope` that this registry serves; None serves all others."""

    def __repr__(self) -> str:
        return f"Index({self.url!r})"


class HostIndexes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything the egress process needs to know about this host."""

    python: tuple[Index, ...] = ()
    """In order of priority: extra indexes first, the default index last (uv's rule)."""
    npm: tuple[Index, ...] = ()
    merge: bool = False
    """Offer the files of all indexes together (uv's `unsafe-best-match`) instead of the first that has the
    project."""
    ignored: tuple[str, ...] = ()
    """Settings found and not honoured, one sentence each, without values that could be secret."""

    def identity(self) -> str:
        """A hash that changes when packages may come from elsewhere; no credentials go into it."""
        facts = [index.url for index in self.python], [(i.scope, i.url) for i in self.npm], self.merge
        return hashlib.sha256(msgspec.json.encode(facts)).hexdigest()

    def encode(self) -> bytes:
        """The JSON blob for the egress process; secret."""
        return msgspec.json.encode(self)

    @classmethod
    def decode(cls, blob: bytes) -> "HostIndexes":
        """The value back from its blob.

        Raises:
            msgspec.ValidationError: It is not such a blob.
        """
        return msgspec.json.decode(blob, type=cls)


@dataclass(frozen=True)
class Host:
    """Where configuration is looked up: environment and files of the user who starts Tidepool."""

    env: Mapping[str, str]
    home: Path
    root: Path = Path("/")
    prefix: Path = Path("/usr")
    """The Python installation's prefix (`sys.prefix`)."""

    def read(self, path: Path) -> str | None:
        """A configuration file's text; None when there is none or it may not be read."""
        try:
            return path.read_text("utf-8", "replace")
        except (FileNotFoundError, NotADirectoryError, PermissionError, IsADirectoryError):
            return None

    def certificates(self, path: str | None, notes: list[str]) -> str | None:
        """PEM text of a configured CA file; a note, and the system's authorities, when it cannot be read."""
        if not path:
            return None
        text = self.read(Path(path))
        if text is None or "-----BEGIN" not in text:
            notes.append("a configured certificate file cannot be read; the system's authorities are used")
            return None
        return text


@dataclass
class Found:
    """What one tool's configuration says, before it is put together with the others'."""

    default: str | None = None
    extra: list[str] = field(default_factory=list)
    no_default: bool = False
    """The tool is told to use no index at all, or only a local one."""
    merge: bool = False
    ca: str | None = None
    notes: list[str] = field(default_factory=list)


def make_index(text: str, what: str, notes: list[str], ca: str | None = None) -> Index | None:
    """One configured URL as an index; None and a note when the proxy cannot or should not reach it."""
    if text.startswith(("file:", "/", ".")) or "://" not in text:
        notes.append(f"{what} is a local directory; it stays outside the sandbox")
        return None
    try:
        plain, authorization = split_credentials(text.rstrip("/"))
        url = parse_url(plain)
    except ValueError:
        notes.append(f"{what} is not a URL that can be used")
        return None
    if "?" in url.target:
        notes.append(f"{what} has a query in its URL; it is not used")
        return None
    return Index(url=str(Url(url.origin, url.target.rstrip("/"))), authorization=authorization, ca=ca)


def split_credentials(text: str) -> tuple[str, str | None]:
    """A URL without its `user:password@`, and the Authorization header's value for them.

    Raises:
        ValueError: The URL cannot be split.
    """
    parts = urlsplit(text)
    userinfo, at, host = parts.netloc.rpartition("@")
    if not at:
        return text, None
    user, _, password = userinfo.partition(":")
    return parts._replace(netloc=host).geturl(), basic(unquote(user), unquote(password))


def basic(user: str, password: str) -> str:
    """The Authorization header's value for user and password (RFC 7617)."""
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode("ascii")
