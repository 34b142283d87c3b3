"""What a hostile program inside tries against the proxy: each attempt, and what it must get instead."""

import base64
import json
import socket
import time
import zlib

import pytest

from tidepool.egress.indexes import HostIndexes, Index

HOST = b"Host: 127.0.0.1\r\n"
LAST = b"Connection: close\r\n\r\n"


def _line(text: bytes) -> bytes:
    return text + b"\r\n" + HOST + LAST


ATTACKS = {
    # name: (bytes sent, status that must come back)
    "POST": (_line(b"POST /simple/tp-alpha/ HTTP/1.1"), 405),
    "PUT": (_line(b"PUT /simple/tp-alpha/ HTTP/1.1"), 405),
    "DELETE": (_line(b"DELETE /simple/tp-alpha/ HTTP/1.1"), 405),
    "OPTIONS": (_line(b"OPTIONS * HTTP/1.1"), 403),
    "TRACE": (_line(b"TRACE / HTTP/1.1"), 405),
    "CONNECT": (b"CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: 127.0.0.1:22\r\n\r\n", 403),
    "unknown method": (_line(b"PROPFIND / HTTP/1.1"), 405),
    "method in small letters": (_line(b"get /simple/tp-alpha/ HTTP/1.1"), 405),
    "absolute form": (_line(b"GET http://169.254.169.254/latest/meta-data HTTP/1.1"), 403),
    "absolute form of ourselves": (_line(b"GET http://127.0.0.1/simple/tp-alpha/ HTTP/1.1"), 403),
    "absolute form, https": (_line(b"GET https://example.com/ HTTP/1.1"), 403),
    "asterisk form": (_line(b"GET * HTTP/1.1"), 403),
    "authority form": (_line(b"GET example.com:443 HTTP/1.1"), 403),
    "scheme-relative": (_line(b"GET //example.com/simple/tp-alpha/ HTTP/1.1"), 400),
    "userinfo in the path": (_line(b"GET /simple/user:pass@example.com/ HTTP/1.1"), 404),
    "another host": (b"GET /simple/tp-alpha/ HTTP/1.1\r\nHost: example.com\r\n" + LAST, 421),
    "userinfo in the host": (
        b"GET /simple/tp-alpha/ HTTP/1.1\r\nHost: 127.0.0.1@example.com\r\n" + LAST,
        421,
    ),
    "host and suffix": (b"GET /simple/tp-alpha/ HTTP/1.1\r\nHost: 127.0.0.1.example.com\r\n" + LAST, 421),
    "empty host": (b"GET /simple/tp-alpha/ HTTP/1.1\r\nHost:\r\n" + LAST, 421),
    "no host": (b"GET /simple/tp-alpha/ HTTP/1.1\r\n" + LAST, 400),
    "two hosts": (b"GET /simple/tp-alpha/ HTTP/1.1\r\n" + HOST + HOST + LAST, 400),
    "dot segments": (_line(b"GET /simple/../files/0/tp-alpha/x HTTP/1.1"), 400),
    "encoded dot segments": (_line(b"GET /simple/%2e%2e/tp-alpha HTTP/1.1"), 400),
    "dots in a file name": (_line(b"GET /files/0/tp-alpha/..%2f..%2fetc%2fpasswd HTTP/1.1"), 400),
    "encoded slash": (_line(b"GET /simple/tp-alpha%2f..%2ftp-beta/ HTTP/1.1"), 400),
    "encoded backslash": (_line(b"GET /files/0/tp-alpha/..%5c..%5cx HTTP/1.1"), 404),
    "twice encoded": (_line(b"GET /files/0/tp-alpha/%252e%252e HTTP/1.1"), 404),
    "encoded NUL": (_line(b"GET /simple/tp-alpha%00/ HTTP/1.1"), 400),
    "encoded CRLF": (_line(b"GET /simple/tp-alpha%0d%0aX:1/ HTTP/1.1"), 400),
    "overlong UTF-8": (_line(b"GET /simple/%c0%ae%c0%ae/ HTTP/1.1"), 404),
    "broken escape": (_line(b"GET /simple/tp-alpha%zz/ HTTP/1.1"), 400),
    "query": (_line(b"GET /simple/tp-alpha/?url=http://example.com HTTP/1.1"), 400),
    "fragment": (_line(b"GET /simple/tp-alpha/#x HTTP/1.1"), 400),
    "space in the target": (_line(b"GET /simple/tp alpha/ HTTP/1.1"), 400),
    "bare CR in a header": (b"GET /simple/tp-alpha/ HTTP/1.1\r\nHost: 127.0.0.1\rX: y\r\n" + LAST, 400),
    "obsolete folding": (b"GET /simple/tp-alpha/ HTTP/1.1\r\n folded: x\r\n" + HOST + LAST, 400),
    "space before a colon": (b"GET /simple/tp-alpha/ HTTP/1.1\r\nHost : 127.0.0.1\r\n" + LAST, 400),
    "unlisted file": (_line(b"GET /files/0/tp-alpha/secret-1.0.whl HTTP/1.1"), 404),
    "file of another project": (_line(b"GET /files/0/tp-alpha/tp_beta-1.0-py3-none-any.whl HTTP/1.1"), 404),
    "index that is not there": (_line(b"GET /files/7/tp-alpha/tp_alpha-1.0-py3-none-any.whl HTTP/1.1"), 404),
    "negative index": (_line(b"GET /files/-1/tp-alpha/tp_alpha-1.0-py3-none-any.whl HTTP/1.1"), 404),
    "the whole list": (_line(b"GET /simple/ HTTP/1.1"), 404),
    "a body with its length": (
        b"GET /simple/tp-alpha/ HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\n\r\nabc",
        400,
    ),
    "a chunked body": (
        b"GET /simple/tp-alpha/ HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "both kinds of length": (
        b"GET /simple/tp-alpha/ HTTP/1.1\r\n"
        + HOST
        + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "two lengths": (
        b"GET / HTTP/1.1\r\n" + HOST + b"Content-Length: 0\r\nContent-Length: 5\r\n\r\nhello",
        400,
    ),
    "huge header": (
        b"GET /simple/tp-alpha/ HTTP/1.1\r\n" + HOST + b"X: " + b"x" * 70_000 + b"\r\n" + LAST,
        431,
    ),
    "many headers": (b"GET /simple/tp-alpha/ HTTP/1.1\r\n" + HOST + b"a: b\r\n" * 9000 + LAST, 431),
    "long path": (_line(b"GET /simple/" + b"a" * 4000 + b"/ HTTP/1.1"), 400),
    "no HTTP at all": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    "SOCKS5": (b"\x05\x01\x00\r\n\r\n", 400),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "HTTP/2 by name": (_line(b"GET /simple/tp-alpha/ HTTP/2.0"), 505),
    "HTTP/0.9": (b"GET /simple/tp-alpha/\r\n\r\n", 400),
}


@pytest.fixture
def kept(index, stored):
    """A file that the index has and does not list."""
    index.paths["/files/secret-1.0.whl"] = stored(b"SECRET FILE", "application/octet-stream")
    return index


@pytest.mark.parametrize("name", ATTACKS)
def test_refused_with_a_sentence_and_nothing_goes_out(name, shared_sandbox, shared_index, parse):
    request, expected = ATTACKS[name]
    before = len(shared_index.seen)
    answer = shared_sandbox.raw(request)
    status, headers, body = parse(answer)
    assert status == expected
    assert headers["content-type"] == "text/plain; charset=utf-8"
    assert body.endswith(b".\n")
    assert answer.count(b"HTTP/1.1 ") == 1, "one request, one answer"
    asked = [path for _, path, _ in shared_index.seen[before:]]
    assert set(asked) <= {"/simple/tp-alpha/"}, "at most the page that says what is listed"


def test_the_unlisted_file_is_there_for_those_outside(kept, sandbox):
    with socket.create_connection(("127.0.0.1", kept.port)) as direct:
        direct.sendall(b"GET /files/secret-1.0.whl HTTP/1.0\r\n\r\n")
        assert b"SECRET FILE" in direct.makefile("rb").read()
    assert b"SECRET" not in sandbox.get("/files/0/tp-alpha/secret-1.0.whl")[2]


def test_pipelined_requests_are_each_judged(sandbox, index):
    good = b"GET /simple/tp-alpha/ HTTP/1.1\r\n" + HOST + b"\r\n"
    bad = b"GET /files/0/tp-alpha/other.whl HTTP/1.1\r\n" + HOST + b"\r\n"
    answer = sandbox.raw(good + bad + good + b"GET http://example.com/ HTTP/1.1\r\n" + HOST + LAST)
    statuses = [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [200, 404, 200, 403]


def test_what_follows_a_malformed_request_is_never_a_request(sandbox, index):
    smuggled = b"GET /simple/tp-beta/ HTTP/1.1\r\n" + HOST + b"\r\n"
    length = str(len(smuggled)).encode()
    answer = sandbox.raw(
        b"GET /simple/tp-alpha/ HTTP/1.1\r\n" + HOST + b"Content-Length: " + length + b"\r\n\r\n" + smuggled
    )
    assert answer.count(b"HTTP/1.1 ") == 1
    assert index.seen == []


LINKS = {
    "another port of the same host": "http://127.0.0.1:{canary}/secret.whl",
    "the same with https": "https://127.0.0.1:{canary}/secret.whl",
    "loopback by name": "https://localhost/secret.whl",
    "loopback, IPv6": "https://[::1]/secret.whl",
    "loopback, mapped": "https://[::ffff:127.0.0.1]/secret.whl",
    "loopback, decimal": "https://2130706433/secret.whl",
    "loopback, hexadecimal": "https://0x7f000001/secret.whl",
    "loopback, octal": "https://0177.0.0.1/secret.whl",
    "loopback, short": "https://127.1/secret.whl",
    "everything": "https://0.0.0.0/secret.whl",
    "metadata service": "https://169.254.169.254/secret.whl",
    "private": "https://10.0.0.1/secret.whl",
    "carrier": "https://100.100.100.200/secret.whl",
    "platform service": "https://168.63.129.16/secret.whl",
    "plain http": "http://example.com/secret.whl",
    "NAT64": "https://[64:ff9b::7f00:1]/secret.whl",
}


@pytest.mark.parametrize("name", LINKS)
@pytest.mark.parametrize("how", ["link", "redirect"])
def test_an_index_cannot_lead_into_the_private_network(
    name, how, shared_sandbox, shared_index, canary, stored
):
    place = LINKS[name].format(canary=canary.getsockname()[1])
    # A project of its own each time: pages are kept for a while.
    project = f"trap-{how}-{list(LINKS).index(name)}"
    if how == "redirect":
        shared_index.paths[f"/r/{project}/secret.whl"] = stored(status=302, headers={"Location": place})
        place = f"http://127.0.0.1:{shared_index.port}/r/{project}/secret.whl"
    shared_index.page(project, f'<a href="{place}">secret.whl</a>')
    status, _, body = shared_sandbox.get(f"/files/0/{project}/secret.whl")
    assert status == 403, body
    assert b"secret" not in body
    with pytest.raises(BlockingIOError):
        canary.accept()


@pytest.mark.parametrize(
    "place", ["file:///etc/secret.whl", "https://user:pass@127.0.0.1/secret.whl", "gopher://x/secret.whl"]
)
def test_a_link_that_is_no_plain_web_address_is_listed_and_never_followed(place, sandbox, index):
    index.page("odd", f'<a href="{place}">x</a>')
    assert place.encode() not in sandbox.get("/simple/odd/")[2]
    assert sandbox.get("/files/0/odd/secret.whl")[0] == 403


def test_a_page_may_not_redirect_into_the_private_network_either(sandbox, index, canary):
    page = index.paths["/simple/tp-alpha/"]
    page.status, page.headers = (
        302,
        {"Location": f"http://127.0.0.1:{canary.getsockname()[1]}/simple/tp-alpha/"},
    )
    assert sandbox.get("/simple/tp-alpha/")[0] == 403
    with pytest.raises(BlockingIOError):
        canary.accept()


def test_redirects_inside_the_index_are_followed_and_not_shown(sandbox, index, stored):
    real = index.paths["/simple/tp-alpha/"]
    index.paths["/moved/"] = real
    index.paths["/simple/tp-alpha/"] = stored(status=301, headers={"Location": "/moved/"})
    status, headers, _ = sandbox.get("/simple/tp-alpha/")
    assert (status, "location" in headers) == (200, False)
    index.paths["/simple/tp-beta/"] = stored(status=301, headers={"Location": "/simple/tp-beta/"})
    assert sandbox.get("/simple/tp-beta/")[0] == 502, "a circle ends"


def test_credentials_go_to_the_index_and_never_to_a_client_or_log(start_egress, open_sandbox, index):
    secret = "hunter2-token"
    encoded = base64.b64encode(f"user:{secret}".encode()).decode()
    index.authorization = f"Basic {encoded}"
    egress = start_egress(Index(url=index.url, authorization=index.authorization))
    sandbox = open_sandbox(egress)
    paths = [
        "/simple/tp-alpha/",
        "/files/0/tp-alpha/tp_alpha-1.0-py3-none-any.whl",
        "/simple/unknown/",
        "/x",
        "/npm/x",
    ]
    answers = [sandbox.raw(_line(f"GET {path} HTTP/1.1".encode())) for path in paths]
    assert answers[1].startswith(b"HTTP/1.1 200"), "control: the credentials were needed and used"
    seen = b"".join(answers) + egress.log_path.read_bytes() + json.dumps(egress.ask({"op": "stats"})).encode()
    for place in ("cmdline", "environ"):
        with open(f"/proc/{egress.process.pid}/{place}", "rb") as file:
            seen += file.read()
    assert secret.encode() not in seen
    assert encoded.encode() not in seen
    assert secret not in repr(HostIndexes(python=(Index(url=index.url, authorization=secret),)))


def test_what_the_client_calls_credentials_stays_with_the_client(sandbox, index):
    sandbox.get("/simple/tp-alpha/", Authorization="Basic Zm9v", Cookie="a=b", X_Forwarded_For="10.0.0.1")
    (headers,) = index.asked("/simple/tp-alpha/")
    assert {name.lower() for name in headers} == {"host", "user-agent", "accept", "accept-encoding"}


def test_an_answer_that_breaks_off_is_not_taken_for_whole(sandbox, index, egress):
    index.paths["/files/tp_alpha-1.0-py3-none-any.whl"].headers = {
        "Content-Length": "1000000",
        "Connection": "close",
    }
    with sandbox.connect() as sock:
        sock.sendall(_line(b"GET /files/0/tp-alpha/tp_alpha-1.0-py3-none-any.whl HTTP/1.1"))
        data = sock.makefile("rb").read()
    head, _, body = data.partition(b"\r\n\r\n")
    assert b"content-length: 1000000" in head
    assert len(body) < 1_000_000
    assert egress.records()[-1]["verdict"] == "failed"


def test_a_page_that_unpacks_to_too_much_is_refused(sandbox, index):
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join(packer.compress(b" " * (1 << 20)) for _ in range(64)) + packer.flush()
    page = index.paths["/simple/tp-alpha/"]
    page.body, page.headers = bomb, {"Content-Encoding": "gzip"}
    status, _, body = sandbox.get("/simple/tp-alpha/")
    assert (status, body) == (502, b"The package index sent a page that is too large.\n")


@pytest.mark.parametrize("kind", ["application/octet-stream", "application/vnd.pypi.simple.v1+json"])
def test_a_page_that_is_none_is_refused(kind, sandbox, index):
    page = index.paths["/simple/tp-alpha/"]
    page.kind, page.body = kind, b'{"files": [{"filename": 1}]}'
    assert sandbox.get("/simple/tp-alpha/")[0] == 502


def test_one_sandbox_that_holds_all_its_connections_stops_nobody_else(egress, open_sandbox):
    greedy, other = open_sandbox(egress, "greedy"), open_sandbox(egress, "other")
    held = [greedy.connect() for _ in range(64)]
    late = greedy.connect()  # into the queue of the listening socket
    late.settimeout(0.3)
    late.sendall(_line(b"GET /simple/tp-alpha/ HTTP/1.1"))
    with pytest.raises(TimeoutError):
        late.recv(1)
    assert other.get("/simple/tp-alpha/")[0] == 200
    held.pop().close()
    late.settimeout(10)
    assert late.recv(65536).startswith(b"HTTP/1.1 200"), "its turn comes when one of its own is closed"
    for sock in [*held, late]:
        sock.close()


@pytest.mark.thorough
def test_a_client_that_reads_nothing_costs_the_index_and_the_proxy_little(egress, sandbox, index):
    whole = b"x" * (64 << 20)
    index.paths["/files/tp_alpha-1.0-py3-none-any.whl"].body = whole
    with sandbox.connect() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.sendall(_line(b"GET /files/0/tp-alpha/tp_alpha-1.0-py3-none-any.whl HTTP/1.1"))
        time.sleep(0.5)
        resident = _resident_bytes(egress.process.pid)
        assert sandbox.get("/simple/tp-beta/")[0] == 200, "others go on"
    assert resident < 128 << 20
    deadline = time.monotonic() + 10
    while not any(record["verdict"] == "dropped" for record in egress.records()):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _resident_bytes(pid: int) -> int:
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * 4096
