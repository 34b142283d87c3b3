"""JSON of the language servers' calls (protocol section 6.3); symbols and completions are those of LSP 3.17."""

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

LSP_SERVER_NOT_INITIALIZED = "LSP_SERVER_NOT_INITIALIZED"

Text = Annotated[str, Meta(max_length=1 << 20)]


class Server(msgspec.Struct, rename="camel"):
    """`POST /lsp/start` and `/lsp/stop`: which server is meant."""

    language_id: str
    path_to_project: str


class Document(Server, rename="camel"):
    """`POST /lsp/did-open` and `/lsp/did-close`, and the query of `GET /lsp/document-symbols`."""

    uri: str
    """file:// and a path; a relative one is below the project."""


class Search(Server, rename="camel"):
    """The query of `GET /lsp/workspacesymbols`."""

    query: str


class Position(msgspec.Struct):
    """A place between two characters, counted from 0."""

    line: int
    character: int


class CompletionContext(msgspec.Struct, rename="camel", omit_defaults=True):
    """What made a client ask."""

    trigger_kind: int
    trigger_character: str | None = None


class Completions(Document, rename="camel", kw_only=True):
    """`POST /lsp/completions`."""

    position: Position
    context: CompletionContext | None = None


class Range(msgspec.Struct):
    """A stretch of a document."""

    start: Position
    end: Position


class Location(msgspec.Struct):
    """A stretch of one document."""

    uri: Text
    range: Range


class Symbol(msgspec.Struct):
    """A named thing in a document."""

    kind: int
    location: Location
    name: Text


class CompletionItem(msgspec.Struct, rename="camel", kw_only=True):
    """One proposal."""

    label: Text
    kind: int | UnsetType = UNSET
    detail: Text | UnsetType | None = UNSET
    documentation: dict[str, Any] | Text | UnsetType | None = UNSET
    sort_text: Text | UnsetType | None = UNSET
    filter_text: Text | UnsetType | None = UNSET
    insert_text: Text | UnsetType | None = UNSET


class CompletionList(msgspec.Struct, rename="camel"):
    """Proposals at a position."""

    is_incomplete: bool
    items: list[CompletionItem]
