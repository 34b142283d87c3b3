"""Which addresses are public, and how URLs become canonical or are refused: tables and properties."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidepool.egress.destination import BadUrl, Origin, Url, is_public, join, parse_url

PUBLIC = ["1.1.1.1", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "2a00:1450::1"]
NOT_PUBLIC = [
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.0.9", "169.254.169.254",
    "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.2.1", "192.168.1.1", "198.18.0.1", "198.51.100.1",
    "203.0.113.80", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255", "168.63.129.16",
    "::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::1", "2002:7f00:1::",
    "2001:0:4136:e378::", "2001:db8::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%lo", "fec0::1", "ff02::1",
]  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_public(address):
    assert is_public(address)


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_not_public(address):
    assert not is_public(address)


@given(st.ip_addresses(v=4))
def test_a_mapped_address_is_what_it_embeds(address):
    assert is_public(f"::ffff:{address}") == is_public(str(address))
    if is_public(str(address)):
        assert not any((address.is_private, address.is_loopback, address.is_link_local, address.is_multicast))


GOOD = {
    "https://Example.COM/a": "https://example.com/a",
    "https://example.com.:443/a": "https://example.com/a",
    "http://example.com:80": "http://example.com/",
    "https://example.com:8443/a?b=c#d": "https://example.com:8443/a?b=c",
    "https://[2001:DB8::1]:444/": "https://[2001:db8::1]:444/",
    "https://xn--bcher-kva.example/": "https://xn--bcher-kva.example/",
}
BAD = [
    "", "example.com", "//example.com/", "ftp://example.com/", "file:///etc/passwd", "https:///a", "https://",
    "https://user:pass@example.com/", "https://example.com@evil.example/", "https://example.com:0/",
    "https://example.com:65536/", "https://example.com:x/", "https://exa mple.com/", "https://example.com/\n",
    "https://example.com/\x00", "https://exam\tple.com/", "https://example.com\\@evil.example/", "https://bücher.example/",
    "https://-a.example/", "https://a..example/", "https://[::1/", "https://[fe80::1%25lo]/", "https://[v1.x]/",
    "https://a%2eexample/", "https://" + "a" * 64 + ".example/", "https://" + "a." * 130 + "example/",
    "https://example.com/" + "a" * 5000,
]  # fmt: skip


@pytest.mark.parametrize("text", GOOD)
def test_canonical(text):
    assert str(parse_url(text)) == GOOD[text]
    assert parse_url(GOOD[text]) == parse_url(text)


@pytest.mark.parametrize("text", BAD)
def test_refused(text):
    with pytest.raises(BadUrl) as caught:
        parse_url(text)
    assert not text or text not in str(caught.value), "the text may hold secrets"


@given(
    st.text(max_size=80)
    | st.text("https://@:[]#?%\\.abc0\t\n ", max_size=60).map(lambda rest: "https://" + rest)
)
def test_nothing_but_a_url_or_a_refusal_comes_out(text):
    try:
        url = parse_url(text)
    except BadUrl:
        return
    assert parse_url(str(url)) == url
    assert url.origin.host == url.origin.host.lower()
    assert not set("@/\\#? ") & set(url.origin.host)


def test_links_are_relative_to_the_page_and_checked_the_same():
    page = parse_url("https://example.com/simple/six/")
    assert str(join(page, "../../files/a.whl#sha256=1")) == "https://example.com/files/a.whl"
    assert str(join(page, "//other.example/a")) == "https://other.example/a"
    assert str(join(page, "/../../a")) == "https://example.com/a"
    for bad in (
        "",
        "javascript:alert(1)",
        "file:///etc/passwd",
        "https://a@b/",
        "a b",
        "http://[",
        "\\\\evil.example\\x",
    ):
        with pytest.raises(BadUrl):
            join(page, bad)


def test_a_suffix_goes_to_the_path():
    url = Url(Origin("https", "example.com", 443), "/a.whl?key=1")
    assert url.with_suffix(".metadata").target == "/a.whl.metadata?key=1"


def test_the_private_table_covers_what_the_standard_library_knows():
    for text in NOT_PUBLIC:
        assert ipaddress.ip_address(text.partition("%")[0])
