"""Frames of a streamed run: one byte kind, four bytes big-endian length, payload. Pure; no I/O.

The order of bytes is the only state: feeding them in other portions gives the same frames.
"""

CLOSING, STDOUT, STDERR = 0, 1, 2
STREAMS = {STDOUT: "stdout", STDERR: "stderr"}
MAX_PAYLOAD = 64 << 20
"""Bytes; a longer announcement is a broken stream, not a reason to take that much memory."""
_HEAD = 5


class FrameDecoder:
    """Bytes in, whole frames out."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Add received bytes and take every frame that is now whole.

        Raises:
            ValueError: The bytes are not frames; the message says where.
        """
        self._buffer += data
        frames = []
        while (frame := self._next()) is not None:
            frames.append(frame)
        return frames

    def _next(self) -> tuple[int, bytes] | None:
        if len(self._buffer) < _HEAD:
            return None
        kind, length = self._buffer[0], int.from_bytes(self._buffer[1:_HEAD], "big")
        if kind not in (CLOSING, STDOUT, STDERR):
            raise ValueError(f"a frame of the output stream has kind {kind}; known are 0, 1 and 2")
        if length > MAX_PAYLOAD:
            raise ValueError(
                f"a frame of the output stream announces {length} bytes; at most {MAX_PAYLOAD} may come"
            )
        if len(self._buffer) < _HEAD + length:
            return None
        payload = bytes(self._buffer[_HEAD : _HEAD + length])
        del self._buffer[: _HEAD + length]
        return kind, payload
