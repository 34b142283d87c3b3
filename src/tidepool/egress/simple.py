"""A project's page in the simple repository API: read as JSON (PEP 691) or HTML (PEP 503), written as either.

Pure. A page that comes out names files of this proxy only; hashes, Python requirements, yanks and separate
metadata (PEP 592, 658, 714) are kept as the index gave them.
"""

from html import escape
from html.parser import HTMLParser
from urllib.parse import unquote

import msgspec

from tidepool.egress.destination import BadUrl, Url, join
from tidepool.egress.target import FILENAME

JSON_TYPE = "application/vnd.pypi.simple.v1+json"
HTML_TYPE = "application/vnd.pypi.simple.v1+html"
ACCEPT = f"{JSON_TYPE}, {HTML_TYPE};q=0.2, text/html;q=0.1"


class BadPage(ValueError):
    """The index sent a page that is not what it says it is."""


class Entry(msgspec.Struct, frozen=True, rename="kebab"):
    """One file of a page, in PEP 691's terms."""

    filename: str
    url: str
    hashes: dict[str, str] = {}
    requires_python: str | None = None
    core_metadata: bool | dict[str, str] | None = None
    dist_info_metadata: bool | dict[str, str] | None = None
    yanked: bool | str | None = None
    size: int | None = None
    upload_time: str | None = None

    @property
    def metadata(self) -> bool | dict[str, str]:
        """Whether `.metadata` stands beside the file, or its hashes."""
        return self.core_metadata or self.dist_info_metadata or False


class _JsonPage(msgspec.Struct):
    files: list[Entry]


class Listing(msgspec.Struct, frozen=True):
    """One file that an index lists."""

    index: int
    entry: Entry
    base: Url
    """Of the page; the entry's link is relative to it."""

    def upstream(self) -> Url:
        """Where the file really is. Pages have thousands of links and few are ever followed, so it is read here.

        Raises:
            BadUrl: The link is none that the proxy would follow.
        """
        return join(self.base, self.entry.url)


def parse_page(content_type: str, body: bytes, base: Url, index: int) -> dict[str, Listing]:
    """The files of an index's page by filename; the first of equals wins.

    Filenames outside the strict grammar are left out.

    Raises:
        BadPage: Neither JSON nor HTML of the simple API.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind in (JSON_TYPE, "application/json"):
        entries = _from_json(body)
    elif kind in (HTML_TYPE, "text/html"):
        entries, base = _from_html(body.decode("utf-8", "replace"), base)
    else:
        raise BadPage("the index answered with something that is not a project page")
    listings: dict[str, Listing] = {}
    for entry in entries:
        if FILENAME.match(entry.filename):
            listings.setdefault(entry.filename, Listing(index, entry, base))
    return listings


def _from_json(body: bytes) -> list[Entry]:
    try:
        return msgspec.json.decode(body, type=_JsonPage).files
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadPage(f"the index answered with JSON that is not a project page: {error}") from None


class _Anchors(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.base: str | None = None
        self.anchors: list[dict[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {key: value or "" for key, value in attrs}
        if tag == "base" and self.base is None:
            self.base = values.get("href")
        elif tag == "a" and values.get("href"):
            self.anchors.append(values)


def _from_html(text: str, base: Url) -> tuple[list[Entry], Url]:
    parser = _Anchors()
    parser.feed(text)
    parser.close()
    if parser.base:
        try:
            base = join(base, parser.base)
        except BadUrl:
            raise BadPage("the index's page has a base address that cannot be used") from None
    return [_from_anchor(attributes) for attributes in parser.anchors], base


def _from_anchor(attributes: dict[str, str]) -> Entry:
    url, _, fragment = attributes["href"].strip().partition("#")
    algorithm, equals, digest = fragment.partition("&")[0].partition("=")
    metadata = attributes.get("data-core-metadata") or attributes.get("data-dist-info-metadata")
    return Entry(
        filename=unquote(url.partition("?")[0].rpartition("/")[2]),
        url=url,
        hashes={algorithm: digest} if equals and algorithm in _HASHES else {},
        requires_python=attributes.get("data-requires-python") or None,
        core_metadata=_metadata(metadata),
        yanked=(attributes["data-yanked"] or True) if "data-yanked" in attributes else False,
    )


_HASHES = frozenset({"md5", "sha1", "sha224", "sha256", "sha384", "sha512"})


def _metadata(value: str | None) -> bool | dict[str, str]:
    if not value:
        return False
    algorithm, equals, digest = value.partition("=")
    return {algorithm: digest} if equals and algorithm in _HASHES else True


def wants_json(accept: str) -> bool:
    """Whether a client's Accept header prefers the JSON form (only clients that name it get it)."""
    return JSON_TYPE in accept or "application/vnd.pypi.simple.latest+json" in accept


def _local_url(name: str, listing: Listing) -> str:
    return f"/files/{listing.index}/{name}/{listing.entry.filename}"


def render_json(name: str, listings: list[Listing]) -> bytes:
    """The project's page for clients that read JSON."""
    files = [_json_file(name, listing) for listing in listings]
    return msgspec.json.encode({"meta": {"api-version": "1.0"}, "name": name, "files": files})


def _json_file(name: str, listing: Listing) -> dict[str, object]:
    entry = listing.entry
    optional: dict[str, object] = {
        "requires-python": entry.requires_python,
        # Under this name only: pip before 23.1, such as Debian 12's, fails on hashes under the older one (PEP 714).
        "core-metadata": entry.metadata or None,
        "yanked": entry.yanked or None,
        "size": entry.size,
        "upload-time": entry.upload_time,
    }
    kept = {key: value for key, value in optional.items() if value is not None}
    return {"filename": entry.filename, "url": _local_url(name, listing), "hashes": entry.hashes, **kept}


def render_html(name: str, listings: list[Listing]) -> bytes:
    """The project's page for clients that read HTML."""
    lines = [f"<!DOCTYPE html>\n<html><head><title>{escape(name)}</title></head><body>"]
    lines += [_anchor(name, listing) for listing in listings]
    return "\n".join([*lines, "</body></html>\n"]).encode()


def _anchor(name: str, listing: Listing) -> str:
    entry = listing.entry
    href = _local_url(name, listing) + _fragment(entry.hashes)
    attributes = {"href": href}
    if entry.requires_python:
        attributes["data-requires-python"] = entry.requires_python
    if entry.metadata:
        value = _fragment(entry.metadata).lstrip("#") if isinstance(entry.metadata, dict) else "true"
        attributes["data-core-metadata"] = attributes["data-dist-info-metadata"] = value or "true"
    if entry.yanked:
        attributes["data-yanked"] = entry.yanked if isinstance(entry.yanked, str) else ""
    text = " ".join(f'{key}="{escape(value, quote=True)}"' for key, value in attributes.items())
    return f"<a {text}>{escape(entry.filename)}</a><br/>"


def _fragment(hashes: dict[str, str]) -> str:
    """`#algorithm=digest`: SHA-256 where there is one."""
    for algorithm in ("sha256", *hashes):
        if algorithm in hashes:
            return f"#{algorithm}={hashes[algorithm]}"
    return ""
