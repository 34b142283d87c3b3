"""The forward proxy, from inside a network namespace to real servers: what each policy lets through, and what it stops.

Every refusal has its control: the same bytes under a policy that allows them reach the server.
"""

import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.egress.origin import Authority, Origin, free_address

pytestmark = pytest.mark.thorough

ALLOWED, OTHER, PRIVATE = "allowed.test", "other.test", "private.test"


@dataclass
class Outside:
    """Two hosts on one address each, with a plain and a TLS server, a private one, and the proxy between."""

    egress: Any
    authority: Authority
    plain: Origin
    secure: Origin
    other_secure: Origin
    private: Origin


@pytest.fixture
def outside(start_egress: Callable[..., Any], tmp_path: Path) -> Iterator[Outside]:
    authority = Authority(tmp_path)
    here, there, hidden = free_address(), free_address(), free_address()
    plain = Origin(here, 80, "plain")
    secure = Origin(here, 443, "secure", authority.context(ALLOWED))
    other = Origin(there, 443, "other", authority.context(OTHER))
    private = Origin(hidden, 80, "private")
    options: list[str] = []
    for address in (here, there):
        options += ["--open", f"{address}/32"]
    for name, address in ((ALLOWED, here), (OTHER, there), (PRIVATE, hidden), ("x." + ALLOWED, here)):
        options += ["--host", f"{name}={address}"]
    options += ["--host", f"mixed.test={here}", "--host", f"mixed.test={hidden}"]
    egress = start_egress(options=tuple(options), environment={"SSL_CERT_FILE": str(authority.path)})
    yield Outside(egress, authority, plain, secure, other, private)
    for origin in (plain, secure, other, private):
        origin.close()


@pytest.fixture
def box(outside: Outside, open_sandbox: Callable[..., Any]) -> Any:
    return open_sandbox(outside.egress, policy="allow", allow=[ALLOWED])


def get(url: str, host: str | None = None, more: bytes = b"") -> bytes:
    named = host or url.split("/")[2]
    return f"GET {url} HTTP/1.1\r\nHost: {named}\r\nConnection: close\r\n".encode() + more + b"\r\n"


def connect(box: Any, authority: str) -> tuple[socket.socket, bytes]:
    sock = box.connect()
    sock.sendall(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode())
    head = b""
    while b"\r\n\r\n" not in head and (piece := sock.recv(1)):
        head += piece
    return sock, head


def asked(box: Any, authority: str) -> bytes:
    """What CONNECT is answered with."""
    sock, head = connect(box, authority)
    sock.close()
    return head


def tls(sock: socket.socket, ca: Path | str, name: str | None, cadata: str | None = None) -> ssl.SSLSocket:
    context = ssl.create_default_context(cadata=cadata) if cadata else ssl.create_default_context(cafile=ca)
    if name is None:
        context.check_hostname = False
    return context.wrap_socket(sock, server_hostname=name)


def ended(sock: socket.socket) -> bool:
    """Whether the other side has closed, in whatever way; a second of silence means that it has not."""
    sock.settimeout(1)
    try:
        while sock.recv(65536):
            continue
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


def taken(sock: socket.socket) -> int:
    """How many bytes the other side takes until it pauses for half a second, at most 256 MiB."""
    sock.settimeout(0.5)
    count = 0
    while count < 256 << 20:
        try:
            count += sock.send(bytes(1 << 20))
        except TimeoutError:
            break
    return count


def secure_get(box: Any, outside: Outside, authority: str, sni: str | None) -> bytes:
    """One request through CONNECT; what the server said, or b"" when it was never reached."""
    sock, head = connect(box, authority)
    with sock:
        if b" 200 " not in head:
            return b""
        try:
            with tls(sock, outside.authority.path, sni) as inside:
                inside.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                return b"".join(iter(lambda: inside.recv(65536), b""))
        except OSError:
            return b""


def test_plain_http_reaches_what_is_allowed_and_nothing_else(outside: Outside, box: Any) -> None:
    answer = box.raw(get(f"http://{ALLOWED}/a?b=c"))
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b"plain heard ")
    (heard,) = outside.plain.heard
    assert heard.startswith(b"GET /a?b=c HTTP/1.1\r\n")
    refused = box.raw(get(f"http://{OTHER}/"))
    assert refused.startswith(b"HTTP/1.1 403")
    assert refused.endswith(b"other.test:80 is not on this sandbox's allow-list.\n")
    assert outside.egress.record(verdict="refused")["status"] == 403


