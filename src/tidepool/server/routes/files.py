"""Toolbox: files (protocol section 6.2). Contents are streamed both ways."""

import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import quote

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from tidepool.engine.errors import TidepoolError
from tidepool.engine.files import Download, Files
from tidepool.server import translate
from tidepool.server.answers import json_answer, read_json
from tidepool.server.errors import status_of
from tidepool.server.routes import sandbox_of
from tidepool.server.upload import Part, parts
from tidepool.wire import errors, paths
from tidepool.wire.files import BulkDownload

_OCTAL = "the mode must be octal digits such as 0755"


async def list_files(request: Request) -> Response:
    """`GET /files`."""
    depth = request.query_params.get("depth", "1")
    if not depth.isdigit() or len(depth) > 3:
        raise HTTPException(400, "depth must be a number of 1 or more")
    path = request.query_params.get("path") or "."
    found = await sandbox_of(request).files.list(path, int(depth))
    return json_answer(
        [translate.file_body(info, with_path="depth" in request.query_params) for info in found]
    )


async def info(request: Request) -> Response:
    """`GET /files/info`."""
    return json_answer(translate.file_body(await sandbox_of(request).files.info(_path(request))))


async def make_folder(request: Request) -> Response:
    """`POST /files/folder`."""
    mode = _mode(request.query_params.get("mode") or "0755")
    await sandbox_of(request).files.make_folder(_path(request), mode)
    return json_answer({}, 201)


async def delete(request: Request) -> Response:
    """`DELETE /files`."""
    recursive = request.query_params.get("recursive", "false").lower() == "true"
    await sandbox_of(request).files.delete(_path(request), recursive)
    return Response(status_code=204)


async def move(request: Request) -> Response:
    """`POST /files/move`."""
    source, destination = _path(request, "source"), _path(request, "destination")
    await sandbox_of(request).files.move(source, destination)
    return json_answer({})


async def permissions(request: Request) -> Response:
    """`POST /files/permissions`."""
    query = request.query_params
    mode = _mode(query["mode"]) if query.get("mode") else None
    owner, group = query.get("owner") or None, query.get("group") or None
    await sandbox_of(request).files.set_permissions(_path(request), mode, owner, group)
    return json_answer({})


async def download(request: Request) -> Response:
    """`GET /files/download`: the bytes of one file."""
    stack = AsyncExitStack()
    opened = await stack.enter_async_context(sandbox_of(request).files.open_read(_path(request)))

    async def body() -> AsyncIterator[bytes]:
        async with stack:
            async for chunk in opened.chunks():
                yield chunk

    headers = {"content-length": str(opened.size)}
    return StreamingResponse(body(), headers=headers, media_type="application/octet-stream")


async def bulk_download(request: Request) -> Response:
    """`POST /files/bulk-download`: a multipart answer, one part a path, its name echoed as it was asked for."""
    asked = await read_json(request, BulkDownload)
    files = sandbox_of(request).files
    boundary = f"DAYTONA-FILE-BOUNDARY-{secrets.token_hex(16)}"  # no content can contain it
    answer = StreamingResponse(_download_parts(files, asked.paths, boundary, request))
    answer.headers["content-type"] = f"multipart/form-data; boundary={boundary}"
    return answer


async def _download_parts(
    files: Files, wanted: list[str], boundary: str, request: Request
) -> AsyncIterator[bytes]:
    for path in wanted:
        async with AsyncExitStack() as stack:
            try:
                opened = await stack.enter_async_context(files.open_read(path))
            except TidepoolError as error:
                yield _error_part(path, error, boundary, request)
                continue
            yield _head("file", path, "application/octet-stream", opened.size, boundary)
            async for chunk in _whole(opened):
                yield chunk
            yield b"\r\n"
    yield f"--{boundary}--\r\n".encode()


async def _whole(opened: Download) -> AsyncIterator[bytes]:
    async for chunk in opened.chunks():
        yield chunk


def _error_part(path: str, error: TidepoolError, boundary: str, request: Request) -> bytes:
    status, code = status_of(error)
    body = msgspec.json.encode(
        errors.toolbox_body(status, str(error), request.url.path, "", code, request.method)
    )
    return _head("error", path, "application/json", len(body), boundary) + body + b"\r\n"


def _head(name: str, path: str, media: str, size: int, boundary: str) -> bytes:
    plain = path.replace("\\", "\\\\").replace('"', '\\"').replace("\r", " ").replace("\n", " ")
    return (
        f"--{boundary}\r\n"
        f'Content-Disposition: form-data; name="{name}"; filename="{plain}"; '
        f"filename*=utf-8''{quote(path, safe='')}\r\n"
        f"Content-Type: {media}\r\nContent-Length: {size}\r\n\r\n"
    ).encode("utf-8", "surrogateescape")


async def upload(request: Request) -> Response:
    """`POST /files/upload`: one file, from the part named `file`."""
    path = _path(request)
    files = sandbox_of(request).files
    async for part in parts(request):
        if part.name == "file":
            await files.write(path, part.chunks())
            return json_answer({})
    raise HTTPException(400, "the form has no part named 'file'")


async def bulk_upload(request: Request) -> Response:
    """`POST /files/bulk-upload`: parts `files[i].path` and `files[i].file`; all that can be written is written."""
    files = sandbox_of(request).files
    destinations: dict[str, str] = {}
    done: list[dict[str, Any]] = []
    failed: list[str] = []
    async for part in parts(request):
        index, _, kind = part.name.partition("].")
        if kind == "path":
            destinations[index] = (await part.text()).strip()
        elif kind == "file":
            await _store(files, destinations.get(index) or part.filename, part, done, failed)
    if failed:
        message = "; ".join(failed)
        body = errors.toolbox_body(
            400, message, request.url.path, "", errors.INVALID_FILE_PATH, request.method
        )
        return json_answer({**body, "errors": failed, "files": done}, 400)
    return json_answer({"files": done})


async def _store(files: Files, path: str, part: Part, done: list[dict[str, Any]], failed: list[str]) -> None:
    try:
        done.append({"path": path, "bytes": await files.write(path, part.chunks())})
    except TidepoolError as error:
        if status_of(error)[0] >= 500:
            raise
        failed.append(f"{path}: {error}")


def _path(request: Request, name: str = "path") -> str:
    value = request.query_params.get(name)
    if not value:
        raise HTTPException(400, f"the query parameter {name!r} is missing")
    return value


def _mode(text: str) -> int:
    try:
        mode = int(text, 8)
    except ValueError:
        raise HTTPException(400, f"mode is {text[:20]!r}: {_OCTAL}") from None
    if not 0 <= mode <= 0o7777:
        raise HTTPException(400, f"mode is {text[:20]!r}: {_OCTAL}")
    return mode


routes = [
    Route(paths.FILES, list_files, methods=["GET"]),
    Route(paths.FILES, delete, methods=["DELETE"]),
    Route(paths.FILE_INFO, info, methods=["GET"]),
    Route(paths.FOLDER, make_folder, methods=["POST"]),
    Route(paths.MOVE, move, methods=["POST"]),
    Route(paths.PERMISSIONS, permissions, methods=["POST"]),
    Route(paths.DOWNLOAD, download, methods=["GET"]),
    Route(paths.UPLOAD, upload, methods=["POST"]),
    Route(paths.BULK_DOWNLOAD, bulk_download, methods=["POST"]),
    Route(paths.BULK_UPLOAD, bulk_upload, methods=["POST"]),
]
