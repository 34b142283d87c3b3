"""Invariant: forms, chunks, signatures, previews' headers and names from a client end in a value or in the one error
that is answered with 4xx; no header that goes on holds a line end; work grows with the length only.
"""

import asyncio
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.exceptions import HTTPException
from starlette.requests import Request

from tests.fuzz.fuzzing import examples, near, near_text, nothing_but
from tidepool.server import multipart, preview, signing, sigv4
from tidepool.server.aws_chunked import BadChunks, Decoder
from tidepool.wire import pty

FORM = (
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\ncontent\r\n'
    b"--b\r\nContent-Disposition: form-data; name=path\r\nX: y\r\n\r\n/a/b\r\n--b--\r\n"
)
TYPES = (
    "multipart/form-data; boundary=b",
    'multipart/form-data; boundary="b"',
    "multipart/form-data",
    "text/plain;b",
)


@examples(150)
@given(near(FORM), near_text(*TYPES), st.integers(1, 300))
def test_a_form(body: bytes, kind: str, cut: int) -> None:
    pieces = [body[at : at + cut] for at in range(0, len(body), cut)] or [b""]

    async def receive() -> dict[str, object]:
        piece = pieces.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

    headers = [(b"content-type", kind.encode("utf-8", "surrogateescape"))]
    asked = Request({"type": "http", "method": "POST", "headers": headers}, receive)

    async def read() -> int:
        return sum([len(chunk) async for part in multipart.parts(asked) async for chunk in part.chunks()])

    refused: list[int] = []

    def whole() -> int:
        try:
            return asyncio.run(read())
        except HTTPException as refusal:
            refused.append(refusal.status_code)
            return 0

    assert whole() <= len(body)
    assert refused in ([], [400])


@examples(150)
@given(
    near(b"5\r\nhello\r\n0\r\n\r\n", b"5;chunk-signature=x\r\nhello\r\n0\r\nx-amz-checksum:y\r\n\r\n"),
    st.integers(1, 99),
)
def test_chunks(body: bytes, cut: int) -> None:
    def read() -> bytes:
        decoder, found = Decoder(), b""
        for at in range(0, len(body), cut):
            found += b"".join(decoder.feed(body[at : at + cut]))
            assert len(decoder._buffer) <= len(body)
        decoder.end()
        return found

    found = nothing_but(BadChunks, read)
    assert found is None or len(found) < len(body)


def test_many_small_chunks_take_linear_time() -> None:
    def seconds(count: int) -> float:
        body, started = b"1\r\nx\r\n" * count + b"0\r\n\r\n", time.process_time()
        assert b"".join(Decoder().feed(body)) == b"x" * count
        return time.process_time() - started

    assert seconds(160_000) < 3


@examples(150)
@given(
    near_text(
        f"{sigv4.ALGORITHM} Credential=k/20260101/r/s3/aws4_request, "
        "SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=" + "0" * 64
    ),
    near_text("20260101T000000Z", "20269999T999999Z"),
    near(b"/a/b?x=y"),
)
def test_signatures(header: str, stamp: str, target: bytes) -> None:
    path, _, query = target.partition(b"?")
    request = sigv4.Request("PUT", path, query, {"x-amz-date": stamp, "host": "h"})

    def check() -> None:
        sigv4.verify(request, sigv4.parse(header), "secret", datetime.now(UTC))
        raise AssertionError("a signature was guessed")

    with pytest.raises(sigv4.BadSignature):
        check()


@examples(100)
@given(
    st.dictionaries(st.sampled_from(["expires", "path", "signature"]), near_text("0", "/a", "v1_x", "9" * 12))
)
def test_signed_addresses_are_not_guessed(query: dict[str, str]) -> None:
    assert not signing.is_signed("key", "GET", query, 1e9)
    assert not signing.is_same(signing.port_token("key", 80), query.get("signature", ""))


FIELDS = st.lists(
    st.tuples(
        st.sampled_from(
            [b"host", b"cookie", b"set-cookie", b"location", b"connection", b"origin", b"x-forwarded-for"]
        )
        | near(b"authorization").map(lambda name: name.lower().replace(b"\r", b"").replace(b"\n", b"")),
        near(
            b"a=b; c=d", b"http://localhost:80/x", b"//evil.test/", b"x=y; Path=/; Domain=a", b"close, host"
        ).map(
            lambda value: value.replace(b"\r", b"").replace(b"\n", b"")  # the HTTP reader lets none through
        ),
    ),
    max_size=6,
)


@examples(150)
@given(near(b"/preview/abc/80/x", b"/proxy/abc/3000"), near_text("80-abc.example.test", "x:1"), FIELDS)
def test_previews(path: bytes, host: str, fields: list[tuple[bytes, bytes]]) -> None:
    target = preview.target_of(path, host, "example.test") or preview.Target("ref", 80, b"/", "/p/ref/80")
    inside = preview.headers_in(target, fields, "http", keep_key=False)
    outside = preview.headers_out(target, 200, fields)
    for name, value in (*inside, *outside):
        assert not set(b"\r\n") & set(name + value)
    assert not any(name == b"authorization" for name, _ in inside)
    assert not any(preview.COOKIE.encode() + b"=" in value for name, value in inside if name == b"cookie")
    if target.prefix:
        for name, value in outside:
            if name == b"set-cookie":
                assert b"domain" not in value.lower().partition(b";")[2]
    preview.cookie_of({"cookie": host})
    preview.without_token(path)


@examples(100)
@given(st.lists(near_text(pty.ENVS + "eyJBIjoiYiJ9", pty.ENVS + "e30", "x"), max_size=3))
def test_variables_of_a_terminal(names: list[str]) -> None:
    found = nothing_but(ValueError, lambda: pty.envs_of(names))
    assert found is None or all(isinstance(text, str) for pair in found.items() for text in pair)