def test_the_log_has_no_query(outside: Outside, box: Any) -> None:
    box.raw(get(f"http://{ALLOWED}/a?key=hunter2"))
    box.raw(get(f"http://user:hunter2@{ALLOWED}/"))
    assert "hunter2" not in outside.egress.log_path.read_text()
    assert outside.egress.record(verdict="served")["path"] == f"http://{ALLOWED}/a"


def test_a_body_goes_through_both_ways_with_length_and_in_chunks(outside: Outside, box: Any) -> None:
    head = f"POST http://{ALLOWED}/ HTTP/1.1\r\nHost: {ALLOWED}\r\nConnection: close\r\n".encode()
    whole = b"x" * 300_000
    answer = box.raw(head + f"Content-Length: {len(whole)}\r\n\r\n".encode() + whole)
    assert answer.endswith(whole)
    box.raw(head + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
    assert b"transfer-encoding: chunked" in outside.plain.heard[-1].lower()


def test_a_client_that_waits_to_be_told_to_go_on_is_told(box: Any) -> None:
    with box.connect() as sock:
        sock.sendall(
            f"POST http://{ALLOWED}/ HTTP/1.1\r\nHost: {ALLOWED}\r\nContent-Length: 3\r\n".encode()
            + b"Expect: 100-continue\r\nConnection: close\r\n\r\n"
        )
        assert sock.recv(100).startswith(b"HTTP/1.1 100")
        sock.sendall(b"abc")
        assert sock.makefile("rb").read().endswith(b"heard abc")


def test_each_request_of_a_kept_connection_is_judged_anew(outside: Outside, box: Any) -> None:
    allowed = f"GET http://{ALLOWED}/ HTTP/1.1\r\nHost: {ALLOWED}\r\n\r\n".encode()
    answer = box.raw(allowed + get(f"http://{OTHER}/"))
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"200", b"403"]
    again = box.raw(allowed + get(f"http://{ALLOWED}/"))
    assert re.findall(rb"HTTP/1.1 (\d+)", again) == [b"200", b"200"], "control"


TRICKS = {
    # name: request that must not reach anything
    "another Host": get(f"http://{ALLOWED}/", OTHER),
    "another port in Host": get(f"http://{ALLOWED}/", f"{ALLOWED}:8080"),
    "userinfo": get(f"http://{ALLOWED}@{OTHER}/", OTHER),
    "userinfo, allowed host": get(f"http://user:pw@{ALLOWED}/", ALLOWED),
    "suffix": get(f"http://{ALLOWED}.{OTHER}/"),
    "prefix": get(f"http://evil{ALLOWED}/"),
    "child": get(f"http://x.{ALLOWED}/"),
    "port": get(f"http://{ALLOWED}:22/"),
    "port 0": get(f"http://{ALLOWED}:0/"),
    "port too large": get(f"http://{ALLOWED}:65616/"),
    "signed port": get(f"http://{ALLOWED}:+80/"),
    "percent in host": get("http://allowed%2etest/"),
    "NUL in host": get("http://allowed.test%00.other.test/"),
    "backslash": get(f"http://{OTHER}\\@{ALLOWED}/", ALLOWED),
    "scheme https": get(f"https://{ALLOWED}/"),
    "scheme ftp": get(f"ftp://{ALLOWED}/"),
    "scheme file": get("file:///etc/passwd", "localhost"),
    "no host": get("http:///x", "localhost"),
    "fragment": get(f"http://{ALLOWED}/#x", ALLOWED),
    "decimal address": get("http://2130706433/"),
    "hex address": get("http://0x7f000001/"),
    "octal address": get("http://0177.0.0.1/"),
    "short address": get("http://127.1/"),
    "loopback": get("http://127.0.0.1/", "127.0.0.1"),
    "IPv6 loopback": get("http://[::1]/"),
    "mapped": get("http://[::ffff:127.0.0.1]/"),
    "zone": get("http://[fe80::1%25lo]/", "x"),
    "metadata": get("http://169.254.169.254/latest/meta-data"),
    "metadata, IPv6": get("http://[fd00:ec2::254]/"),
    "length twice": get(f"http://{ALLOWED}/", more=b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"),
    "two lengths": get(f"http://{ALLOWED}/", more=b"Content-Length: 1\r\nContent-Length: 2\r\n"),
    "two hosts": get(f"http://{ALLOWED}/", more=f"Host: {OTHER}\r\n".encode()),
    "asterisk": b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "CONNECT without port": b"CONNECT allowed.test HTTP/1.1\r\nHost: allowed.test\r\n\r\n",
    "CONNECT with another Host": b"CONNECT allowed.test:443 HTTP/1.1\r\nHost: other.test\r\n\r\n",
    "CONNECT with a body": b"CONNECT allowed.test:443 HTTP/1.1\r\nHost: allowed.test\r\nContent-Length: 1\r\n\r\nx",
    "CONNECT with a path": b"CONNECT allowed.test:443/x HTTP/1.1\r\nHost: allowed.test\r\n\r\n",
    "CONNECT with userinfo": b"CONNECT a@allowed.test:443 HTTP/1.1\r\nHost: allowed.test\r\n\r\n",
    "CONNECT to another port": b"CONNECT allowed.test:25 HTTP/1.1\r\nHost: allowed.test:25\r\n\r\n",
}


@pytest.fixture(scope="module")
def tricked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Origin]]:
    """One sandbox for the whole table."""
    from tests.egress.conftest import Egress, Namespace, Sandbox
    from tidepool.egress.indexes import HostIndexes

    address = free_address()
    origin = Origin(address, 80)
    options = ("--open", "127.0.0.0/8", "--open", "::1/128")
    for name in (ALLOWED, OTHER, f"x.{ALLOWED}", f"evil{ALLOWED}", f"{ALLOWED}.{OTHER}"):
        options += ("--host", f"{name}={address}")
    egress = Egress(HostIndexes(python=()), tmp_path_factory.mktemp("tricks") / "log", None, options)
    try:
        namespace = Namespace()
    except OSError as error:
        pytest.skip(f"this user cannot make a network namespace: {error}")
    yield Sandbox(egress, "tricky", namespace, "allow", allow=[ALLOWED]), origin
    namespace.close()
    assert egress.close() == 0
    origin.close()


