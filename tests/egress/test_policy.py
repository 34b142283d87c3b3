"""Invariant: a host has one spelling or none, and nothing that is not on a list, or not public, is ever granted."""

import ipaddress
import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tidepool.egress.policy import (
    BadHost,
    HostRule,
    Place,
    canonical_host,
    is_opened,
    may_dial,
    parse_host_rule,
    parse_network,
    parse_place,
    parse_policy,
)

labels = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=12).filter(
    lambda label: not label.isdigit() and not label.startswith("0x")
)
names = st.lists(labels, min_size=2, max_size=4).map(".".join)

HOSTS = {
    "Example.ORG": "example.org",
    "example.org.": "example.org",
    "bücher.example": "xn--bcher-kva.example",
    "BÜCHER.example": "xn--bcher-kva.example",
    "xn--bcher-kva.example": "xn--bcher-kva.example",
    "192.0.2.1": "192.0.2.1",
    "2001:DB8:0::1": "2001:db8::1",
    "_dmarc.example.org": "_dmarc.example.org",
}


@pytest.mark.parametrize("text", HOSTS)
def test_a_host_has_one_spelling(text: str) -> None:
    assert canonical_host(text) == HOSTS[text]


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        "a..b",
        ".a",
        "a.org..",
        "-a.org",
        "a-.org",
        "a b",
        "a\tb",
        "a\nb",
        "a\0b",
        "a%2eb",
        "a/b",
        "a\\b",
        "a@b",
        "a?b",
        "a#b",
        "a:b",
        "*",
        "*.a.org",
        "a" * 64 + ".org",
        "a." * 127 + "org",
        "1",
        "127.1",
        "127.0.1",
        "2130706433",
        "0177.0.0.1",
        "0x7f.0.0.1",
        "0x7f000001",
        "127.0.0.01",
        "127.0.0.1.1",
        "256.1.1.1",
        "1.2.3",
        "a.1",
        "a.0x1f",
        "a.0x",
        "::ffff:127.0.0.1",
        "::ffff:7f00:1",
        "fe80::1%eth0",
        "[::1]",
        "::1%",
        ":::",
        "1::2::3",
        "12345::",
        "example。org",
        "example．org",
        "example｡org",
        "１27.0.0.1",
        "①.example",
        "exa\u00admple.org",
        "a\u200db.org",
        "\u202eorg.example",
    ],
)
def test_what_has_another_reading_is_refused(text: str) -> None:
    with pytest.raises(BadHost):
        canonical_host(text)


@given(st.text(max_size=40) | st.text("0123456789abcfx.:%[]@-*", max_size=24))
@example("0.0.0.0")
def test_whatever_is_taken_stays_as_it_is_and_is_plain(text: str) -> None:
    try:
        host = canonical_host(text)
    except BadHost:
        return
    assert canonical_host(host) == host
    assert host.isascii()
    assert host == host.lower()
    assert not set(host) & set(" \t\r\n\0@/\\?#%[]*")
    if host.replace(".", "").isdigit() or ":" in host:
        assert str(ipaddress.ip_address(host)) == host


@pytest.mark.parametrize(
    "text",
    [
        "a.org",
        "a.org:",
        "a.org:0",
        "a.org:65536",
        "a.org:+1",
        "a.org:01",
        "a.org:1 ",
        "u@a.org:1",
        "u:p@a.org:1",
        "::1:80",
        "[::1]",
        "[::1:80",
        "::1]:80",
        "[a.org]:80",
        "[127.0.0.1]:80",
        "a.org:80:80",
        "[::1]:80:1",
        "a.org:８0",
    ],
)
def test_an_authority_is_host_and_port_and_nothing_else(text: str) -> None:
    with pytest.raises(BadHost):
        parse_place(text)


@given(names, st.integers(1, 65535))
def test_an_authority_comes_back_as_it_was(name: str, port: int) -> None:
    place = Place(name, port)
    assert parse_place(place.authority) == place
    assert parse_place(name, port) == place


NEVER = [
    "0.0.0.0",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::8.8.8.8",
    "::ffff:8.8.8.8",
    "::ffff:10.0.0.1",
    "64:ff9b::a00:1",
    "64:ff9b::808:808",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:a00:1::",
    "2002:808:808::1",
    "3fff::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%lo",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
]


@pytest.mark.parametrize("address", NEVER)
def test_private_metadata_and_embedding_addresses_are_never_dialled(address: str) -> None:
    assert not may_dial(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "8.8.8.8", "172.32.0.1", "2606:4700::1111", "2a00:1450::1"])
def test_public_addresses_are(address: str) -> None:
    assert may_dial(address)


def test_the_operator_opens_a_network_and_nothing_beside_it() -> None:
    opened = (parse_network("10.1.0.0/16"), parse_network("fd12::/32"))
    assert is_opened("10.1.2.3", opened)
    assert is_opened("fd12::9", opened)
    assert not is_opened("10.2.0.1", opened)
    assert not is_opened("::ffff:10.1.2.3", opened)
    assert not is_opened("fd12::9%eth0", opened)


