"""Toolbox: files (protocol section 6.2). Contents are streamed both ways."""

import os
import re
import secrets
from collections.abc import AsyncGenerator, Awaitable
from contextlib import AsyncExitStack
from typing import TypeVar

from msgspec import UNSET
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Scope

from tidepool.engine import Download, Files
from tidepool.engine.errors import InvalidSpec, Refused, TidepoolError
from tidepool.server import translate
from tidepool.server.answers import StreamAnswer, json_answer, read_json, refusal
from tidepool.server.connection import ends_with_client
from tidepool.server.errors import status_of
from tidepool.server.multipart import PART_END, form_end, part_head, parts
from tidepool.server.routes import sandbox_of
from tidepool.toolbox import search
from tidepool.wire import files as wire
from tidepool.wire import paths

T = TypeVar("T")
_OCTAL = re.compile("0?[0-7]{1,4}")
_DEPTH = re.compile("[1-9][0-9]{0,2}")
_BINARY = "application/octet-stream"
_NOTHING: dict[str, str] = {}


async def list_files(request: Request) -> Response:
    """`GET /files`."""
    query = request.query_params
    depth = _matching(query.get("depth") or "1", _DEPTH, "depth must be a number from 1 to 999")
    found = await sandbox_of(request).files.list(query.get("path") or ".", int(depth))
    return json_answer([translate.file_body(info, with_path="depth" in query) for info in found])


async def info(request: Request) -> Response:
    """`GET /files/info`."""
    return json_answer(translate.file_body(await sandbox_of(request).files.info(_asked(request))))


async def make_folder(request: Request) -> Response:
    """`POST /files/folder`."""
    mode = _mode(request.query_params.get("mode") or "0755")
    await sandbox_of(request).files.make_folder(_asked(request), mode)
    return json_answer(_NOTHING, 201)


async def delete(request: Request) -> Response:
    """`DELETE /files`."""
    recursive = request.query_params.get("recursive", "false").lower() == "true"
    await sandbox_of(request).files.delete(_asked(request), recursive)
    return Response(status_code=204)


async def move(request: Request) -> Response:
    """`POST /files/move`."""
    source, destination = _asked(request, "source"), _asked(request, "destination")
    await sandbox_of(request).files.move(source, destination)
    return json_answer(_NOTHING)


async def permissions(request: Request) -> Response:
    """`POST /files/permissions`."""
    query = request.query_params
    mode = _mode(query["mode"]) if query.get("mode") else None
    owner, group = query.get("owner") or None, query.get("group") or None
    await sandbox_of(request).files.set_permissions(_asked(request), mode, owner, group)
    return json_answer(_NOTHING)


@ends_with_client
async def download(request: Request) -> Response:
    """`GET /files/download`: the bytes of one file."""
    held = AsyncExitStack()
    opened = await held.enter_async_context(sandbox_of(request).files.open_read(_asked(request)))
    return StreamAnswer(_content(opened), _BINARY, {"content-length": str(opened.size)}, held)


async def _content(opened: Download) -> AsyncGenerator[bytes, None]:
    async for chunk in opened.chunks():
        yield chunk


@ends_with_client
async def bulk_download(request: Request) -> Response:
    """`POST /files/bulk-download`: a multipart answer, one part a path, its name echoed as it was asked for."""
    asked = await read_json(request, wire.BulkDownload)
    boundary = f"DAYTONA-FILE-BOUNDARY-{secrets.token_hex(16)}"  # no content can contain it
    form = _form(sandbox_of(request).files, asked.paths, boundary, request.scope)
    return StreamAnswer(form, f"multipart/form-data; boundary={boundary}")


async def _form(files: Files, wanted: list[str], boundary: str, scope: Scope) -> AsyncGenerator[bytes, None]:
    for path in wanted:
        async with AsyncExitStack() as stack:
            try:
                opened = await stack.enter_async_context(files.open_read(path))
            except TidepoolError as error:
                status, code = status_of(error)
                body = bytes(refusal(scope, status, str(error), code).body)
                yield part_head("error", path, "application/json", len(body), boundary) + body + PART_END
                continue
            yield part_head("file", path, _BINARY, opened.size, boundary)
            async for chunk in opened.chunks():
                yield chunk
            yield PART_END
    yield form_end(boundary)


@ends_with_client
async def upload(request: Request) -> Response:
    """`POST /files/upload`: one file, from the part named `file`."""
    await _store_one(request)
    return json_answer(_NOTHING)


async def _store_one(request: Request) -> None:
    path, files = _asked(request), sandbox_of(request).files
    stored = 0
    async for part in parts(request):
        if part.name == "file":
            await files.write(path, part.chunks())
            stored += 1
    if stored != 1:
        raise HTTPException(400, f"the form must have one part named 'file'; it has {stored}")