@pytest.mark.parametrize("trick", TRICKS)
def test_no_spelling_reaches_what_is_not_allowed(trick: str, tricked: tuple[Any, Origin]) -> None:
    box, origin = tricked
    before = origin.accepted
    status = box.raw(TRICKS[trick]).split(b" ")[1]
    assert status in (b"400", b"403", b"405"), status
    assert origin.accepted == before
    assert box.raw(get(f"http://{ALLOWED.upper()}./")).startswith(b"HTTP/1.1 200"), (
        "control: it can be reached"
    )


@pytest.mark.parametrize(
    ("name", "sentence"),
    [(PRIVATE, b"not on the public internet"), ("mixed.test", b"not on the public internet")],
)
@pytest.mark.parametrize("policy", ["allow", "all"])
def test_private_addresses_are_refused_under_every_policy(
    policy: str, name: str, sentence: bytes, outside: Outside, open_sandbox: Callable[..., Any]
) -> None:
    allow = {"allow": [PRIVATE, "mixed.test", ALLOWED]} if policy == "allow" else {}
    box = open_sandbox(outside.egress, policy=policy, **allow)
    answer = box.raw(get(f"http://{name}/"))
    assert answer.startswith(b"HTTP/1.1 403")
    assert sentence in answer
    assert b" 403 " in asked(box, f"{name}:80")
    assert outside.private.accepted == 0
    assert box.raw(get(f"http://{ALLOWED}/")).startswith(b"HTTP/1.1 200"), "control: what the operator opened"


def test_tls_goes_through_when_sni_is_the_host_that_was_asked_for(outside: Outside, box: Any) -> None:
    assert secure_get(box, outside, f"{ALLOWED}:443", ALLOWED).endswith(b"secure heard ")
    assert outside.egress.record(method="CONNECT")["verdict"] in ("served", "dropped")


@pytest.mark.parametrize("sni", [OTHER, None, "x." + ALLOWED])
def test_another_or_no_sni_is_refused_under_a_host_list(
    sni: str | None, outside: Outside, box: Any, open_sandbox: Callable[..., Any]
) -> None:
    assert secure_get(box, outside, f"{ALLOWED}:443", sni) == b""
    assert outside.secure.heard == []
    assert "TLS hello" in outside.egress.record(verdict="refused")["reason"]
    free = open_sandbox(outside.egress, "free", policy="all")
    sock, head = connect(free, f"{ALLOWED}:443")
    context = ssl.create_default_context(cafile=outside.authority.path)
    context.check_hostname = False
    with context.wrap_socket(sock, server_hostname=sni) as inside:
        assert inside.version(), "control: where hosts make no difference it goes through"
    assert b" 200 " in head


