"""A client of one OCI registry (distribution specification): a name becomes manifest, configuration and layers.

Only the registry that the operator has set up is ever asked: a name in a Dockerfile cannot choose another host. Plain
http is spoken with this host's loopback only. Every byte is bounded and checked against its digest before it is used.
"""

import base64
import contextlib
import encodings.idna  # noqa: F401 (names are resolved with it, and later it may not be readable)
import hashlib
import ipaddress
import platform
import re
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlencode, urljoin, urlsplit

import httpcore
import msgspec

from tidepool.images.errors import BadImage, RegistryUnavailable
from tidepool.images.reference import DIGEST as _DIGEST
from tidepool.images.reference import Reference

MAX_MANIFEST_BYTES = 4 << 20
MAX_CONFIG_BYTES = 8 << 20
MAX_LAYER_BYTES = 8 << 30
MAX_LAYERS = 200
MAX_REDIRECTS = 5
_TOKEN_BYTES = 1 << 20
_TIMEOUTS = {"connect": 10.0, "read": 60.0, "write": 60.0, "pool": 60.0}
_REDIRECTS = (301, 302, 303, 307, 308)
_ACCEPT = ", ".join(
    [
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    ]
)
_CHALLENGE = re.compile(r'([a-zA-Z]+)="([^"]*)"')
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class Blob:
    """One piece of an image."""

    digest: str
    size: int
    media_type: str


@dataclass(frozen=True)
class Manifest:
    """An image for one platform."""

    digest: str
    config: Blob
    layers: tuple[Blob, ...]


class _Descriptor(msgspec.Struct, rename="camel"):
    digest: str
    size: int
    media_type: str = ""
    platform: dict[str, Any] | None = None


class _Document(msgspec.Struct, rename="camel"):
    media_type: str = ""
    config: _Descriptor | None = None
    layers: list[_Descriptor] = []
    manifests: list[_Descriptor] = []