@ends_with_client
async def upload_v2(request: Request) -> Response:
    """`POST /files/upload-v2`: as `/files/upload`, and the answer says where the file is."""
    await _store_one(request)
    path = _asked(request)
    return json_answer(wire.UploadedFile(os.path.basename(path), path))


@ends_with_client
async def find(request: Request) -> Response:
    """`GET /files/find`: lines that contain a text."""
    asked = sandbox_of(request), _asked(request), _asked(request, "pattern")
    found, is_whole = await in_time(search.find(*asked))
    return _bounded([wire.Match(*match) for match in found], is_whole)


@ends_with_client
async def search_names(request: Request) -> Response:
    """`GET /files/search`: names that fit a glob."""
    asked = sandbox_of(request), _asked(request), _asked(request, "pattern")
    found, is_whole = await in_time(search.search(*asked))
    return _bounded(wire.Found(found), is_whole)


@ends_with_client
async def replace(request: Request) -> Response:
    """`POST /files/replace`: each file's own success; a file that cannot be changed stops no other."""
    asked = await read_json(request, wire.Replace)
    done = await in_time(search.replace(sandbox_of(request), asked.files, asked.pattern, asked.new_value))
    return json_answer([wire.Replaced(path, not error, error or UNSET) for path, error in done])


async def in_time(work: Awaitable[T]) -> T:
    """What came of work inside; 408 when it took too long."""
    try:
        return await work
    except search.TookTooLong as error:
        raise HTTPException(408, str(error)) from None


def _bounded(found: object, is_whole: bool) -> Response:
    """An answer that says in a header when there was more."""
    answer = json_answer(found)
    if not is_whole:
        answer.headers["x-tidepool-truncated"] = "true"
    return answer


@ends_with_client
async def bulk_upload(request: Request) -> Response:
    """`POST /files/bulk-upload`: parts `files[i].path`, then `files[i].file`; all that can be written is written."""
    files = sandbox_of(request).files
    destinations: dict[str, str] = {}
    done: list[wire.Stored] = []
    failed: list[tuple[str, Refused]] = []
    async for part in parts(request):
        index, _, kind = part.name.partition("].")
        if kind == "path":
            path = await part.text()
            if destinations.setdefault(index, path) != path:
                failed.append((path, InvalidSpec("its content came before its path, under another name")))
        elif kind == "file":
            path = destinations.setdefault(index, part.filename)
            try:
                done.append(wire.Stored(path, await files.write(path, part.chunks())))
            except Refused as error:
                failed.append((path, error))
    return _upload_failed(request.scope, failed, done) if failed else json_answer(wire.Uploaded(files=done))


def _upload_failed(scope: Scope, failed: list[tuple[str, Refused]], done: list[wire.Stored]) -> Response:
    """400 with a sentence for each; the code is theirs when they share one."""
    sentences = [f"{path}: {error}" for path, error in failed]
    codes = {status_of(error)[1] for _, error in failed}
    code = codes.pop() if len(codes) == 1 else ""
    return refusal(scope, 400, "; ".join(sentences), code, errors=sentences, files=done)


def _asked(request: Request, name: str = "path") -> str:
    value = request.query_params.get(name)
    if not value:
        raise HTTPException(400, f"the query parameter {name!r} is missing")
    return value


def _mode(text: str) -> int:
    return int(_matching(text, _OCTAL, "mode must be octal digits such as 0755"), 8)


def _matching(text: str, pattern: re.Pattern[str], otherwise: str) -> str:
    if not pattern.fullmatch(text):
        raise HTTPException(400, f"{otherwise}; it is {text[:20]!r}")
    return text


routes = [
    Route(paths.FILES, list_files, methods=["GET"]),
    Route(paths.FILES, delete, methods=["DELETE"]),
    Route(paths.FILE_INFO, info, methods=["GET"]),
    Route(paths.FOLDER, make_folder, methods=["POST"]),
    Route(paths.MOVE, move, methods=["POST"]),
    Route(paths.PERMISSIONS, permissions, methods=["POST"]),
    Route(paths.DOWNLOAD, download, methods=["GET"]),
    Route(paths.UPLOAD, upload, methods=["POST"]),
    Route(paths.UPLOAD_V2, upload_v2, methods=["POST"]),
    Route(paths.FIND, find, methods=["GET"]),
    Route(paths.SEARCH, search_names, methods=["GET"]),
    Route(paths.REPLACE, replace, methods=["POST"]),
    Route(paths.BULK_DOWNLOAD, bulk_download, methods=["POST"]),
    Route(paths.BULK_UPLOAD, bulk_upload, methods=["POST"]),
]
