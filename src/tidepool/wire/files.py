"""JSON of files (protocol section 6.2)."""

import msgspec
from msgspec import UNSET, UnsetType


class BulkDownload(msgspec.Struct):
    """`POST /files/bulk-download`."""

    paths: list[str]


class FileInfo(msgspec.Struct, rename="camel", kw_only=True):
    """One file; answers of `GET /files` and `GET /files/info`."""

    name: str
    is_dir: bool
    size: int
    """Bytes."""
    mod_time: str
    """RFC 3339, as is `modified_at`."""
    modified_at: str
    mode: str
    """As `ls -l` writes it: `-rw-r--r--`."""
    permissions: str
    """Octal: `0644`."""
    owner: str
    """Numeric id as seen inside, as is `group`."""
    group: str
    path: str | UnsetType = UNSET
    """Only in listings that were asked for with `depth`."""


class Stored(msgspec.Struct):
    """One file of an upload."""

    path: str
    bytes: int


class Uploaded(msgspec.Struct, kw_only=True):
    """Answer of `POST /files/bulk-upload`."""

    files: list[Stored]


class UploadedFile(msgspec.Struct):
    """Answer of `POST /files/upload-v2`."""

    name: str
    path: str
    type: str = "file"


class Match(msgspec.Struct):
    """One line of a file; answer of `GET /files/find`."""

    file: str
    line: int
    """From 1."""
    content: str


class Found(msgspec.Struct):
    """Answer of `GET /files/search`."""

    files: list[str]


class Replace(msgspec.Struct, rename="camel"):
    """`POST /files/replace`: literal text."""

    files: list[str]
    pattern: str
    new_value: str


class Replaced(msgspec.Struct):
    """What became of one file; answer of `POST /files/replace`."""

    file: str
    success: bool
    error: str | UnsetType = UNSET


class Directory(msgspec.Struct):
    """Answers of `GET /user-home-dir`, `/work-dir` and `/project-dir`."""

    dir: str
