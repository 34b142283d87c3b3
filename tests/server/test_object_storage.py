"""Uploads of build contexts over real connections: signed by hand as S3 clients sign, and with a real client."""

import hashlib
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.conftest import Server
from tests.server.client import Answer, Api
from tests.server.tenants import KEYS, TwoTenants
from tidepool.server import sigv4
from tidepool.server.aws_chunked import BadChunks, Decoder
from tidepool.server.objects import MAX_UPLOADS

EMPTY = hashlib.sha256(b"").hexdigest()


class Store:
    """An S3 client that can also do everything wrong."""

    def __init__(self, api: Api) -> None:
        answer = api.call("GET", "/object-storage/push-access")
        assert answer.status == 200, answer.body
        self.access: dict[str, Any] = answer.json
        self._api = api
        self.prefix = urlsplit(self.access["storageUrl"]).path

    def key(self, md5: str = "0" * 32) -> str:
        """Of a context."""
        return f"{self.access['organizationId']}/{md5}/context.tar"

    def send(
        self,
        method: str,
        key: str = "",
        body: bytes = b"",
        query: str = "",
        payload: str = "",
        **changed: Any,
    ) -> Answer:
        """A signed request; `changed` replaces what is sent, not what is signed, but for `now`."""
        path = f"{self.prefix}/{self.access['bucket']}" + (f"/{key}" if key else "")
        now = datetime.now(UTC) + changed.pop("now", timedelta())  # read now: collecting may be long ago
        headers = {
            "host": urlsplit(self.access["storageUrl"]).netloc,
            "x-amz-content-sha256": payload or hashlib.sha256(body).hexdigest(),
            "x-amz-date": now.strftime("%Y%m%dT%H%M%SZ"),
            "x-amz-security-token": self.access["sessionToken"],
        }
        names = tuple(sorted(headers))
        signed = sigv4.Signed(
            self.access["accessKey"], now.strftime("%Y%m%d"), self.access["region"], names, ""
        )
        request = sigv4.Request(method, path.encode(), query.encode(), headers)
        signature = sigv4.signature(request, signed, changed.pop("secret", self.access["secret"]))
        headers["authorization"] = (
            f"{sigv4.ALGORITHM} Credential={signed.access_key}/{signed.date}/{signed.region}/s3/aws4_request, "
            f"SignedHeaders={';'.join(names)}, Signature={signature}"
        )
        headers |= changed.pop("headers", {})
        path = changed.pop("path", path)
        return self._api.send(
            method, f"{path}?{query}" if query else path, changed.pop("sent", body), headers
        )


@pytest.fixture
def store(api: Api) -> Store:
    return Store(api)


def test_the_signature_is_that_of_the_published_example() -> None:
    headers = {
        "host": "examplebucket.s3.amazonaws.com",
        "range": "bytes=0-9",
        "x-amz-content-sha256": EMPTY,
        "x-amz-date": "20130524T000000Z",
    }
    request = sigv4.Request("GET", b"/test.txt", b"", headers)
    signed = sigv4.Signed("AKIAIOSFODNN7EXAMPLE", "20130524", "us-east-1", tuple(headers), "")
    expected = "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
    assert sigv4.signature(request, signed, "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY") == expected


def test_an_object_is_put_found_and_read(store: Store) -> None:
    key, data = store.key("a" * 32), os.urandom(300_000)
    assert store.send("HEAD", key).status == 404
    put = store.send("PUT", key, data)
    assert (put.status, put.headers["etag"]) == (200, f'"{hashlib.md5(data).hexdigest()}"')
    head = store.send("HEAD", key)
    assert (head.status, head.headers["content-length"], head.body) == (200, "300000", b"")
    assert store.send("GET", key).body == data
    listed = store.send("GET", query="list-type=2&prefix=" + key.replace("/", "%2F"))
    assert re.findall(rb"<Key>(.*?)</Key>.*?<Size>(.*?)</Size>", listed.body) == [(key.encode(), b"300000")]
    assert store.send("GET", query="list-type=2&prefix=other").body.count(b"<Contents>") == 0


