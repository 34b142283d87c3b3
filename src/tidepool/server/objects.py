"""Build contexts as clients upload them: tars on disk by MD5, one directory per tenant; and short-lived credentials.

A credential is derived, never stored: who holds a session token that this server made holds the secret that belongs
to it, until it expires. Keys are confined to `{organization}/{md5}/context.tar`; nothing else can be named.
"""

import base64
import contextlib
import hashlib
import hmac
import os
import re
import secrets
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tidepool.engine.errors import AccessDenied, InvalidSpec, NotFound

BUCKET = "contexts"
REGION = "local"
LIFETIME_S = 3600.0
MAX_BYTES = 2 << 30
"""Of one context."""
MAX_TENANT_BYTES = 8 << 30
"""Of all contexts of one tenant; the oldest make room."""
MAX_PARTS = 1000
MAX_UPLOADS = 8
"""Of one tenant at the same time."""
_KEY_FILE = "storage_key"
_MD5 = re.compile(r"[0-9a-f]{32}\Z")
_KEY = re.compile(r"([A-Za-z0-9-]{1,64})/([0-9a-f]{32})/context\.tar\Z")
_UPLOAD = re.compile(r"[0-9a-f]{32}\Z")


class _Claim(msgspec.Struct, array_like=True):
    """What a session token says."""

    tenant: str
    expires: float
    nonce: str


@dataclass(frozen=True)
class Credentials:
    """For one tenant and a short time."""

    access_key: str
    secret: str
    token: str


@dataclass(frozen=True)
class Stored:
    """One context."""

    md5: str
    """In its name; what the client says, not what is in it."""
    size: int
    modified_at: float
    etag: str


