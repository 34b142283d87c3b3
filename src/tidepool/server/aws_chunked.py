"""The content encoding `aws-chunked`, without signatures of its own: each chunk has its size in hex before it. Pure.

What follows the last chunk (a trailer with a checksum) is left out: the request's content is bounded by who reads it.
"""

import re
from enum import Enum, auto

_SIZE = re.compile(rb"([0-9a-fA-F]{1,8})(?:;[^\r\n]*)?\Z")
_MAX_LINE = 256


class BadChunks(ValueError):
    """The body is not in this encoding, or is cut short."""


class _Part(Enum):
    SIZE = auto()
    DATA = auto()
    LINE_END = auto()
    TRAILER = auto()


class Decoder:
    """Fed a body piece by piece."""

    def __init__(self) -> None:
        self._buffer = b""
        self._at = 0
        """How much of the buffer is done with: cutting it off for each chunk would copy all the rest each time."""
        self._left = 0
        self._part = _Part.SIZE
        self._steps = {_Part.SIZE: self._size, _Part.DATA: self._data, _Part.LINE_END: self._line_end}

    def feed(self, piece: bytes) -> list[bytes]:
        """The content that this piece completes.

        Raises:
            BadChunks: It is not in this encoding.
        """
        self._buffer, self._at = self._buffer[self._at :] + piece, 0
        found: list[bytes] = []
        while self._part is not _Part.TRAILER:
            data = self._steps[self._part]()
            if data is None:
                return found
            found += [data] if data else []
        self._buffer, self._at = b"", 0
        return found

    def end(self) -> None:
        """The body is over.

        Raises:
            BadChunks: Its last chunk has not come.
        """
        if self._part is not _Part.TRAILER:
            raise BadChunks("the body ends before its last chunk")

    def _size(self) -> bytes | None:
        end = self._buffer.find(b"\r\n", self._at, self._at + _MAX_LINE + 2)
        if end < 0 and len(self._buffer) - self._at <= _MAX_LINE:
            return None
        found = _SIZE.match(self._buffer, self._at, max(end, self._at))
        if found is None:
            raise BadChunks("the body is not aws-chunked")
        self._left, self._at = int(found[1], 16), end + 2
        self._part = _Part.DATA if self._left else _Part.TRAILER
        return b""

    def _data(self) -> bytes | None:
        data = self._buffer[self._at : self._at + self._left]
        self._at += len(data)
        self._left -= len(data)
        if not self._left:
            self._part = _Part.LINE_END
        return data or None

    def _line_end(self) -> bytes | None:
        if len(self._buffer) - self._at < 2:
            return None
        if not self._buffer.startswith(b"\r\n", self._at):
            raise BadChunks("a chunk is not followed by a line end")
        self._at += 2
        self._part = _Part.SIZE
        return b""
