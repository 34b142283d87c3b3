"""The policy `packages`: what a sandbox that may install packages gets for each thing it may ask for.

Every request is authorised anew: a file is served only while the index's own page lists it. Nothing here
reads bytes of a client; see `proxy` for that, and `upstream` for where connections may go.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tidepool.egress import npm, simple
from tidepool.egress.cache import Cache, Made
from tidepool.egress.destination import BadUrl, Url
from tidepool.egress.indexes import HostIndexes
from tidepool.egress.npm import Packument
from tidepool.egress.refusal import Refusal
from tidepool.egress.simple import BadPage, Listing
from tidepool.egress.target import NpmPackage, NpmTarball, Project, ProjectFile, Target
from tidepool.egress.upstream import Reply, Upstream

PAGE_TTL_S = 300.0
MISSING_TTL_S = 30.0
MAX_CACHE_BYTES = 64 << 20
MAX_FILE_BYTES = 8 << 30
_ENTRY_COST = 512  # bytes that keeping even an empty answer takes
_RANGE = re.compile(r"bytes=(\d{1,15}-\d{0,15}|-\d{1,15})\Z")
_LENGTH = re.compile(r"\d{1,15}\Z")
_PASSED_ON = ("content-range", "accept-ranges", "etag", "last-modified", "content-encoding")


@dataclass(frozen=True)
class Asked:
    """The parts of a request that may change the answer."""

    method: str
    accept: str
    range: str
    place: str
    """How this client reaches the proxy: scheme, host and port."""


@dataclass(frozen=True)
class Answer:
    """What the client gets; a streamed body has its length in the headers when it is known."""

    status: int
    headers: tuple[tuple[str | bytes, str | bytes], ...]
    body: bytes | AsyncIterator[bytes]


class Packages:
    """All indexes of this host, as the mirror shows them."""

    def __init__(self, indexes: HostIndexes) -> None:
        self._merge = indexes.merge
        self._python = [Upstream(index) for index in indexes.python]
        self._npm = [Upstream(index) for index in indexes.npm]
        self._pages: Cache[dict[str, Listing] | None] = Cache(MAX_CACHE_BYTES)
        self._packuments: Cache[Packument | None] = Cache(MAX_CACHE_BYTES)

    async def close(self) -> None:
        """Closes every connection to the outside."""
        for upstream in [*self._python, *self._npm]:
            await upstream.close()

    @asynccontextmanager
    async def answer(self, target: Target, asked: Asked) -> AsyncIterator[Answer]:
        """Answers a request; the body must be read before the context ends.

        Raises:
            Refusal: Not listed, not allowed, or the index failed.
        """
        match target:
            case Project(name):
                yield await self._project(name, asked)
            case NpmPackage(name):
                yield await self._package(name, asked)
            case ProjectFile():
                upstream, url = await self._file_place(target)
                async with _stream(upstream, url, asked) as answer:
                    yield answer
            case NpmTarball(name, filename):
                upstream, url = await self._tarball_place(name, filename)
                async with _stream(upstream, url, asked) as answer:
                    yield answer

    async def _project(self, name: str, asked: Asked) -> Answer:
        found: dict[str, Listing] = {}
        known = False
        for number in range(len(self._python)):
            page = await self._page(number, name)
            if page is None:
                continue
            known = True
            found = {**page, **found}
            if not self._merge:
                break
        if not known:
            raise Refusal(404, f"No package index of this host has a project named {name}.")
        as_json = simple.wants_json(asked.accept)
        render, kind = (
            (simple.render_json, simple.JSON_TYPE) if as_json else (simple.render_html, "text/html")
        )
        return _document(kind, render(name, list(found.values())))

    async def _page(self, number: int, name: str) -> dict[str, Listing] | None:
        """What one index lists for a project; None when it does not know it.

        Another index is asked only after a clear no: an index that fails must not open the way to a name's
        homonym.
        """
        upstream = self._python[number]
        url = Url(upstream.url.origin, f"{upstream.url.target.rstrip('/')}/{name}/")

        async def make() -> Made[dict[str, Listing] | None]:
            reply, body = await upstream.page(url, simple.ACCEPT)
            if _says_missing(reply, upstream):
                return Made(None, _ENTRY_COST, MISSING_TTL_S)
            kind = reply.headers.get("content-type", "")
            try:
                listings = await asyncio.to_thread(simple.parse_page, kind, body, reply.url, number)
            except BadPage:
                raise Refusal(502, f"The package index sent a page for {name} that cannot be read.") from None
            return Made(listings, _ENTRY_COST + 3 * len(body), PAGE_TTL_S)

        return await self._pages.get((number, name), make)

    async def _file_place(self, target: ProjectFile) -> tuple[Upstream, Url]:
        page = await self._page(target.index, target.project) if target.index < len(self._python) else None
        if page is None:
            raise Refusal(404, f"That package index does not list a project named {target.project}.")
        listing, suffix = page.get(target.filename), ""
        if listing is None and target.filename.endswith(".metadata"):
            listing, suffix = page.get(target.filename.removesuffix(".metadata")), ".metadata"
            listing = listing if listing is not None and listing.entry.metadata else None
        if listing is None:
            raise Refusal(
                404, f"The package index does not list this file for {target.project}; it is not fetched."
            )
        try:
            return self._python[target.index], listing.upstream().with_suffix(suffix)
        except BadUrl:
            raise Refusal(
                403, "The package index links this file to something that is not a usable URL."
            ) from None

    async def _package(self, name: str, asked: Asked) -> Answer:
        abbreviated = npm.ABBREVIATED in asked.accept
        _, packument = await self._packument(name, abbreviated)
        kind = npm.ABBREVIATED if abbreviated else "application/json"
        return _document(kind, npm.render(packument, asked.place))

    async def _packument(self, name: str, abbreviated: bool) -> tuple[Upstream, Packument]:
        upstream = self._registry(name)
        url = Url(upstream.url.origin, f"{upstream.url.target.rstrip('/')}/{name.replace('/', '%2f')}")

        async def make() -> Made[Packument | None]:
            reply, body = await upstream.page(url, npm.ACCEPT if abbreviated else "application/json")
            if _says_missing(reply, upstream):
                return Made(None, _ENTRY_COST, MISSING_TTL_S)
            try:
                document = await asyncio.to_thread(npm.parse_packument, body, reply.url, name)
            except BadPage:
                raise Refusal(
                    502, f"The npm registry sent a document for {name} that cannot be read."
                ) from None
            return Made(document, _ENTRY_COST + 2 * len(document.body), PAGE_TTL_S)

        packument = await self._packuments.get((name, abbreviated), make)
        if packument is None:
            raise Refusal(404, f"The npm registry of this host has no package named {name}.")
        return upstream, packument

    async def _tarball_place(self, name: str, filename: str) -> tuple[Upstream, Url]:
        upstream, packument = await self._packument(name, True)
        url = packument.tarballs.get(filename)
        if url is None:
            raise Refusal(404, f"The npm registry does not list this file for {name}; it is not fetched.")
        return upstream, url

    def _registry(self, name: str) -> Upstream:
        scope = name.partition("/")[0] if name.startswith("@") else None
        for upstream in self._npm:
            if upstream.index.scope in (scope, None):
                return upstream
        raise Refusal(404, "This host has no npm registry that the proxy can reach.")


def _document(kind: str, body: bytes) -> Answer:
    headers = (("content-type", kind), ("content-length", str(len(body))), ("cache-control", "max-age=300"))
    return Answer(200, headers, body)


def _says_missing(reply: Reply, upstream: Upstream) -> bool:
    """Whether an index says that it does not have this; a plain 403 is how file stores say so to strangers.

    Raises:
        Refusal: It answered neither yes nor no.
    """
    if reply.status in (404, 410) or (reply.status == 403 and upstream.index.authorization is None):
        return True
    if reply.status in (401, 403):
        raise Refusal(502, "The package index did not accept this host's credentials.")
    if reply.status != 200:
        raise Refusal(502, f"The package index answered with status {reply.status}.")
    return False


@asynccontextmanager
async def _stream(upstream: Upstream, url: Url, asked: Asked) -> AsyncIterator[Answer]:
    wanted = {"accept": "*/*", "accept-encoding": "identity"}
    if _RANGE.match(asked.range):  # anything else is answered whole, as RFC 9110 allows
        wanted["range"] = asked.range
    async with upstream.fetch(asked.method, url, wanted) as reply:
        if reply.status not in (200, 206, 416):
            raise _file_refusal(reply.status, asked.method)
        yield Answer(reply.status, _file_headers(reply.headers), _bounded(reply.body))


def _file_refusal(status: int, method: str) -> Refusal:
    if status in (404, 410):
        return Refusal(404, "The package index lists this file but does not have it.")
    if method == "HEAD" and 400 <= status < 500:
        return Refusal(405, "The package index does not answer HEAD for this file; use GET.")
    if status in (401, 403):
        return Refusal(502, "The package index did not let this host have the file.")
    return Refusal(502, f"The package index answered with status {status}.")


def _file_headers(headers: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    kept = [("content-type", "application/octet-stream")]
    length = headers.get("content-length", "")
    if _LENGTH.match(length):
        if int(length) > MAX_FILE_BYTES:
            raise Refusal(502, "The file is larger than the proxy passes on.")
        kept.append(("content-length", length))
    return (*kept, *((name, headers[name]) for name in _PASSED_ON if name in headers))


async def _bounded(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    size = 0
    async for chunk in body:
        size += len(chunk)
        if size > MAX_FILE_BYTES:
            raise Refusal(502, "The file is larger than the proxy passes on.")
        yield chunk
