"""Multipart forms as a stream of parts, whatever their size: nothing is held but the piece at hand."""

from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from email.message import Message

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.exceptions import HTTPException
from starlette.requests import Request

_MAX_FIELD_BYTES = 64 << 10


@dataclass
class Part:
    """One part; its content must be taken before the next part is asked for."""

    name: str
    filename: str
    _source: "_Form"

    async def chunks(self) -> AsyncIterator[bytes]:
        """The content, piece by piece."""
        while (event := await self._source.next_event()) is not None and event != _END:
            assert isinstance(event, bytes)
            yield event

    async def text(self) -> str:
        """The content as text.

        Raises:
            HTTPException: It is longer than 64 KiB.
        """
        content = bytearray()
        async for chunk in self.chunks():
            content += chunk
            if len(content) > _MAX_FIELD_BYTES:
                raise HTTPException(400, f"the form's field {self.name[:100]!r} is too long")
        return content.decode("utf-8", "surrogateescape")


_END = object()
_Event = bytes | Message | object | None


@dataclass
class _Form:
    """The parser's callbacks turned into a queue of events: headers, content, end of part."""

    body: AsyncIterator[bytes]
    parser: MultipartParser | None = None
    events: deque[_Event] = field(default_factory=deque)
    headers: Message = field(default_factory=Message)
    name: bytearray = field(default_factory=bytearray)
    value: bytearray = field(default_factory=bytearray)

    async def next_event(self) -> _Event:
        """Headers (Message), content (bytes), end of a part, or None at the end of the form."""
        assert self.parser is not None
        while not self.events:
            piece = await anext(self.body, None)
            if piece is None:
                self.parser.finalize()
                return None
            self._feed(piece)
        return self.events.popleft()

    def _feed(self, piece: bytes) -> None:
        assert self.parser is not None
        try:
            self.parser.write(piece)
        except MultipartParseError as error:
            raise HTTPException(400, f"the form is malformed: {error}") from None

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        """Part of a header's name."""
        self.name += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        """Part of a header's value."""
        self.value += data[start:end]

    def on_header_end(self) -> None:
        """A header is complete."""
        self.headers[self.name.decode("latin-1").lower()] = self.value.decode("utf-8", "surrogateescape")
        self.name.clear()
        self.value.clear()

    def on_headers_finished(self) -> None:
        """A part begins."""
        self.events.append(self.headers)
        self.headers = Message()

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        """Content of the part."""
        self.events.append(data[start:end])

    def on_part_end(self) -> None:
        """The part is over."""
        self.events.append(_END)


async def parts(request: Request) -> AsyncIterator[Part]:
    """The parts of a multipart/form-data request as they arrive.

    Raises:
        HTTPException: 400, the body is no such form or is malformed.
    """
    kind, options = parse_options_header(request.headers.get("content-type"))
    boundary = options.get(b"boundary")
    if kind != b"multipart/form-data" or not boundary:
        raise HTTPException(400, "the request must be multipart/form-data with a boundary")
    form = _Form(aiter(request.stream()))
    names = ("header_field", "header_value", "header_end", "headers_finished", "part_data", "part_end")
    form.parser = MultipartParser(boundary, {f"on_{name}": getattr(form, f"on_{name}") for name in names})  # type: ignore[arg-type]
    while (event := await form.next_event()) is not None:
        if isinstance(event, Message):
            disposition = event.get("content-disposition", "")
            _, fields = parse_options_header(disposition.encode("utf-8", "surrogateescape"))
            name, filename = (
                fields.get(key, b"").decode("utf-8", "replace") for key in (b"name", b"filename")
            )
            yield Part(name, filename, form)