def test_a_multipart_upload(store: Store) -> None:
    key, parts = store.key("b" * 32), [os.urandom(100_000), os.urandom(50_000), b"last"]
    begun = store.send("POST", key, query="uploads=")
    number = re.findall(rb"<UploadId>(.*?)</UploadId>", begun.body)[0].decode()
    for at, part in reversed(list(enumerate(parts, 1))):
        assert store.send("PUT", key, part, query=f"partNumber={at}&uploadId={number}").status == 200
    assert store.send("HEAD", key).status == 404
    ends = "".join(f"<Part><ETag>x</ETag><PartNumber>{at}</PartNumber></Part>" for at in (1, 2, 3))
    body = f"<CompleteMultipartUpload>{ends}</CompleteMultipartUpload>".encode()
    done = store.send("POST", key, body, query=f"uploadId={number}")
    assert done.status == 200, done.body
    assert store.send("GET", key).body == b"".join(parts)
    assert store.send("POST", key, body, query=f"uploadId={number}").status == 404


def test_a_multipart_upload_that_is_given_up_or_wrong(store: Store) -> None:
    key = store.key("c" * 32)
    begun = store.send("POST", key, query="uploads=")
    number = re.findall(rb"<UploadId>(.*?)</UploadId>", begun.body)[0].decode()
    for part in ("0", "1001", "x", ""):
        assert store.send("PUT", key, b"x", query=f"partNumber={part}&uploadId={number}").status == 400
    assert store.send("PUT", store.key("d" * 32), b"x", query=f"partNumber=1&uploadId={number}").status == 404
    for body in (b"", b"<Part><PartNumber>2</PartNumber></Part>", b"<Part></Part>", b"x" * (2 << 20)):
        assert store.send("POST", key, body, query=f"uploadId={number}").status == 400
    assert store.send("DELETE", key, query=f"uploadId={number}").status == 204
    for name in (number, "..", "../" + number, "0" * 32):
        assert store.send("PUT", key, b"x", query=f"partNumber=1&uploadId={name}").status == 404


def test_of_uploads_that_are_never_completed_the_oldest_make_room(store: Store) -> None:
    begun = [store.send("POST", store.key("7" * 32), query="uploads=") for _ in range(MAX_UPLOADS + 1)]
    numbers = [re.findall(rb"<UploadId>(.*?)</UploadId>", one.body)[0].decode() for one in begun]
    there = [store.send("DELETE", store.key("7" * 32), query=f"uploadId={one}").status for one in numbers]
    assert there.count(404) == 1
    assert there.count(204) == MAX_UPLOADS


@pytest.mark.parametrize(
    "changed",
    [
        {"secret": "wrong"},
        {"now": timedelta(minutes=-20)},
        {"now": timedelta(minutes=20)},
        {"headers": {"authorization": "Bearer x"}},
        {"headers": {"x-amz-security-token": ""}},
        {"headers": {"x-amz-security-token": "WyJhIiw5OTk5OTk5OTk5LCIiXQ.AAAA"}},
        {"headers": {"x-amz-date": "yesterday"}},
        {"headers": {"x-amz-content-sha256": "UNSIGNED-PAYLOAD"}},
    ],
    ids=lambda changed: str(changed)[:40],
)
def test_what_is_not_signed_as_it_must_be_is_refused(store: Store, changed: dict[str, Any]) -> None:
    answer = store.send("PUT", store.key(), b"x", **changed)
    assert answer.status == 403
    assert b"<Error><Code>" in answer.body
    assert store.send("HEAD", store.key()).status == 404


def test_a_signature_is_for_one_path_and_query(store: Store) -> None:
    path = f"{store.prefix}/{store.access['bucket']}/{store.key('e' * 32)}"
    assert store.send("PUT", store.key(), b"x", path=path).status == 403
    assert store.send("PUT", store.key(), b"x", path=path + "?uploads").status == 403


def test_an_api_key_opens_nothing_here(api: Api, store: Store) -> None:
    path = f"{store.prefix}/{store.access['bucket']}/{store.key()}"
    answer = api.send("GET", path, None, {"Authorization": f"Bearer {api.key}"})
    assert answer.status == 403


