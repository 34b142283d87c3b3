"""The first words of TLS: which server a client asks for (RFC 8446 section 4.1.2, RFC 6066 section 3).

Pure, bounded and strict: a hello is either read whole, in the one way every server reads it, or refused. What can be
read in two ways is not passed on.
"""

from dataclasses import dataclass

MAX_HELLO_BYTES = 16 << 10
"""Of the message; those with post-quantum keys have about two thousand."""
MAX_BYTES = MAX_HELLO_BYTES + 4 + 5 * 64
"""Of the records it comes in: nobody needs more than 64."""
_HANDSHAKE, _CLIENT_HELLO = 22, 1
_SERVER_NAME, _ECH = 0, 0xFE0D
ACCESS_DENIED = b"\x15\x03\x03\x00\x02\x02\x31"
"""The alert that ends a handshake: fatal, access_denied."""


class BadHello(ValueError):
    """The bytes are no ClientHello that every server would read alike."""


@dataclass(frozen=True)
class Hello:
    """What of a ClientHello decides where it may go."""

    server_name: str | None
    """As sent; None when there is none."""
    is_encrypted: bool
    """Whether a second, hidden ClientHello may be inside (ECH)."""


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        piece = self._data[self._at : self._at + count]
        if len(piece) != count:
            raise BadHello("the hello breaks off")
        self._at += count
        return piece

    def number(self, width: int) -> int:
        return int.from_bytes(self.take(width), "big")

    def vector(self, width: int) -> "_Reader":
        return _Reader(self.take(self.number(width)))

    def rest(self) -> int:
        return len(self._data) - self._at


def parse_hello(data: bytes) -> Hello | None:
    """The hello that a connection's first bytes hold; None while there are too few of them.

    Raises:
        BadHello: They cannot become one.
    """
    message = _message(data)
    if message is None:
        if len(data) >= MAX_BYTES:
            raise BadHello("the hello is too long or in too many pieces")
        return None
    return _client_hello(message)


def _message(data: bytes) -> bytes | None:
    """The handshake message, put together from its records; None while it is not complete."""
    message, at, records = b"", 0, 0
    while True:
        header = data[at : at + 5]
        if header[:1] not in (b"", b"\x16") or header[1:2] not in (b"", b"\x03") or records == 64:
            raise BadHello("it does not begin with a TLS handshake")
        if len(header) < 5:
            return None
        size = int.from_bytes(header[3:], "big")
        if not 0 < size <= 1 << 14:
            raise BadHello("a record's length is out of range")
        message += data[at + 5 : at + 5 + size]
        wanted = _wanted(message)
        if wanted is not None and len(message) > wanted:
            raise BadHello("something follows the hello in its record")
        if len(data) < at + 5 + size:
            return None
        if len(message) == wanted:
            return message
        at, records = at + 5 + size, records + 1


def _wanted(message: bytes) -> int | None:
    """How long the message is to become; None while its own header is not there."""
    if message[:1] not in (b"", b"\x01"):
        raise BadHello("it is not a ClientHello")
    if len(message) < 4:
        return None
    size = int.from_bytes(message[1:4], "big")
    if size > MAX_HELLO_BYTES:
        raise BadHello("the hello is too long")
    return 4 + size


def _client_hello(message: bytes) -> Hello:
    reader = _Reader(message[4:])
    if reader.take(1) != b"\x03":
        raise BadHello("the version is none of TLS")
    reader.take(1 + 32)
    if reader.vector(1).rest() > 32:
        raise BadHello("the session id is too long")
    suites, compressions = reader.vector(2), reader.vector(1)
    if suites.rest() < 2 or suites.rest() % 2 or compressions.rest() < 1:
        raise BadHello("a list of the hello is malformed")
    found = _extensions(reader.vector(2)) if reader.rest() else {}
    if reader.rest():
        raise BadHello("something follows the extensions")
    name = _server_name(found[_SERVER_NAME]) if _SERVER_NAME in found else None
    return Hello(name, _ECH in found)


def _extensions(reader: _Reader) -> dict[int, _Reader]:
    found: dict[int, _Reader] = {}
    while reader.rest():
        kind, body = reader.number(2), reader.vector(2)
        if kind in found:
            raise BadHello("an extension is there twice")
        found[kind] = body
    return found


def _server_name(reader: _Reader) -> str:
    names = reader.vector(2)
    kind, name = names.number(1), names.vector(2)
    if kind or names.rest() or reader.rest():
        raise BadHello("there is more than one server name")
    raw = name.take(name.rest())
    # A space or NUL ends a name for one reader and not for another.
    if not raw or not all(0x21 <= byte <= 0x7E for byte in raw):
        raise BadHello("the server name is not a name")
    return raw.decode("ascii")
