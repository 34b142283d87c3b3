"""Multipart forms: read as a stream of parts whatever their size, and written part by part.

Nothing is held but the piece at hand. A form that ends before its closing boundary is refused: a file that was cut
short must not pass for a whole one.
"""

from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import quote

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.exceptions import HTTPException
from starlette.requests import Request

_MAX_TEXT_BYTES = 64 << 10
_MAX_HEADER_BYTES = 16 << 10
_CALLBACKS = (
    "header_field",
    "header_value",
    "header_end",
    "headers_finished",
    "part_data",
    "part_end",
    "end",
)


class _PartEnd:
    """The content of a part is complete."""


@dataclass(frozen=True)
class _PartStart:
    disposition: bytes


_Event = bytes | _PartStart | _PartEnd


@dataclass
class Part:
    """One part; its content must be taken before the next part is asked for."""

    name: str
    filename: str
    _form: "_Form"

    async def chunks(self) -> AsyncIterator[bytes]:
        """The content, piece by piece.

        Raises:
            HTTPException: 400, the form is malformed or cut short.
        """
        while not isinstance(event := await self._form.next_event(), _PartEnd):
            if not isinstance(event, bytes):
                raise HTTPException(400, "the form is cut short: its closing boundary is missing")
            yield event

    async def text(self) -> str:
        """The content as text.

        Raises:
            HTTPException: It is longer than 64 KiB, or no UTF-8.
        """
        content = bytearray()
        async for chunk in self.chunks():
            content += chunk
            if len(content) > _MAX_TEXT_BYTES:
                raise HTTPException(400, f"the form's field {self.name[:100]!r} is too long")
        return _text(bytes(content), f"the form's field {self.name[:100]!r}")


@contextmanager
def _malformed_is_400() -> Iterator[None]:
    try:
        yield
    except FormParserError as error:
        raise HTTPException(400, f"the form is malformed: {error}") from None


@dataclass
class _Form:
    """The parser's callbacks turned into a queue of events."""

    body: AsyncIterator[bytes]
    boundary: bytes
    events: deque[_Event] = field(default_factory=deque)
    is_complete: bool = False
    name: bytearray = field(default_factory=bytearray)
    value: bytearray = field(default_factory=bytearray)
    disposition: bytes = b""

    def __post_init__(self) -> None:
        callbacks = {f"on_{name}": getattr(self, f"on_{name}") for name in _CALLBACKS}
        with _malformed_is_400():
            self.parser = MultipartParser(self.boundary, callbacks, max_header_size=_MAX_HEADER_BYTES)  # type: ignore[arg-type]

    async def next_event(self) -> _Event | None:
        """A part's start, content or end; None after the closing boundary."""
        while not self.events:
            piece = await anext(self.body, None)
            if piece is None:
                if not self.is_complete:
                    raise HTTPException(400, "the form is cut short: its closing boundary is missing")
                return None
            with _malformed_is_400():
                self.parser.write(piece)
        return self.events.popleft()

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        """Part of a header's name."""
        self.name += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        """Part of a header's value."""
        self.value += data[start:end]

    def on_header_end(self) -> None:
        """A header is complete."""
        if self.name.lower() == b"content-disposition":
            self.disposition = bytes(self.value)
        self.name.clear()
        self.value.clear()

    def on_headers_finished(self) -> None:
        """A part begins."""
        self.events.append(_PartStart(self.disposition))
        self.disposition = b""

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        """Content of the part."""
        self.events.append(data[start:end])

    def on_part_end(self) -> None:
        """The part is over."""
        self.events.append(_PartEnd())

    def on_end(self) -> None:
        """The closing boundary."""
        self.is_complete = True


async def parts(request: Request) -> AsyncIterator[Part]:
    """The parts of a multipart/form-data request as they arrive.

    Raises:
        HTTPException: 400, the body is no such form, is malformed or cut short.
    """
    kind, options = parse_options_header(request.headers.get("content-type"))
    boundary = options.get(b"boundary")
    if kind != b"multipart/form-data" or not boundary:
        raise HTTPException(400, "the request must be multipart/form-data with a boundary")
    form = _Form(aiter(request.stream()), boundary)
    while (event := await form.next_event()) is not None:
        if isinstance(event, _PartStart):
            _, fields = parse_options_header(event.disposition)
            name, filename = (
                _text(fields.get(key, b""), "a name in the form") for key in (b"name", b"filename")
            )
            yield Part(name, filename, form)


def _text(content: bytes, what: str) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise HTTPException(400, f"{what} is not UTF-8") from None


def part_head(name: str, path: str, media_type: str, size: int, boundary: str) -> bytes:
    """What stands before the content of one part of an answer; `filename` is the path as it was asked for."""
    return (
        f"--{boundary}\r\n"
        f'Content-Disposition: form-data; name="{name}"; filename="{_quoted(path)}"; '
        f"filename*=utf-8''{quote(path, safe='')}\r\n"
        f"Content-Type: {media_type}\r\nContent-Length: {size}\r\n\r\n"
    ).encode()


def _quoted(path: str) -> str:
    """A path between double quotes, so that both kinds of official clients read it back unchanged.

    Newer ones always undo backslash escapes, 0.110.1 only beside an escaped quote: a lone backslash stays alone. Line
    ends would end the header; browsers write them as here.
    """
    if '"' in path or "\\\\" in path or path.endswith("\\"):
        path = path.replace("\\", "\\\\").replace('"', '\\"')
    return path.replace("\r", "%0D").replace("\n", "%0A")


PART_END = b"\r\n"


def form_end(boundary: str) -> bytes:
    """What stands after the last part."""
    return f"--{boundary}--\r\n".encode()