def test_a_body_that_is_not_what_was_signed_is_not_kept(store: Store) -> None:
    assert store.send("PUT", store.key(), b"signed", sent=b"other!").status == 400
    assert store.send("HEAD", store.key()).status == 404


@pytest.mark.parametrize(
    "key",
    [
        "x",
        "{org}/x/context.tar",
        "{org}/{md5}/other",
        "other/{md5}/context.tar",
        "{org}/{md5}/../context.tar",
    ],
)
def test_keys_are_confined(store: Store, key: str) -> None:
    name = key.format(org=store.access["organizationId"], md5="0" * 32)
    assert store.send("PUT", name, b"x").status == 403


def test_other_buckets_and_methods_are_refused(store: Store) -> None:
    assert store.send("DELETE", store.key()).status == 405
    assert store.send("PUT").status == 405
    store.access["bucket"] = "other"
    assert store.send("GET").status == 404


def test_chunks_without_signatures_are_taken_and_others_refused(store: Store) -> None:
    key = store.key("f" * 32)
    body = b"4\r\nabcd\r\n3;x=y\r\nefg\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n"
    assert store.send("PUT", key, body, payload="STREAMING-UNSIGNED-PAYLOAD-TRAILER").status == 200
    assert store.send("GET", key).body == b"abcdefg"
    signed = store.send("PUT", key, body, payload="STREAMING-AWS4-HMAC-SHA256-PAYLOAD")
    assert (signed.status, b"sign the payload as a whole" in signed.body) == (501, True)
    cut = store.send("PUT", store.key("9" * 32), b"4\r\nab", payload="STREAMING-UNSIGNED-PAYLOAD-TRAILER")
    assert cut.status == 400


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_chunks_in_any_pieces(size: int) -> None:
    body, decoder = b"4\r\nabcd\r\na\r\n0123456789\r\n0\r\n\r\n", Decoder()
    found = [data for at in range(0, len(body), size) for data in decoder.feed(body[at : at + size])]
    decoder.end()
    assert b"".join(found) == b"abcd0123456789"


@pytest.mark.parametrize("body", [b"x\r\n", b"-1\r\n", b"1\r\nabc", b"0" * 300, b"2\r\nab\r\n"])
def test_chunks_that_are_none(body: bytes) -> None:
    def decode() -> None:
        decoder = Decoder()
        decoder.feed(body)
        decoder.end()

    with pytest.raises(BadChunks):
        decode()


@pytest.fixture
def others(two: TwoTenants) -> Iterator[tuple[Store, Store]]:
    apis = [Api(two.url, key) for key in KEYS]
    yield Store(apis[0]), Store(apis[1])
    for api in apis:
        api.close()


def test_tenants_see_nothing_of_each_other(others: tuple[Store, Store]) -> None:
    mine, theirs = others
    assert mine.send("PUT", mine.key("1" * 32), b"mine").status == 200
    assert theirs.send("HEAD", theirs.key("1" * 32)).status == 404
    assert theirs.send("GET").body.count(b"<Contents>") == 0
    theirs.access["sessionToken"] = mine.access["sessionToken"]
    assert theirs.send("GET").status == 403


def test_the_client_that_the_official_one_uses(server: Server, store: Store) -> None:
    obstore = pytest.importorskip(
        "obstore", reason="the S3 client of the official Python client is not installed"
    )
    s3 = pytest.importorskip("obstore.store")
    client = s3.S3Store(
        bucket=store.access["bucket"],
        endpoint=store.access["storageUrl"],
        region=store.access["region"],
        access_key_id=store.access["accessKey"],
        secret_access_key=store.access["secret"],
        session_token=store.access["sessionToken"],
        client_options={"allow_http": True},
    )
    key, data = store.key("8" * 32), os.urandom(11 << 20)
    with pytest.raises(FileNotFoundError):
        client.head(key)
    obstore.put(client, key, data, use_multipart=True, chunk_size=5 << 20, max_concurrency=4)
    assert client.head(key)["size"] == len(data)
    assert bytes(obstore.get(client, key).bytes()) == data
    assert key in [one["path"] for page in obstore.list(client) for one in page]
