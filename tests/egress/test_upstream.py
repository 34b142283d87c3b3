"""Where connections go: what is dialled, whose certificate is believed, who gets the credentials."""

import asyncio
import socket
import ssl
import subprocess

import pytest

from tidepool.egress.destination import Origin, parse_url
from tidepool.egress.indexes import Index
from tidepool.egress.refusal import Refusal
from tidepool.egress.upstream import CheckedNetwork, Upstream


def dial(own: Origin, host: str, port: int) -> None:
    async def scenario():
        stream = await CheckedNetwork(own).connect_tcp(host, port, timeout=2)
        await stream.aclose()

    asyncio.run(scenario())


def test_the_indexs_own_place_may_be_private_and_nothing_else(canary, index):
    port = canary.getsockname()[1]
    dial(Origin("http", "127.0.0.1", port), "127.0.0.1", port)  # control: the operator's own is dialled
    canary.accept()[0].close()
    for own in (
        Origin("http", "127.0.0.1", index.port),
        Origin("https", "1.1.1.1", port),
        Origin("http", "127.0.0.2", port),
    ):
        for name in ("127.0.0.1", "localhost", "2130706433", "0x7f.1", "127.1", "::ffff:127.0.0.1"):
            with pytest.raises(Refusal, match="inside a private network"):
                dial(own, name, port)
    with pytest.raises(BlockingIOError):
        canary.accept()


def test_the_same_server_by_another_name_is_dialled_at_its_own_port_only(canary, index):
    port = canary.getsockname()[1]
    dial(Origin("http", "127.0.0.1", port), "localhost", port)
    canary.accept()[0].close()
    with pytest.raises(Refusal):
        dial(Origin("http", "127.0.0.1", port), "localhost", index.port)


def test_a_name_that_does_not_resolve_is_a_sentence():
    with pytest.raises(Refusal, match="could not be resolved") as caught:
        dial(Origin("https", "1.1.1.1", 443), "does-not-exist.invalid", 443)
    assert caught.value.status == 502


def fetch(index: Index, *urls: str) -> list[tuple[int, bytes]]:
    async def scenario():
        upstream = Upstream(index)
        answers = []
        try:
            for url in urls:
                async with upstream.fetch("GET", parse_url(url), {}) as reply:
                    answers.append((reply.status, b"".join([chunk async for chunk in reply.body])))
        finally:
            await upstream.close()
        return answers

    return asyncio.run(scenario())


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """A certificate authority of our own, and a server context with its certificate for loopback."""
    place = tmp_path_factory.mktemp("ca")
    openssl = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
    ]
    openssl += ["-subj", "/CN=test", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    openssl += ["-keyout", str(place / "key.pem"), "-out", str(place / "cert.pem")]
    try:
        subprocess.run(openssl, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("the openssl command is not installed")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(place / "cert.pem", place / "key.pem")
    return (place / "cert.pem").read_text(), context


@pytest.fixture
def tls_index(authority, start_index):
    server = start_index(wrap=lambda sock: authority[1].wrap_socket(sock, server_side=True))
    server.page("tp", "x")
    return server


def test_certificates_are_verified_with_the_hosts_own_authorities(authority, tls_index):
    url = f"https://127.0.0.1:{tls_index.port}/simple/tp/"
    index = Index(url=f"https://127.0.0.1:{tls_index.port}/simple", ca=authority[0])
    assert fetch(index, url)[0][0] == 200
    with pytest.raises(Refusal, match="certificate could not be verified"):
        fetch(Index(url=index.url), url)
    assert len(tls_index.seen) == 1


def test_credentials_stay_at_the_origin_they_are_for(
    authority, namespaces, start_index, stored, start_egress, open_sandbox
):
    """The index links to the same server by another name, on port 443, in a network namespace of the test."""
    outside = namespaces()
    listener = outside.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", 443))
    listener.listen(16)
    server = start_index(listener, wrap=lambda sock: authority[1].wrap_socket(sock, server_side=True))
    server.page("tp", '<a href="https://localhost/f/tp-1.0.whl">x</a> <a href="/f/tp-2.0.whl">x</a>')
    server.paths["/f/tp-1.0.whl"] = server.paths["/f/tp-2.0.whl"] = stored(b"content")
    egress = start_egress(
        Index(url="https://127.0.0.1/simple", ca=authority[0], authorization="Bearer hunter2"),
        enter=outside.enter,
    )
    sandbox = open_sandbox(egress)
    client = sandbox.connect()
    for name in ("tp-1.0.whl", "tp-2.0.whl"):
        client.sendall(f"GET /files/0/tp/{name} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        answer = client.recv(65536)
        while not answer.endswith(b"content"):
            piece = client.recv(65536)
            assert piece, answer
            answer += piece
        assert answer.startswith(b"HTTP/1.1 200")
    client.close()
    (elsewhere,) = server.asked("/f/tp-1.0.whl")
    (own,) = server.asked("/f/tp-2.0.whl")
    assert "authorization" not in elsewhere
    assert own["authorization"] == "Bearer hunter2", "control: at its own origin they are sent"