class Objects:
    """All contexts of one server. Made by `open`."""

    def __init__(self, place: Path, key: bytes) -> None:
        self._place = place
        self._key = key

    @classmethod
    def open(cls, records_dir: Path) -> "Objects":
        """In the server's own directory; uploads that were not completed are removed."""
        place = records_dir / "objects"
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in place.glob("*/*.upload"):
            shutil.rmtree(left)
        for part in place.glob("*/*.part"):
            part.unlink()
        return cls(place, _key(records_dir / _KEY_FILE))

    def credentials(self, tenant: str) -> Credentials:
        """New ones."""
        claim = msgspec.json.encode(_Claim(tenant, time.time() + LIFETIME_S, secrets.token_hex(8)))
        token = f"{_text(claim)}.{_text(self._mac(b'token', claim))}"
        return self._derived(token)

    def holder(self, token: str, access_key: str) -> tuple[str, Credentials]:
        """Whose token this is, and the credentials that belong to it.

        Raises:
            AccessDenied: It is none of this server's, or it has expired.
        """
        body, _, mac = token.partition(".")
        if not token.isascii():
            raise AccessDenied("the session token is none of this server's")
        try:
            claim = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
            found = msgspec.json.decode(claim, type=_Claim)
        except (ValueError, msgspec.DecodeError):
            raise AccessDenied("the session token is none of this server's") from None
        its = self._derived(token)
        if not hmac.compare_digest(_text(self._mac(b"token", claim)), mac) or its.access_key != access_key:
            raise AccessDenied("the session token is none of this server's")
        if found.expires < time.time():
            raise AccessDenied("the session token has expired; ask for new access")
        return found.tenant, its

    def paths(self, tenant: str, hashes: Sequence[str]) -> list[Path]:
        """The files of contexts, for a build.

        Raises:
            InvalidSpec: One was not uploaded.
        """
        for one in hashes:
            if not _MD5.match(one) or not self._path(tenant, one).is_file():
                raise InvalidSpec(f"the context {one[:40]!r} was not uploaded; upload it and try again")
        return [self._path(tenant, one) for one in hashes]

    def find(self, tenant: str, md5: str) -> tuple[Stored, Path]:
        """One context.

        Raises:
            NotFound: It was not uploaded.
        """
        path = self._path(tenant, md5)
        try:
            info = path.stat()
        except FileNotFoundError:
            raise NotFound("the key does not exist") from None
        return Stored(md5, info.st_size, info.st_mtime, f"{info.st_mtime_ns:x}-{info.st_size:x}"), path

    def list(self, tenant: str) -> "list[Stored]":
        """A tenant's contexts by name."""
        names = sorted(path.stem for path in self._directory(tenant).glob("*.tar"))
        return [self.find(tenant, name)[0] for name in names if _MD5.match(name)]

    def part(self, tenant: str) -> Path:
        """A new file to be written, for `keep`."""
        return self._directory(tenant) / f"{secrets.token_hex(16)}.part"

    def keep(self, tenant: str, md5: str, parts: Sequence[Path]) -> Stored:
        """Make a context of files, which are gone afterwards.

        Raises:
            InvalidSpec: Together they are too large.
        """
        if sum(part.stat().st_size for part in parts) > MAX_BYTES:
            raise InvalidSpec(f"a context may have at most {MAX_BYTES} bytes")
        whole = self.part(tenant)
        with whole.open("wb") as file:
            for part in parts:
                with part.open("rb") as source:
                    shutil.copyfileobj(source, file, 1 << 20)
                part.unlink()
        whole.rename(self._path(tenant, md5))
        self._make_room(tenant, md5)
        return self.find(tenant, md5)[0]

    def begin_upload(self, tenant: str, md5: str) -> str:
        """A multipart upload's id; of a tenant's uploads that were never completed the oldest make room."""
        old = sorted(self._directory(tenant).glob("*.upload"), key=lambda path: path.stat().st_mtime)
        for path in old[: max(0, len(old) - MAX_UPLOADS + 1)]:
            shutil.rmtree(path)
        number = secrets.token_hex(16)
        place = self._upload(tenant, number)
        place.mkdir(mode=0o700)
        (place / "md5").write_text(md5)
        return number

    def upload(self, tenant: str, number: str, md5: str) -> Path:
        """The directory of a multipart upload.

        Raises:
            NotFound: There is none of this id for this key.
        """
        place = self._upload(tenant, number)
        if not _UPLOAD.match(number) or not place.is_dir() or (place / "md5").read_text() != md5:
            raise NotFound("the upload does not exist")
        return place

    def _upload(self, tenant: str, number: str) -> Path:
        return self._directory(tenant) / f"{number}.upload"

    def _make_room(self, tenant: str, newest: str) -> None:
        found = sorted(self.list(tenant), key=lambda one: one.modified_at)
        total = sum(one.size for one in found)
        for one in found:
            if total > MAX_TENANT_BYTES and one.md5 != newest:
                self._path(tenant, one.md5).unlink()
                total -= one.size

    def _directory(self, tenant: str) -> Path:
        # A tenant's name may be anything; its digest is a plain name.
        place = self._place / hashlib.sha256(tenant.encode("utf-8", "surrogatepass")).hexdigest()[:32]
        place.mkdir(mode=0o700, exist_ok=True)
        return place

    def _path(self, tenant: str, md5: str) -> Path:
        return self._directory(tenant) / f"{md5}.tar"

    def _derived(self, token: str) -> Credentials:
        access = self._mac(b"access", token.encode()).hex()[:20].upper()
        return Credentials(f"TP{access}", self._mac(b"secret", token.encode()).hex(), token)

    def _mac(self, purpose: bytes, data: bytes) -> bytes:
        return hmac.digest(self._key, purpose + b"\0" + data, "sha256")


def md5_of(key: str, organization: str) -> str:
    """The MD5 that a key names.

    Raises:
        AccessDenied: It is not of the form `{organization}/{md5}/context.tar`.
    """
    found = _KEY.match(key)
    if found is None or found[1] != organization:
        raise AccessDenied("only keys of the form ORGANIZATION/MD5/context.tar can be used here")
    return found[2]


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _key(path: Path) -> bytes:
    """The key that credentials are derived from: made once, readable by the server only."""
    with contextlib.suppress(FileExistsError):
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(secrets.token_bytes(32))
    key = path.read_bytes()
    if len(key) != 32:
        raise ValueError(f"{path} is damaged; remove it, and credentials that are out become invalid")
    return key