@given(st.ip_addresses())
def test_whatever_is_dialled_is_global(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    if may_dial(str(address)):
        assert address.is_global
        bad = (address.is_private, address.is_loopback, address.is_link_local, address.is_multicast)
        assert not any(bad)


def test_an_entry_names_a_host_or_what_is_below_it() -> None:
    policy = parse_policy("allow", ["example.org", "*.example.net", "ssh.example.com:2222"])
    granted = {
        ("example.org", 443): "name",
        ("example.org", 80): "name",
        ("example.org", 8443): None,
        ("www.example.org", 443): None,
        ("evilexample.org", 443): None,
        ("example.org.evil.com", 443): None,
        ("a.example.net", 443): "name",
        ("a.b.example.net", 443): "name",
        ("example.net", 443): None,
        ("evilexample.net", 443): None,
        ("ssh.example.com", 2222): "name",
        ("ssh.example.com", 443): None,
        ("93.184.216.34", 443): None,
    }
    assert {place: policy.judge(Place(*place)) for place in granted} == granted


@pytest.mark.parametrize(
    "entry",
    [
        "",
        "*",
        "*.",
        "*.org",
        "**.a.org",
        "a.*.org",
        "*a.org",
        "http://a.org",
        "a.org/",
        "a.org/path",
        "u@a.org",
        "1.2.3",
        "1.2.3.4:80",
        "1.2.3.4/33",
        "1.2.3.4/-1",
        "1.2.3.4/a",
        "1.2.3.4/",
        "/8",
        "a.org/8",
        "::1%lo",
        "[::1]",
        "::ffff:1.2.3.4/128",
        "::/129",
        "a.org:",
        "a.org:0",
        "a,b",
        "a.org b.org",
    ],
)
def test_an_entry_that_is_none_is_refused_and_named(entry: str) -> None:
    with pytest.raises(BadHost) as caught:
        parse_policy("allow", ["fine.org", entry])
    assert repr(entry) in str(caught.value)


def test_an_empty_list_allows_nothing_and_only_allow_has_one() -> None:
    empty = parse_policy("allow")
    assert (empty.packages, empty.forwards) == (False, True)
    assert empty.judge(Place("example.org", 443)) is None
    assert empty.judge(Place("1.1.1.1", 443)) is None
    with pytest.raises(BadHost, match="goes with the policy allow"):
        parse_policy("all", ["example.org"])
    with pytest.raises(BadHost, match="at most 100"):
        parse_policy("allow", [f"a{number}.org" for number in range(101)])


def test_addresses_are_allowed_by_network_and_names_are_not_resolved_for_it() -> None:
    policy = parse_policy("allow", ["93.184.216.0/24", "2606:4700::/32", "1.1.1.1"])
    assert policy.judge(Place("93.184.216.34", 8080)) == "address"
    assert policy.judge(Place("2606:4700::1", 443)) == "address"
    assert policy.judge(Place("1.1.1.1", 53)) == "address"
    assert policy.judge(Place("1.1.1.2", 53)) is None
    assert policy.judge(Place("example.org", 443)) is None, "its very name would go out in the question"
    every = parse_policy("allow", ["0.0.0.0/0"])
    assert every.judge(Place("example.org", 443)) == "any"
    assert every.covers("any", ipaddress.ip_address("1.1.1.1"))
    assert not every.covers("any", ipaddress.ip_address("2606:4700::1")), "IPv6 was not listed"


def test_none_and_packages_grant_nothing_and_all_grants_any() -> None:
    place = Place("example.org", 443)
    assert [parse_policy(kind).judge(place) for kind in ("none", "packages", "all")] == [None, None, "any"]
    assert [parse_policy(kind).packages for kind in ("none", "packages", "all")] == [False, True, True]
    assert parse_policy("allow", ["packages"]).packages


@given(names, names, st.integers(1, 65535))
def test_a_name_is_granted_only_by_itself_or_a_wildcard_above_it(listed: str, asked: str, port: int) -> None:
    for entry in (listed, f"*.{listed}", f"{listed}:{port}"):
        if parse_policy("allow", [entry]).judge(Place(asked, port)) is not None:
            assert asked == listed or (entry.startswith("*.") and asked.endswith("." + listed))


@given(st.text("abc*.:-0123456789[]/@", max_size=20))
def test_a_rule_that_is_taken_matches_its_own_name_only_where_it_says_so(text: str) -> None:
    try:
        rule = parse_host_rule(text)
    except BadHost:
        return
    assert rule.names(rule.name) is not rule.below
    assert rule.names("x." + rule.name) is rule.below
    assert not rule.names("x" + rule.name)
    assert isinstance(rule, HostRule)