class Registry:
    """One registry.

    Args:
        url: `https://host[:port][/prefix]`; `http://` for loopback addresses only. The prefix goes before every
            repository.
        credentials: `user:password` for the registry's token service; None: anonymous.
        tls: What certificates are checked with; None: the host's own authorities.

    Raises:
        ValueError: The URL cannot be used.
    """

    def __init__(self, url: str, credentials: str | None = None, tls: ssl.SSLContext | None = None) -> None:
        parts = urlsplit(url)
        if not parts.hostname or parts.query or parts.fragment or parts.username:
            raise ValueError(f"the registry {url[:200]!r} must be https://host[:port][/prefix]")
        self._is_local = parts.scheme == "http" and is_loopback(parts.hostname)
        if parts.scheme != "https" and not self._is_local:
            raise ValueError(f"the registry {url[:200]!r} must be https; http is for loopback addresses only")
        self.host = parts.netloc
        self._base = f"{parts.scheme}://{parts.netloc}/v2/"
        self._prefix = parts.path.strip("/")
        self._credentials = credentials
        self._tokens: dict[str, str] = {}
        self._pool = httpcore.AsyncConnectionPool(ssl_context=tls or ssl.create_default_context())

    async def close(self) -> None:
        """Close every connection."""
        await self._pool.aclose()

    async def manifest(self, reference: Reference) -> Manifest:
        """The manifest of an image for this host's platform.

        Raises:
            BadImage: There is no such image, or none for this platform, or the answer is not a manifest.
            RegistryUnavailable: The registry cannot be reached.
        """
        if reference.host and reference.host != self.host:
            raise BadImage(
                f"{reference.host[:200]} is not the registry this server is set up with; "
                "use a name without a host, or ask the operator"
            )
        version = reference.version
        for _ in range(3):  # an index may name an index, once in a while
            data, digest = await self._document(reference, version)
            document = _decode(data)
            if document.config is not None:
                return _checked(digest, document)
            version = _for_platform(document, reference)
        raise BadImage(f"{reference.repository}: its indexes name one another")

    async def config(self, reference: Reference, manifest: Manifest) -> bytes:
        """The configuration blob.

        Raises:
            BadImage, RegistryUnavailable.
        """
        if manifest.config.size > MAX_CONFIG_BYTES:
            raise BadImage(
                f"the configuration of {reference.repository} is larger than {MAX_CONFIG_BYTES} bytes"
            )
        parts = [chunk async for chunk in self._blob(reference, manifest.config)]
        return b"".join(parts)

    async def save(self, reference: Reference, blob: Blob, target: Path) -> None:
        """Write a blob to a file, which is gone again when it is not what its digest says.

        Raises:
            BadImage, RegistryUnavailable.
        """
        with _whole(target) as file:
            async for chunk in self._blob(reference, blob):
                file.write(chunk)

    async def _document(self, reference: Reference, version: str) -> tuple[bytes, str]:
        path = f"{self._repository(reference)}/manifests/{version}"
        async with self._get(path, reference, {"accept": _ACCEPT}) as response:
            with _sentences(self.host):
                data = await _bounded(response, MAX_MANIFEST_BYTES, "manifest")
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        if version.startswith("sha256:") and version != digest:
            raise BadImage(f"the manifest of {reference.repository} is not what {version} names")
        return data, digest

    async def _blob(self, reference: Reference, blob: Blob) -> AsyncIterator[bytes]:
        """The content, checked at its end: what came must be thrown away when this raises."""
        path, seen, digest = f"{self._repository(reference)}/blobs/{blob.digest}", 0, hashlib.sha256()
        async with self._get(path, reference, {}) as response:
            with _sentences(self.host):
                async for chunk in response.aiter_stream():
                    seen += len(chunk)
                    if seen > blob.size:
                        raise BadImage(f"{blob.digest} is larger than its manifest says")
                    digest.update(chunk)
                    yield chunk
        if seen != blob.size or f"sha256:{digest.hexdigest()}" != blob.digest:
            raise BadImage(f"what the registry sent for {blob.digest} has another digest")

    def _repository(self, reference: Reference) -> str:
        return f"{self._prefix}/{reference.repository}" if self._prefix else reference.repository

    @contextlib.asynccontextmanager
    async def _get(
        self, path: str, reference: Reference, headers: Mapping[str, str]
    ) -> AsyncIterator[httpcore.Response]:
        """An answer of 200; a challenge is met once, redirects are followed."""
        url, has_tried = self._base + path, False
        for _ in range(MAX_REDIRECTS + 2):
            response = await self._send(url, self._with_token(url, reference, headers))
            try:
                if response.status == 200:
                    yield response
                    return
                if response.status == 401 and not has_tried and url.startswith(self._base):
                    has_tried = True
                    await self._authorize(reference, _header(response, b"www-authenticate"))
                    continue
                if response.status not in _REDIRECTS:
                    raise self._refusal(response.status, reference)
                url = self._allowed(urljoin(url, _header(response, b"location")))
            finally:
                with _sentences(self.host):
                    await response.aclose()
        raise BadImage(f"the registry redirects {reference.repository} more than {MAX_REDIRECTS} times")

    def _with_token(self, url: str, reference: Reference, headers: Mapping[str, str]) -> dict[str, str]:
        token = self._tokens.get(reference.repository)
        # Only for the registry itself: where it redirects to has its own means.
        return {**headers, "authorization": token} if token and url.startswith(self._base) else dict(headers)

    def _allowed(self, url: str) -> str:
        parts = urlsplit(url)
        is_local = self._is_local and parts.scheme == "http" and is_loopback(parts.hostname or "")
        if not parts.hostname or not (parts.scheme == "https" or is_local):
            raise BadImage("the registry names a place that is not https; it is not asked")
        return url

    async def _authorize(self, reference: Reference, challenge: str) -> None:
        scheme, _, rest = challenge.partition(" ")
        if scheme.lower() == "basic" and self._credentials:
            self._tokens[reference.repository] = f"Basic {_base64(self._credentials)}"
            return
        fields = {key.lower(): value for key, value in _CHALLENGE.findall(rest)}
        if scheme.lower() != "bearer" or "realm" not in fields:
            raise BadImage(f"the registry lets nobody read {reference.repository} without credentials")
        scope = f"repository:{self._repository(reference)}:pull"
        query = {"scope": scope} | ({"service": fields["service"]} if "service" in fields else {})
        headers = {"authorization": f"Basic {_base64(self._credentials)}"} if self._credentials else {}
        realm = self._allowed(fields["realm"])
        response = await self._send(f"{realm}{'&' if '?' in realm else '?'}{urlencode(query)}", headers)
        try:
            if response.status != 200:
                raise self._refusal(response.status, reference)
            self._tokens[reference.repository] = (
                f"Bearer {_token(await _bounded(response, _TOKEN_BYTES, 'token'))}"
            )
        finally:
            await response.aclose()

    async def _send(self, url: str, headers: Mapping[str, str]) -> httpcore.Response:
        sent = [(b"host", urlsplit(url).netloc.encode()), (b"user-agent", b"tidepool")]
        sent += [(key.encode(), value.encode("latin-1", "replace")) for key, value in headers.items()]
        request = httpcore.Request("GET", url, headers=sent, extensions={"timeout": _TIMEOUTS})
        with _sentences(self.host):
            return await self._pool.handle_async_request(request)

    def _refusal(self, status: int, reference: Reference) -> Exception:
        name = f"{reference.repository}:{reference.version}"
        if status in (401, 403, 404):
            return BadImage(f"the registry {self.host} has no image {name} that may be read ({status})")
        return RegistryUnavailable(f"the registry {self.host} answered {status} for {name}")


