"""Invariant: any bytes give a hello, None or BadHello; a hello gives the same name however it is cut into packets."""

import random
import ssl
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidepool.egress.hello import MAX_BYTES, BadHello, Hello, parse_hello


def real(name: str | None = "example.org", **more: object) -> bytes:
    """What this machine's own TLS says first."""
    context = ssl.create_default_context()
    context.check_hostname = False
    for key, value in more.items():
        getattr(context, key)(value)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    machine = context.wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        machine.do_handshake()
    return outgoing.read()


def build(
    *extensions: tuple[int, bytes], tail: bytes = b"", suites: bytes = b"\x13\x01", sid: bytes = b""
) -> bytes:
    """A hello made by hand."""
    joined = b"".join(struct.pack("!HH", kind, len(body)) + body for kind, body in extensions)
    body = (
        b"\x03\x03"
        + bytes(32)
        + bytes([len(sid)])
        + sid
        + struct.pack("!H", len(suites))
        + suites
        + b"\x01\x00"
    )
    return handshake(body + struct.pack("!H", len(joined)) + joined + tail)


def handshake(body: bytes, kind: int = 1) -> bytes:
    message = bytes([kind]) + len(body).to_bytes(3, "big") + body
    return record(message)


def record(message: bytes) -> bytes:
    return b"\x16\x03\x01" + struct.pack("!H", len(message)) + message


def named(*names: bytes, kind: int = 0) -> tuple[int, bytes]:
    joined = b"".join(bytes([kind]) + struct.pack("!H", len(name)) + name for name in names)
    return 0, struct.pack("!H", len(joined)) + joined


def test_a_real_hello_is_read_and_so_is_one_without_a_name() -> None:
    assert parse_hello(real()) == Hello("example.org", False)
    assert parse_hello(real(None)) == Hello(None, False)
    assert parse_hello(real(set_alpn_protocols=["h2", "http/1.1"])) == Hello("example.org", False)


@given(st.lists(st.integers(1, 600), max_size=12), st.lists(st.integers(1, 120), max_size=8))
def test_it_does_not_matter_how_it_is_cut(packets: list[int], records: list[int]) -> None:
    whole = build(named(b"example.org"), (51, bytes(400)))
    message, cut = whole[5:], b""
    for size in records:
        cut, message = cut + (record(message[:size]) if message[:size] else b""), message[size:]
    cut += record(message) if message else b""
    at = 0
    for size in packets:
        at += size
        if at < len(cut):
            assert parse_hello(cut[:at]) is None
    assert parse_hello(cut) == Hello("example.org", False)
    assert parse_hello(cut + b"\x14\x03\x03\x00\x01\x01") == Hello("example.org", False), (
        "what follows is not its"
    )


def test_an_encrypted_hello_is_seen() -> None:
    assert parse_hello(build(named(b"public.example"), (0xFE0D, bytes(60)))) == Hello("public.example", True)


BAD = {
    "plain HTTP": b"GET / HTTP/1.1\r\n\r\n",
    "SSH": b"SSH-2.0-x\r\n",
    "an alert": b"\x15\x03\x01\x00\x02\x01\x00",
    "application data": b"\x17\x03\x03\x00\x01\x00",
    "SSL 2": b"\x80\x2e\x01\x00\x02",
    "an empty record": b"\x16\x03\x01\x00\x00",
    "a record that is too long": b"\x16\x03\x01\x40\x01",
    "version 2": b"\x16\x02\x01\x00\x05",
    "a ServerHello": handshake(bytes(40), kind=2),
    "a message that is too long": record(b"\x01\x01\x00\x00" + bytes(8)),
    "two names": build(named(b"a.org", b"b.org")),
    "the extension twice": build(named(b"a.org"), named(b"b.org")),
    "another kind of name": build(named(b"a.org", kind=1)),
    "an empty name": build(named(b"")),
    "an empty list": build((0, b"\0\0")),
    "an empty extension": build((0, b"")),
    "a NUL in the name": build(named(b"a.org\0.b.org")),
    "a space in the name": build(named(b"a.org ")),
    "not ASCII": build(named("ä.org".encode())),
    "bytes after the list": build((0, named(b"a.org")[1] + b"x")),
    "bytes after the extensions": build(named(b"a.org"), tail=b"x"),
    "bytes after the message": record(build(named(b"a.org"))[5:] + b"x"),
    "an extension that breaks off": handshake(b"\x03\x03" + bytes(32) + b"\0\0\2\x13\1\1\0\0\4\0\0\0\x09"),
    "an odd list of suites": build(suites=b"\x13\x01\x02"),
    "no suites": build(suites=b""),
    "a long session id": build(sid=bytes(33)),
    "nothing in it": handshake(b""),
}


@pytest.mark.parametrize("name", BAD)
def test_what_servers_could_read_differently_is_refused(name: str) -> None:
    with pytest.raises(BadHello):
        parse_hello(BAD[name])


def test_it_is_bounded() -> None:
    one = record(b"\x01")
    with pytest.raises(BadHello):
        parse_hello(one + record(b"\0") * 200)
    drip = b"\x16\x03\x01\x00\x01\x01" + b"\x16\x03\x01\x00\x01\x00" * 70
    with pytest.raises(BadHello):
        parse_hello(drip)


@given(
    st.binary(max_size=300)
    | st.binary(max_size=300).map(lambda data: b"\x16\x03\x01" + data)
    | st.binary(max_size=200).map(handshake)
)
@settings(max_examples=300)
def test_any_bytes_have_an_answer(data: bytes) -> None:
    try:
        found = parse_hello(data)
    except BadHello:
        return
    assert found is None or isinstance(found, Hello)


def test_a_real_hello_with_a_few_bytes_changed_has_an_answer_and_never_another_name_by_accident() -> None:
    chance = random.Random(7)
    whole = real()
    at = whole.index(b"example.org")
    for _ in range(3000):
        data = bytearray(whole)
        spots = {chance.randrange(len(data)) for _ in range(chance.randrange(1, 4))}
        for spot in spots:
            data[spot] = chance.randrange(256)
        try:
            found = parse_hello(bytes(data))
        except BadHello:
            continue
        if found is not None and found.server_name not in ("example.org", None):
            assert any(at - 9 <= spot < at + 11 for spot in spots)
    assert parse_hello(bytes(MAX_BYTES)[:0]) is None
