"""Invariant: names, addresses, targets and pages are canonical or refused with their own error; what is canonical is so
twice, holds nothing that another parser could read differently, and no address but a public one may be dialled.
"""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.fuzzing import examples, near, near_text, nothing_but
from tidepool.egress import destination, hello, policy, simple, target
from tidepool.egress.refusal import Refusal

HOSTS = (
    "example.test",
    "EXAMPLE.test.",
    "*.example.test",
    "xn--bcher-kva.test",
    "b\u00fccher.test",
    "example\u3002test",
    "\uff11\uff12\uff17.0.0.1",
    "127.0.0.1:80",
    "0x7f.1",
    "2130706433",
    "0177.0.0.1",
    "[::ffff:127.0.0.1]:443",
    "::1%lo",
    "10.0.0.0/8",
    "fd00::/8",
    "a@b",
    "a#b",
    "a/b",
)


@examples(250)
@given(near_text(*HOSTS))
def test_hosts(text: str) -> None:
    host = nothing_but(policy.BadHost, lambda: policy.canonical_host(text))
    if host is not None:
        assert policy.canonical_host(host) == host
        assert host.isascii()
        assert host == host.lower()
        assert not set(host) & set("@/\\#?% \t\r\n\0*")
    nothing_but(policy.BadHost, lambda: policy.parse_place(text, 443))
    nothing_but(policy.BadHost, lambda: policy.parse_host_rule(text))
    nothing_but((policy.BadHost, ValueError), lambda: policy.parse_network(text))
    if nothing_but(ValueError, lambda: policy.may_dial(text)):
        address = ipaddress.ip_address(text)
        assert address.is_global
        assert not address.is_multicast


@examples(200)
@given(
    near(b"/simple/requests/", b"/packages/0/requests-1.0.whl", b"/npm/@a%2fb", b"http://a.test/simple/x/?y")
)
def test_targets(raw: bytes) -> None:
    found = nothing_but(Refusal, lambda: target.parse_target(raw))
    assert str(found).isprintable()


@examples(200)
@given(near_text("https://a.test:443/b/c?d#e", "http://u:p@a.test/", "//a", "../b", "https://[::1]/"))
def test_addresses(text: str) -> None:
    found = nothing_but(destination.BadUrl, lambda: destination.parse_url(text))
    base = destination.parse_url("https://base.test/simple/x/")
    nothing_but(destination.BadUrl, lambda: destination.join(base, text))
    if found is not None:
        assert "@" not in str(found.origin)


PAGES = (
    b'{"files":[{"filename":"a-1.whl","url":"../a","hashes":{"sha256":"00"},"requires-python":null,"yanked":true}]}',
    b'<!DOCTYPE html><base href="/x/"><a href="a-1.whl#sha256=00" data-requires-python="&gt;3">a-1.whl</a>',
)


@pytest.mark.thorough
@examples(150)
@given(
    near(*PAGES),
    st.sampled_from(["application/vnd.pypi.simple.v1+json", "text/html; charset=x", "text/html", ""]),
)
def test_pages(body: bytes, kind: str) -> None:
    base = destination.parse_url("https://base.test/simple/x/")
    nothing_but(simple.BadPage, lambda: simple.parse_page(kind, body, base, 0))


HELLO = bytes.fromhex("160301002f0100002b0303" + "00" * 32 + "00" + "0002c02f" + "0100" + "0000")


@examples(150)
@given(near(HELLO))
def test_the_first_words_of_tls(data: bytes) -> None:
    nothing_but(hello.BadHello, lambda: hello.parse_hello(data))
