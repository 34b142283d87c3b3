"""Where a secret's value goes in a request, and where it never does."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidepool.egress.policy import BadHost, Place
from tidepool.egress.vault import MAX_SECRETS, Vault, make_secret

MARK, VALUE = "tps_0123456789abcdef", "sk-real/value+1="
VAULT = Vault((make_secret(MARK, VALUE, ("api.example.org", "*.example.net")),))


def header(text: bytes, name: bytes = b"x", host: str = "api.example.org") -> bytes:
    return VAULT.fill(host, b"/", [(name, text)])[1][0][1]


def test_a_placeholder_becomes_the_value_in_headers_and_in_the_query() -> None:
    assert header(b"Bearer " + MARK.encode(), b"authorization") == f"Bearer {VALUE}".encode()
    assert header(b"nothing") == b"nothing"
    target, _ = VAULT.fill("a.example.net", f"/p/{MARK}?k={MARK}&x=1".encode(), [])
    assert target == f"/p/{MARK}?k=sk-real%2Fvalue%2B1%3D&x=1".encode()


def test_basic_credentials_are_opened_and_closed_again() -> None:
    def basic(text: str) -> bytes:
        return b"Basic " + base64.b64encode(text.encode())

    assert header(basic(f"user:{MARK}"), b"authorization") == basic(f"user:{VALUE}")
    assert header(basic("user:other"), b"authorization") == basic("user:other")
    assert header(b"Basic !!!", b"authorization") == b"Basic !!!"


@pytest.mark.parametrize(
    "host",
    ["example.org", "www.example.org", "evilapi.example.org", "example.net", "api.example.org.evil.com"],
)
def test_other_hosts_get_the_placeholder(host: str) -> None:
    assert header(MARK.encode(), host=host) == MARK.encode()
    assert not VAULT.opens(Place(host, 443))


def test_only_tls_on_its_port_is_opened() -> None:
    assert VAULT.opens(Place("api.example.org", 443))
    assert not VAULT.opens(Place("api.example.org", 80))
    assert not VAULT.opens(Place("api.example.org", 8443))


@pytest.mark.parametrize(
    ("mark", "value", "hosts"),
    [
        ("short", VALUE, ("a.org",)),
        ("with space in it", VALUE, ("a.org",)),
        (MARK, "", ("a.org",)),
        (MARK, "line\r\nX: y", ("a.org",)),
        (MARK, "nul\0", ("a.org",)),
        (MARK, "ümlaut", ("a.org",)),
        (MARK, "x" * 8193, ("a.org",)),
        (MARK, VALUE, ("a.org:443",)),
        (MARK, VALUE, ("1.2.3.4",)),
        (MARK, VALUE, ("*",)),
        (MARK, VALUE, ("*.org",)),
    ],
)
def test_what_cannot_be_used_is_refused_without_repeating_the_value(
    mark: str, value: str, hosts: tuple[str, ...]
) -> None:
    with pytest.raises(BadHost) as caught:
        make_secret(mark, value, hosts)
    assert VALUE not in str(caught.value)
    assert VALUE not in repr(VAULT)


def test_there_are_not_too_many() -> None:
    with pytest.raises(BadHost, match="at most 32"):
        Vault(VAULT.secrets * (MAX_SECRETS + 1))


@given(st.text(st.characters(codec="ascii"), max_size=60), st.text("abc.-*", max_size=20))
def test_a_request_without_the_placeholder_is_never_changed(text: str, host: str) -> None:
    raw = text.encode()
    assert VAULT.fill(host, raw, [(b"authorization", raw)]) == (raw, [(b"authorization", raw)])
