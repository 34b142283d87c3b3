"""Invariant: whatever bytes a sandbox sends, nothing but a listed server is reached, and the proxy serves on.

Requests are made of pieces that parsers disagree about, and of bytes at random.
"""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.egress.conftest import Egress, Namespace, Sandbox
from tests.egress.origin import Origin, free_address
from tidepool.egress.indexes import HostIndexes

ALLOWED, FORBIDDEN = "allowed.test", "forbidden.test"
LAST = b"GET http://allowed.test/control HTTP/1.1\r\nHost: allowed.test\r\nConnection: close\r\n\r\n"

hosts = st.sampled_from(
    [
        ALLOWED,
        FORBIDDEN,
        "ALLOWED.test.",
        "allowed.test:80",
        "forbidden.test:80",
        f"{ALLOWED}@{FORBIDDEN}",
        f"{FORBIDDEN}#@{ALLOWED}",
        f"{ALLOWED}.{FORBIDDEN}",
        f"{FORBIDDEN}\\@{ALLOWED}",
        f"{ALLOWED}%00{FORBIDDEN}",
        f"{ALLOWED}\t{FORBIDDEN}",
        "",
        "127.0.0.1",
        "[::1]",
    ]
)
targets = st.one_of(
    st.builds(
        "{}{}{}".format,
        st.sampled_from(["http://", "HTTP://", "https://", "//", "http:/", ""]),
        hosts,
        st.sampled_from(["/", "", "?x", ":80/", "/../", "/ HTTP/1.1\r\nX: y"]),
    ),
    st.text("ahtp:/@.%#?*0 \r\n", max_size=20),
)
headers = st.lists(
    st.one_of(
        st.builds("Host: {}".format, hosts),
        st.sampled_from(
            [
                "Content-Length: 0",
                "Content-Length: 5",
                "Content-Length: +5",
                "Transfer-Encoding: chunked",
                "Transfer-Encoding : chunked",
                "Transfer-Encoding: identity, chunked",
                "Connection: keep-alive",
                "Connection: host",
                "Upgrade: h2c",
                "Expect: 100-continue",
                " folded",
            ]
        ),
    ),
    max_size=4,
)
bodies = st.sampled_from(
    [
        b"",
        b"hello",
        b"0\r\n\r\n",
        b"5\r\nhello\r\n0\r\n\r\n",
        b"GET http://forbidden.test/ HTTP/1.1\r\nHost: allowed.test\r\n\r\n",
    ]
)
requests = st.builds(
    lambda method, target, fields, body: (
        "\r\n".join([f"{method} {target} HTTP/1.1", *fields, "", ""]).encode() + body
    ),
    st.sampled_from(["GET", "POST", "CONNECT", "HEAD", "get", "OPTIONS", "PRI"]),
    targets,
    headers,
    bodies,
)
usual = st.builds("GET http://{0}/ HTTP/1.1\r\nHost: {0}\r\n\r\n".format, hosts).map(str.encode)
tunnels = st.builds("CONNECT {0}:80 HTTP/1.1\r\nHost: {0}:80\r\n\r\n".format, hosts).map(str.encode)
conversations = st.one_of(
    st.lists(requests | usual | tunnels, min_size=1, max_size=3).map(b"".join), st.binary(max_size=200)
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Sandbox, Origin, Origin]]:
    log: Path = tmp_path_factory.mktemp("fuzz") / "log"
    here, there = free_address(), free_address()
    allowed, forbidden = Origin(here, 80), Origin(there, 80)
    options: tuple[str, ...] = ("--open", "127.0.0.0/8", "--open", "::1/128")
    options += (
        "--host",
        f"{ALLOWED}={here}",
        "--host",
        f"{FORBIDDEN}={there}",
        "--host",
        f"{ALLOWED}.{FORBIDDEN}={there}",
    )
    egress = Egress(HostIndexes(python=()), log, None, options)
    try:
        namespace = Namespace()
    except OSError as error:
        pytest.skip(f"this user cannot make a network namespace: {error}")
    try:
        yield Sandbox(egress, "fuzz", namespace, "allow", allow=[ALLOWED]), allowed, forbidden
    finally:
        namespace.close()
        ended = egress.close()
        allowed.close()
        forbidden.close()
    assert ended == 0
    assert not any(record["verdict"] == "fault" for record in egress.records())


@given(data=conversations)
@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_bytes_reach_what_is_not_listed(place: tuple[Any, Origin, Origin], data: bytes) -> None:
    box, allowed, forbidden = place
    with box.connect() as sock:
        try:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(65536):
                continue
        except ConnectionError:
            pass  # it was closed before all was said
    assert forbidden.accepted == 0
    for heard in allowed.heard:
        assert heard.lower().count(b"\r\nhost: ") == 1
        assert b"\r\nhost: allowed.test\r\n" in heard.lower()
    allowed.heard.clear()
    assert box.raw(LAST).startswith(b"HTTP/1.1 200"), (
        "control: it serves on, and the listed server is reached"
    )