def is_loopback(host: str) -> bool:
    """Whether a host is this one, by address or by the name `localhost`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@contextlib.contextmanager
def _whole(target: Path) -> Iterator[IO[bytes]]:
    """A file to write that is there afterwards only when nothing went wrong."""
    try:
        with target.open("wb") as file:
            yield file
    except BaseException:
        target.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def _sentences(host: str) -> Iterator[None]:
    try:
        yield
    except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
        raise RegistryUnavailable(f"the registry {host} cannot be reached, or broke off: {error}") from error


async def _bounded(response: httpcore.Response, limit: int, what: str) -> bytes:
    parts, size = [], 0
    async for chunk in response.aiter_stream():
        size += len(chunk)
        if size > limit:
            raise BadImage(f"the registry sent a {what} of more than {limit} bytes")
        parts.append(chunk)
    return b"".join(parts)


def _header(response: httpcore.Response, name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in response.headers if key.lower() == name), "")


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


class _Token(msgspec.Struct):
    token: str = ""
    access_token: str = ""


def _token(data: bytes) -> str:
    try:
        found = msgspec.json.decode(data, type=_Token)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        found = _Token()
    token = found.token or found.access_token
    if not token or not token.isascii() or not token.isprintable():
        raise BadImage("the registry's token service sent no token")
    return token


def _decode(data: bytes) -> _Document:
    try:
        return msgspec.json.decode(data, type=_Document)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadImage(f"the registry sent a manifest that cannot be read: {error}") from None


def _checked(digest: str, document: _Document) -> Manifest:
    assert document.config is not None
    if not 0 < len(document.layers) <= MAX_LAYERS:
        raise BadImage(f"an image has 1 to {MAX_LAYERS} layers; this one has {len(document.layers)}")
    return Manifest(digest, _blob_of(document.config), tuple(_blob_of(layer) for layer in document.layers))


def _blob_of(found: _Descriptor) -> Blob:
    if not _DIGEST.match(found.digest) or not 0 <= found.size <= MAX_LAYER_BYTES:
        raise BadImage(
            f"the manifest names {found.digest[:80]!r} with {found.size} bytes, which cannot be used"
        )
    return Blob(found.digest, found.size, found.media_type)


def _for_platform(document: _Document, reference: Reference) -> str:
    wanted = _MACHINES.get(platform.machine(), platform.machine())
    for one in document.manifests:
        place = one.platform or {}
        if (place.get("os"), place.get("architecture")) == ("linux", wanted) and _DIGEST.match(one.digest):
            return one.digest
    raise BadImage(f"{reference.repository}:{reference.version} has no image for linux/{wanted}")
