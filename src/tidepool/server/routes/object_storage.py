"""Uploads of build contexts: credentials for them, and as much of S3 as the clients speak (protocol section 5.4).

Requests below `/object-storage/s3` are signed, not sent with an API key: the tenant comes out of the session token once
the signature has been verified. Answers are S3's XML; everything is streamed to disk and bounded.
"""

import asyncio
import contextlib
import hashlib
import re
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import formatdate
from pathlib import Path
from typing import IO
from xml.sax.saxutils import escape

from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from tidepool.engine.errors import AccessDenied, InvalidSpec, NotFound
from tidepool.server import objects as model
from tidepool.server import sigv4, translate
from tidepool.server.answers import json_answer
from tidepool.server.aws_chunked import BadChunks, Decoder
from tidepool.server.routes import tenant_of, toolbox_url
from tidepool.wire import paths
from tidepool.wire import snapshots as wire

_XMLNS = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
_PART = re.compile(rb"<Part>(.{1,2000}?)</Part>", re.DOTALL)
_NUMBER = re.compile(rb"<PartNumber>\s*([0-9]{1,5})\s*</PartNumber>")
_HASH = re.compile(r"[0-9a-f]{64}\Z")
_UNSIGNED = ("UNSIGNED-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER")
_MAX_COMPLETE = 1 << 20