def test_what_is_not_tls_does_not_go_to_a_named_host(
    outside: Outside, box: Any, open_sandbox: Callable[..., Any]
) -> None:
    sock, head = connect(box, f"{ALLOWED}:80")
    with sock:
        assert b" 200 " in head
        sock.sendall(b"GET / HTTP/1.1\r\nHost: fronted.test\r\n\r\n")
        assert b"heard" not in sock.makefile("rb").read()
    assert outside.plain.heard == []
    by_address = open_sandbox(outside.egress, "2", policy="allow", allow=[f"{outside.plain.address}/32"])
    sock, _ = connect(by_address, f"{outside.plain.address}:80")
    with sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert b"heard" in sock.makefile("rb").read(), "control: an address that is listed takes anything"


def test_a_hello_in_single_bytes_is_read_all_the_same(outside: Outside, box: Any) -> None:
    sock, _ = connect(box, f"{ALLOWED}:443")
    context = ssl.create_default_context(cafile=outside.authority.path)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    machine = context.wrap_bio(incoming, outgoing, server_hostname=ALLOWED)
    with sock:
        with pytest.raises(ssl.SSLWantReadError):
            machine.do_handshake()
        for byte in outgoing.read():
            sock.sendall(bytes([byte]))
        incoming.write(sock.recv(65536))
        while True:
            try:
                machine.do_handshake()
                break
            except ssl.SSLWantReadError:
                incoming.write(sock.recv(65536))
    assert machine.version()


def test_an_empty_list_and_none_deny_all_and_packages_forwards_nothing(
    outside: Outside, open_sandbox: Callable[..., Any]
) -> None:
    for number, (policy, allow) in enumerate([("allow", []), ("none", []), ("packages", [])]):
        box = open_sandbox(outside.egress, f"s-{number}", policy=policy, allow=allow)
        assert box.raw(get(f"http://{ALLOWED}/")).startswith(b"HTTP/1.1 403")
        assert asked(box, f"{ALLOWED}:443").split(b" ")[1] == b"403"
    assert outside.plain.accepted == outside.secure.accepted == 0


def test_the_mirror_is_part_of_all_and_of_a_list_that_names_it(
    outside: Outside, open_sandbox: Callable[..., Any]
) -> None:
    def status(name: str, policy: str, allow: list[str]) -> int:
        return int(open_sandbox(outside.egress, name, policy=policy, allow=allow).get("/simple/x/")[0])

    assert status("a", "allow", [ALLOWED]) == 403
    assert status("b", "allow", [ALLOWED, "packages"]) == 404
    assert status("c", "all", []) == 404
    assert status("d", "none", []) == 403


def test_tightening_cuts_what_is_under_way_and_leaves_the_rest(
    outside: Outside, open_sandbox: Callable[..., Any]
) -> None:
    box = open_sandbox(outside.egress, policy="allow", allow=[ALLOWED, OTHER])
    kept, lost = connect(box, f"{ALLOWED}:443")[0], connect(box, f"{OTHER}:443")[0]
    kept_inside = tls(kept, outside.authority.path, ALLOWED)
    lost_inside = tls(lost, outside.authority.path, OTHER)
    lost_inside.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert lost_inside.recv(9) == b"HTTP/1.1 ", "control: before the change it works"
    assert outside.egress.change("sandbox-1", "allow", allow=[ALLOWED])["cut"] == 1
    kept_inside.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert kept_inside.recv(9) == b"HTTP/1.1 "
    assert ended(lost_inside)
    deadline = time.monotonic() + 5
    while outside.other_secure.live and time.monotonic() < deadline:
        time.sleep(0.01)
    assert outside.other_secure.live == 0
    outside.egress.record(verdict="cut")
    assert b" 403 " in asked(box, f"{OTHER}:443")
    kept_inside.close()
    lost_inside.close()


def test_loosening_works_for_a_sandbox_that_had_nothing(
    outside: Outside, open_sandbox: Callable[..., Any]
) -> None:
    box = open_sandbox(outside.egress, policy="none")
    assert box.raw(get(f"http://{ALLOWED}/")).startswith(b"HTTP/1.1 403")
    outside.egress.change("sandbox-1", "allow", allow=[ALLOWED])
    assert box.raw(get(f"http://{ALLOWED}/")).startswith(b"HTTP/1.1 200")


