"""Forms in and out: whatever way the bytes are cut, a part is whole or the form is refused."""

import asyncio
import os
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from python_multipart.multipart import parse_options_header
from starlette.exceptions import HTTPException
from starlette.requests import Request

from tidepool.server.multipart import PART_END, form_end, part_head, parts

BOUNDARY = "b0undary"
Found = list[tuple[str, str, bytes]]


def form(*given: tuple[str, str | None, bytes], boundary: str = BOUNDARY) -> bytes:
    """A form as clients send it: name, file name or None, content."""
    text = b""
    for name, filename, content in given:
        text += f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"'.encode()
        text += f'; filename="{filename}"'.encode() if filename is not None else b""
        text += b"\r\n\r\n" + content + b"\r\n"
    return text + f"--{boundary}--\r\n".encode()


def request(
    body: bytes, cut: int, content_type: str = f"multipart/form-data; boundary={BOUNDARY}"
) -> Request:
    """A request whose body comes in pieces of `cut` bytes."""
    pieces = [body[i : i + cut] for i in range(0, len(body), cut)] or [b""]

    async def receive() -> dict[str, Any]:
        piece = pieces.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

    headers = [(b"content-type", content_type.encode())] if content_type else []
    return Request({"type": "http", "method": "POST", "headers": headers}, receive)


def read(asked: Request) -> Found:
    async def collect() -> Found:
        return [
            (part.name, part.filename, b"".join([chunk async for chunk in part.chunks()]))
            async for part in parts(asked)
        ]

    return asyncio.run(collect())


@pytest.mark.parametrize("cut", [1, 2, 7, 64, 1 << 20])
def test_parts_come_out_as_they_went_in(cut: int) -> None:
    tricky = b"\r\n--b0undar\r\n\r\n-\r--b0undary" + bytes(range(256))
    body = form(
        ("files[0].path", None, b"a/b.txt"), ("files[0].file", "a/b.txt", tricky), ("empty", "e", b"")
    )
    assert read(request(body, cut)) == [
        ("files[0].path", "", b"a/b.txt"),
        ("files[0].file", "a/b.txt", tricky),
        ("empty", "e", b""),
    ]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=400), max_size=4), st.integers(1, 50))
def test_any_content_in_any_pieces(contents: list[bytes], cut: int) -> None:
    boundary = os.urandom(16).hex()
    body = form(*((f"f{i}", "x", content) for i, content in enumerate(contents)), boundary=boundary)
    asked = request(body, cut, f'multipart/form-data; boundary="{boundary}"')
    assert [content for _, _, content in read(asked)] == contents


def test_an_empty_form_has_no_parts() -> None:
    assert read(request(form(), 3)) == []


def test_a_form_cut_anywhere_is_refused() -> None:
    body = form(("files[0].file", "a", b"content\r\nof a file"))
    for length in range(len(body) - len("--\r\n")):
        with pytest.raises(HTTPException, match=r"cut short|malformed") as caught:
            read(request(body[:length], 5))
        assert caught.value.status_code == 400, length


@pytest.mark.parametrize(
    "content_type",
    ["", "application/json", "multipart/form-data", "multipart/form-data; boundary=" + "x" * 400, "\xff\xfe"],
)
def test_what_is_no_form_is_refused(content_type: str) -> None:
    with pytest.raises(HTTPException) as caught:
        read(request(form(), 64, content_type))
    assert caught.value.status_code == 400


@pytest.mark.parametrize(
    "body",
    [
        b"no form at all",
        b"--b0undary\r\nBad Header\r\n\r\nx\r\n--b0undary--\r\n",
        b"--b0undary\r\nA: " + b"x" * 40000 + b"\r\n\r\nx\r\n--b0undary--\r\n",
        b"--b0undary\r\n" + b"A: b\r\n" * 500 + b"\r\nx\r\n--b0undary--\r\n",
        b'--b0undary\r\nContent-Disposition: form-data; name="\xff"\r\n\r\nx\r\n--b0undary--\r\n',
    ],
)
def test_a_malformed_form_is_refused(body: bytes) -> None:
    with pytest.raises(HTTPException) as caught:
        read(request(body, 64))
    assert caught.value.status_code == 400


@pytest.mark.parametrize(("content", "why"), [(b"x" * 70000, "too long"), (b"\xff", "not UTF-8")])
def test_a_field_that_is_no_text_is_refused(content: bytes, why: str) -> None:
    async def texts() -> list[str]:
        return [await part.text() async for part in parts(request(form(("a", None, content)), 4096))]

    with pytest.raises(HTTPException, match=why):
        asyncio.run(texts())


def newest(header: str) -> str:
    """How the newest official client reads a file name back."""
    return unquote(header.partition("filename*=utf-8''")[2], errors="strict")


def between(header: str) -> str:
    """How clients read it that do not know `filename*`: backslashes are always undone."""
    return parse_options_header(header.encode())[1][b"filename"].decode()


def oldest(header: str) -> str:
    """How 0.110.1 reads it: backslashes are undone only where there is an escaped quote."""
    quoted = header.partition('; filename="')[2].rpartition('"; filename*=')[0]
    if '\\"' in quoted:
        return quoted.replace("\\\\", "\\").replace('\\"', '"')
    return quoted.replace("%0D", "\r").replace("%0A", "\n").replace("%22", '"')


def disposition(path: str) -> str:
    """The one header that names the path, without its name."""
    head = part_head("file", path, "text/plain", 5, BOUNDARY).decode()
    assert head.startswith(f"--{BOUNDARY}\r\n")
    assert head.endswith("Content-Length: 5\r\n\r\n")
    names = [line.partition(":")[0] for line in head.split("\r\n")[1:-2]]
    assert names == ["Content-Disposition", "Content-Type", "Content-Length"]
    return head.split("\r\n")[1].partition(": ")[2]


@pytest.mark.parametrize("reader", [newest, between, oldest])
@pytest.mark.parametrize(
    "path", ["a.txt", "../x/../y", "a;b=c", 'q"uo', "back\\slash", 'b\\"oth', "50%.txt", "'", "/", " a "]
)
def test_clients_read_the_path_back_exactly(path: str, reader: Callable[[str], str]) -> None:
    assert reader(disposition(path)) == path


@pytest.mark.parametrize(
    "path", ["ü n.txt", "a\\", "a\\\\b", "\\\\", "a\r\nX-Evil: 1", "\n", "%0A", "\U0001f30a"]
)
def test_no_path_can_end_its_header(path: str) -> None:
    assert newest(disposition(path)) == path


def test_what_is_written_can_be_read() -> None:
    written = part_head("file", "a b", "text/plain", 3, BOUNDARY) + b"abc" + PART_END
    written += (
        part_head("error", "c", "application/json", 2, BOUNDARY) + b"{}" + PART_END + form_end(BOUNDARY)
    )
    assert read(request(written, 10)) == [("file", "a b", b"abc"), ("error", "c", b"{}")]