class Refusal(Exception):
    """S3's way to say no.

    Args:
        status: Of HTTP.
        code: S3's.
        message: A sentence.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


@dataclass(frozen=True)
class Call:
    """A request whose signature was verified."""

    request: Request
    objects: model.Objects
    tenant: str
    md5: str
    """Empty: the bucket itself is meant."""

    @property
    def query(self) -> dict[str, str]:
        """Of the URL; of a name that comes twice the last."""
        return dict(self.request.query_params)


async def push_access(request: Request) -> Response:
    """`GET /object-storage/push-access`: credentials for an hour."""
    objects: model.Objects = request.app.state.objects
    its = objects.credentials(tenant_of(request))
    answer = wire.StorageAccess(
        access_key=its.access_key,
        secret=its.secret,
        session_token=its.token,
        storage_url=toolbox_url(request).removesuffix(paths.TOOLBOX) + paths.STORAGE,
        organization_id=translate.ORGANIZATION,
        bucket=model.BUCKET,
        region=model.REGION,
    )
    return json_answer(answer)


async def serve(request: Request) -> Response:
    """Everything below `/object-storage/s3`."""
    try:
        call = _verified(request)
        return await _operation(call)(call)
    except Refusal as error:
        return _error(request, error.status, error.code, str(error))
    except AccessDenied as error:
        return _error(request, 403, "AccessDenied", str(error))
    except NotFound as error:
        is_upload = "uploadId" in request.query_params
        return _error(request, 404, "NoSuchUpload" if is_upload else "NoSuchKey", str(error))
    except InvalidSpec as error:
        return _error(request, 400, "InvalidRequest", str(error))


def _verified(request: Request) -> Call:
    objects: model.Objects = request.app.state.objects
    try:
        signed = sigv4.parse(request.headers.get("authorization", ""))
        tenant, its = objects.holder(request.headers.get("x-amz-security-token", ""), signed.access_key)
        scope = request.scope
        sent = sigv4.Request(
            request.method,
            scope.get("raw_path") or scope["path"].encode(),
            scope["query_string"],
            {name: ", ".join(request.headers.getlist(name)) for name in request.headers},
        )
        sigv4.verify(sent, signed, its.secret, datetime.now(UTC))
    except sigv4.BadSignature as error:
        raise Refusal(403, "SignatureDoesNotMatch", str(error)) from None
    if request.path_params["bucket"] != model.BUCKET:
        raise Refusal(404, "NoSuchBucket", f"the only bucket is {model.BUCKET}")
    key = request.path_params.get("key", "")
    return Call(request, objects, tenant, model.md5_of(key, translate.ORGANIZATION) if key else "")


def _operation(call: Call) -> Callable[[Call], Awaitable[Response]]:
    method, query = call.request.method, call.query
    if not call.md5:
        table = {"GET": list_objects}
    elif "uploadId" in query:
        table = {"PUT": put_part, "POST": complete_upload, "DELETE": abort_upload}
    elif "uploads" in query:
        table = {"POST": begin_upload}
    else:
        table = {"HEAD": get_object, "GET": get_object, "PUT": put_object}
    if method not in table:
        raise Refusal(405, "MethodNotAllowed", f"{method} is not supported here")
    return table[method]


async def get_object(call: Call) -> Response:
    """`GET` and `HEAD` of a key."""
    stored, path = call.objects.find(call.tenant, call.md5)
    headers = {
        "etag": f'"{stored.etag}"',
        "last-modified": formatdate(stored.modified_at, usegmt=True),
        "accept-ranges": "bytes",
        "content-length": str(stored.size),
    }
    if call.request.method == "HEAD":
        return Response(headers=headers, media_type="application/x-tar")
    return FileResponse(path, headers=headers, media_type="application/x-tar")


async def put_object(call: Call) -> Response:
    """`PUT` of a key."""
    part = call.objects.part(call.tenant)
    etag = await _receive(call.request, part, model.MAX_BYTES)
    await asyncio.to_thread(call.objects.keep, call.tenant, call.md5, [part])
    return Response(headers={"etag": f'"{etag}"'})


async def list_objects(call: Call) -> Response:
    """`GET` of the bucket: ListObjectsV2, always on one page."""
    prefix = call.query.get("prefix", "")
    found = [
        (f"{translate.ORGANIZATION}/{one.md5}/context.tar", one) for one in call.objects.list(call.tenant)
    ]
    entries = [(key, one) for key, one in found if key.startswith(prefix)]
    body = "".join(
        f"<Contents><Key>{escape(key)}</Key><LastModified>{_iso(one.modified_at)}</LastModified>"
        f"<ETag>&quot;{one.etag}&quot;</ETag><Size>{one.size}</Size><StorageClass>STANDARD</StorageClass></Contents>"
        for key, one in entries
    )
    head = f"<Name>{model.BUCKET}</Name><Prefix>{escape(prefix)}</Prefix><KeyCount>{len(entries)}</KeyCount>"
    rest = "<MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated>"
    return _xml(f"<ListBucketResult {_XMLNS}>{head}{rest}{body}</ListBucketResult>")


async def begin_upload(call: Call) -> Response:
    """`POST ?uploads`."""
    number = call.objects.begin_upload(call.tenant, call.md5)
    key = f"{translate.ORGANIZATION}/{call.md5}/context.tar"
    return _xml(
        f"<InitiateMultipartUploadResult {_XMLNS}><Bucket>{model.BUCKET}</Bucket><Key>{key}</Key>"
        f"<UploadId>{number}</UploadId></InitiateMultipartUploadResult>"
    )


async def put_part(call: Call) -> Response:
    """`PUT ?partNumber&uploadId`."""
    place = call.objects.upload(call.tenant, call.query["uploadId"], call.md5)
    number = call.query.get("partNumber", "")
    if not (number.isascii() and number.isdecimal() and 1 <= int(number) <= model.MAX_PARTS):
        raise Refusal(400, "InvalidArgument", f"partNumber must be 1 to {model.MAX_PARTS}")
    there = sum(one.stat().st_size for one in place.glob("*.data"))
    fresh = call.objects.part(call.tenant)
    etag = await _receive(call.request, fresh, model.MAX_BYTES - there)
    fresh.rename(place / f"{int(number)}.data")
    return Response(headers={"etag": f'"{etag}"'})


async def complete_upload(call: Call) -> Response:
    """`POST ?uploadId`: the parts that the body names, in its order."""
    place = call.objects.upload(call.tenant, call.query["uploadId"], call.md5)
    body = b""
    async for piece in _pieces(call.request):
        body += piece
        if len(body) > _MAX_COMPLETE:
            raise Refusal(400, "MalformedXML", "the list of parts is too long")
    found = [_NUMBER.search(part[1]) for part in _PART.finditer(body)]
    numbers = [int(one[1]) for one in found if one is not None]
    parts = [place / f"{number}.data" for number in numbers]
    if not parts or len(numbers) != len(found) or numbers != sorted(set(numbers)):
        raise Refusal(400, "MalformedXML", "the body must name the parts in ascending order")
    if not all(part.is_file() for part in parts):
        raise Refusal(400, "InvalidPart", "a part that is named was not uploaded")
    stored = await asyncio.to_thread(call.objects.keep, call.tenant, call.md5, parts)
    await asyncio.to_thread(shutil.rmtree, place)
    key = f"{translate.ORGANIZATION}/{call.md5}/context.tar"
    return _xml(
        f"<CompleteMultipartUploadResult {_XMLNS}><Bucket>{model.BUCKET}</Bucket><Key>{key}</Key>"
        f"<ETag>&quot;{stored.etag}&quot;</ETag></CompleteMultipartUploadResult>"
    )


async def abort_upload(call: Call) -> Response:
    """`DELETE ?uploadId`."""
    place = call.objects.upload(call.tenant, call.query["uploadId"], call.md5)
    await asyncio.to_thread(shutil.rmtree, place)
    return Response(status_code=204)


async def _receive(request: Request, target: Path, limit: int) -> str:
    """Write a body to a file; its MD5, which is S3's ETag. The file is gone when anything is wrong."""
    digest = hashlib.md5(usedforsecurity=False)
    size = 0
    with _whole(target) as file:
        async for piece in _pieces(request):
            size += len(piece)
            if size > limit:
                raise Refusal(400, "EntityTooLarge", f"a context may have at most {model.MAX_BYTES} bytes")
            digest.update(piece)
            file.write(piece)
    return digest.hexdigest()