def test_what_follows_a_head_request_and_cannot_be_read_is_refused_with_a_sentence(
    outside: Outside, box: Any
) -> None:
    head = f"HEAD http://{ALLOWED}/ HTTP/1.1\r\nHost: {ALLOWED}\r\n\r\n".encode()
    answer = box.raw(head + b"no request\r\n\r\n")
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"200", b"400"]
    assert answer.endswith(b"The request is not well-formed HTTP/1.1.\n")
    assert outside.egress.record(verdict="refused")["status"] == 400


def test_a_redirect_is_not_followed_for_the_client(outside: Outside, box: Any) -> None:
    answer = box.raw(get(f"http://{ALLOWED}/redirect"))
    assert answer.startswith(b"HTTP/1.1 302")
    assert box.raw(get("http://169.254.169.254/latest/")).startswith(b"HTTP/1.1 403"), (
        "a request like any other"
    )


def test_a_bad_entry_is_refused_and_nothing_changes(outside: Outside, box: Any) -> None:
    answer = outside.egress.ask({"op": "change", "id": "sandbox-1", "policy": "allow", "allow": ["*"]})
    assert (answer["ok"], answer["is_refused"]) == (False, True)
    assert "'*'" in answer["error"]
    assert box.raw(get(f"http://{ALLOWED}/")).startswith(b"HTTP/1.1 200")


def test_tunnels_of_one_sandbox_are_bounded_and_stop_nobody_else(
    outside: Outside, box: Any, open_sandbox: Callable[..., Any]
) -> None:
    held = [connect(box, f"{ALLOWED}:443") for _ in range(64)]
    assert all(b" 200 " in head for _, head in held)
    with box.connect() as late:
        late.settimeout(0.3)
        late.sendall(get(f"http://{ALLOWED}/"))
        with pytest.raises(TimeoutError):
            late.recv(1)
        other = open_sandbox(outside.egress, "other", policy="allow", allow=[ALLOWED])
        assert other.raw(get(f"http://{ALLOWED}/")).startswith(b"HTTP/1.1 200")
        held.pop()[0].close()
        late.settimeout(10)
        assert late.recv(100).startswith(b"HTTP/1.1 200"), "its turn comes when one of its own is closed"
    for sock, _ in held:
        sock.close()


def test_a_client_that_does_not_read_makes_the_server_wait_and_not_the_proxy_grow(
    outside: Outside, open_sandbox: Callable[..., Any]
) -> None:
    box = open_sandbox(outside.egress, policy="allow", allow=[f"{outside.plain.address}/32"])
    with socket.socket() as listener:
        listener.bind((outside.plain.address, 8098))
        listener.listen(1)
        sock, head = connect(box, f"{outside.plain.address}:8098")
        server, _ = listener.accept()
        with sock, server:
            assert 0 < taken(server) < 64 << 20
    assert b" 200 " in head


def test_opened_tls_is_over_when_its_secret_is_taken_back(
    outside: Outside, open_sandbox: Callable[..., Any]
) -> None:
    secret = {"placeholder": "tps_placeholder", "value": "hunter2", "hosts": [ALLOWED]}
    box = open_sandbox(outside.egress, policy="allow", allow=[ALLOWED], secrets=[secret])
    sock, _ = connect(box, f"{ALLOWED}:443")
    request = f"GET / HTTP/1.1\r\nHost: {ALLOWED}\r\nX: tps_placeholder\r\n\r\n".encode()
    with tls(sock, "", ALLOWED, box.served["authority"]) as inside:
        for _ in range(2):
            inside.sendall(request)
            answer = b""
            while not answer.endswith(b"heard "):
                answer += inside.recv(65536)
            assert b" 200 " in answer, "control: a kept connection serves one after the other"
        assert b"x: hunter2" in outside.secure.heard[-1].lower()
        outside.egress.change("sandbox-1", "allow", allow=[ALLOWED], secrets=[])
        inside.sendall(request)
        assert b" 421 " in inside.recv(65536)
    assert len(outside.secure.heard) == 2
    assert "hunter2" not in outside.egress.log_path.read_text()


def test_hop_by_hop_headers_stay_behind(outside: Outside, box: Any) -> None:
    more = b"Proxy-Authorization: Basic x\r\nUpgrade: h2c\r\nTE: trailers\r\nX-Kept: 1\r\n"
    box.raw(get(f"http://{ALLOWED}/", more=more))
    head = outside.plain.heard[-1].lower()
    assert b"x-kept: 1" in head
    assert not re.search(rb"proxy-authorization|upgrade|\nte:", head)
