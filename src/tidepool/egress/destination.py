"""Where the proxy may connect: URLs in one canonical form, and which addresses are public.

Pure: nothing is resolved or dialled here. A `Url` that exists is well formed; every later step uses its parts
and never parses the text again, so that no two parsers can disagree about the host.
"""

import ipaddress
import re
from dataclasses import dataclass
from typing import NoReturn
from urllib.parse import urljoin, urlsplit

_PRINTABLE = re.compile(r"[\x21-\x5b\x5d-\x7e]{1,4096}\Z")  # no space, no control byte, no backslash
_LABELS = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*\Z"
)
_DEFAULT_PORTS = {"https": 443, "http": 80}

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Addresses that look public or embed another address: the cloud's own services, NAT64, 6to4, Teredo, documentation.
_NEVER = tuple(
    ipaddress.ip_network(text)
    for text in (
        "168.63.129.16/32",
        "192.0.0.0/24",
        "192.88.99.0/24",
        "3fff::/20",
        "64:ff9b::/96",
        "64:ff9b:1::/48",
        "2002::/16",
        "2001::/32",
        "::/96",
        "fec0::/10",
    )
)


class BadUrl(ValueError):
    """The text is no URL that the proxy would follow; the message says why, without repeating the text."""


@dataclass(frozen=True)
class Origin:
    """Scheme, host (lower case, no trailing dot) and port of a server."""

    scheme: str
    host: str
    port: int

    @property
    def authority(self) -> str:
        """Host and, where it is not the scheme's usual one, port: the value of a Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if _DEFAULT_PORTS[self.scheme] == self.port else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}"


@dataclass(frozen=True)
class Url:
    """An http or https URL without credentials and fragment."""

    origin: Origin
    target: str
    """Path and query, percent-encoded; starts with a slash."""

    def __str__(self) -> str:
        return f"{self.origin}{self.target}"

    def with_suffix(self, suffix: str) -> "Url":
        """The same URL with text added to its path, before the query."""
        path, mark, query = self.target.partition("?")
        return Url(self.origin, path + suffix + mark + query)


def parse_url(text: str) -> Url:
    """The canonical form of an absolute URL; a fragment is dropped.

    Raises:
        BadUrl: Not http(s), credentials in it, a host or port out of grammar, a control byte, too long.
    """
    # urlsplit silently removes tabs and newlines: whatever it would repair is refused before it sees it.
    if not _PRINTABLE.match(text):
        raise BadUrl("the URL has a character that is not allowed, or is longer than 4096")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise BadUrl("the URL's host or port cannot be read") from None
    if parts.scheme not in _DEFAULT_PORTS:
        raise BadUrl("the URL is not http or https")
    if "@" in parts.netloc:
        raise BadUrl("the URL carries credentials")
    if port == 0:
        raise BadUrl("the URL's port is 0")
    name = parts.hostname or ""
    if ("[" in parts.netloc) != (":" in name):
        _bad_host()  # brackets are for IPv6 addresses only, and urlsplit drops them
    origin = Origin(parts.scheme, _host(name), port or _DEFAULT_PORTS[parts.scheme])
    path = parts.path or "/"
    return Url(origin, f"{path}?{parts.query}" if parts.query else path)


def join(base: Url, reference: str) -> Url:
    """The URL that a page at `base` means by `reference`.

    Raises:
        BadUrl: As `parse_url`.
    """
    if not _PRINTABLE.match(reference):
        raise BadUrl("the link has a character that is not allowed, or is longer than 4096")
    try:
        return parse_url(urljoin(str(base), reference))
    except ValueError as error:
        raise error if isinstance(error, BadUrl) else BadUrl("the link cannot be read") from None


def _host(name: str) -> str:
    if ":" in name:
        try:
            return str(ipaddress.IPv6Address(name)) if "%" not in name else _bad_host()
        except ValueError:
            return _bad_host()
    name = name.removesuffix(".")
    return name if _LABELS.match(name) else _bad_host()


def _bad_host() -> NoReturn:
    raise BadUrl("the URL's host is not a host name or address in the usual form")


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the public internet: the only addresses dialled unasked.

    Private, loopback, link-local (metadata), shared, reserved, multicast and embedding addresses are not.
    """
    ip: Address = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    if any(ip in network for network in _NEVER if network.version == ip.version):
        return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_private)