@contextlib.contextmanager
def _whole(target: Path) -> Iterator[IO[bytes]]:
    try:
        with target.open("xb") as file:
            yield file
    except BaseException:
        target.unlink(missing_ok=True)
        raise


async def _pieces(request: Request) -> AsyncIterator[bytes]:
    """The body, once it has ended known to be what was signed."""
    announced = request.headers.get("x-amz-content-sha256", "")
    source: AsyncIterator[bytes] = request.stream()
    if announced == "STREAMING-UNSIGNED-PAYLOAD-TRAILER":
        source = _unchunked(source)
    elif announced not in _UNSIGNED and not _HASH.match(announced):
        raise Refusal(
            501,
            "NotImplemented",
            "chunks with signatures of their own are not supported; sign the payload as a whole",
        )
    digest = hashlib.sha256()
    try:
        async for piece in source:
            digest.update(piece)
            yield piece
    except ClientDisconnect:
        raise Refusal(400, "IncompleteBody", "the connection was lost") from None
    if announced not in _UNSIGNED and digest.hexdigest() != announced:
        raise Refusal(400, "XAmzContentSHA256Mismatch", "the body is not what was signed")


async def _unchunked(source: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    decoder = Decoder()
    try:
        async for piece in source:
            for data in decoder.feed(piece):
                yield data
        decoder.end()
    except BadChunks as error:
        raise Refusal(400, "IncompleteBody", str(error)) from None


def _error(request: Request, status: int, code: str, message: str) -> Response:
    if request.method == "HEAD":
        return Response(status_code=status)
    body = f"<Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>"
    return _xml(body, status)


def _xml(body: str, status: int = 200) -> Response:
    return Response(f'<?xml version="1.0" encoding="UTF-8"?>{body}', status, media_type="application/xml")


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


_METHODS = ["HEAD", "GET", "PUT", "POST", "DELETE"]
control_routes = [Route(paths.PUSH_ACCESS, push_access, methods=["GET"])]
storage_routes = [
    Route(f"{paths.STORAGE}/{{bucket}}", serve, methods=_METHODS),
    Route(f"{paths.STORAGE}/{{bucket}}/{{key:path}}", serve, methods=_METHODS),
]
