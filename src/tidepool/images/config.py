"""What an image says of how it is to be run: environment, directory, user, programs. Pure, and the form it is kept in.

The files of an image are the engine's; this is the part that the caller keeps beside them. `USER` names other than
`root` become the sandbox's own user.
"""

import re
from typing import Any

import msgspec

from tidepool.images.errors import BadImage

SHELL = ("/bin/sh", "-c")
_ENV_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}\Z")
_MAX_TEXT = 128 << 10
_MAX_WORDS = 1000


class ImageConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How programs in an image are started."""

    env: dict[str, str] = {}
    work_dir: str = ""
    """Absolute; empty: the sandbox's own default."""
    user: str = ""
    """As USER said, such as `root`, `1000`, `app:app`; empty: nothing was said."""
    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    labels: dict[str, str] = {}
    shell: tuple[str, ...] = SHELL

    @property
    def runs_as_root(self) -> bool:
        """Whether USER names root."""
        return self.user.partition(":")[0] in ("root", "0")


class _Inner(msgspec.Struct):
    Env: list[str] | None = None
    WorkingDir: str | None = None
    User: str | None = None
    Entrypoint: list[str] | None = None
    Cmd: list[str] | None = None
    Labels: dict[str, str] | None = None
    Shell: list[str] | None = None


class _Config(msgspec.Struct):
    config: _Inner | None = None
    architecture: str | None = None
    os: str | None = None


def from_oci(data: bytes) -> ImageConfig:
    """From the configuration blob of an OCI or Docker image.

    Raises:
        BadImage: It is none, or something in it is too large.
    """
    try:
        inner = msgspec.json.decode(data, type=_Config).config or _Inner()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadImage(f"the image's configuration cannot be read: {error}") from None
    env = dict(_variable(text) for text in inner.Env or ())
    # The image's PATH leads its own programs; the sandbox's own PATH stays where the image names none.
    return ImageConfig(
        env={key: value for key, value in env.items() if _ENV_KEY.match(key)},
        work_dir=_directory(inner.WorkingDir or ""),
        user=_short(inner.User or "", "user"),
        entrypoint=_words(inner.Entrypoint, "entrypoint"),
        cmd=_words(inner.Cmd, "command"),
        labels=inner.Labels or {},
        shell=_words(inner.Shell, "shell") or SHELL,
    )


def _variable(text: str) -> tuple[str, str]:
    key, _, value = _short(text, "environment").partition("=")
    return key, value


def _directory(path: str) -> str:
    if path and not path.startswith("/"):
        raise BadImage(f"the image's work directory {path[:100]!r} is not absolute")
    return _short(path, "work directory")


def _words(words: list[str] | None, what: str) -> tuple[str, ...] | None:
    if words is None:
        return None
    if len(words) > _MAX_WORDS:
        raise BadImage(f"the image's {what} has more than {_MAX_WORDS} words")
    return tuple(_short(word, what) for word in words) or None


def _short(text: str, what: str) -> str:
    if len(text) > _MAX_TEXT or "\0" in text:
        raise BadImage(f"the image's {what} is longer than {_MAX_TEXT} characters or holds a NUL")
    return text


def encode(config: ImageConfig) -> dict[str, Any]:
    """For a record."""
    found: dict[str, Any] = msgspec.to_builtins(config)
    return found


def decode(record: Any) -> ImageConfig:
    """From a record.

    Raises:
        BadImage: It is none.
    """
    try:
        return msgspec.convert(record, ImageConfig)
    except msgspec.ValidationError as error:
        raise BadImage(f"the image's record cannot be read: {error}") from None
