"""What a sandbox may reach: its policy as a value, hosts in one canonical form, and the addresses nobody may reach.

Pure: nothing is resolved or dialled here. A host that exists as a `Place` has one spelling, so that no two readers can
mean different servers by it; what the text says otherwise is refused, never repaired.
"""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from tidepool.egress.destination import Address, is_public

Kind = Literal["none", "packages", "allow", "all"]
Grant = Literal["name", "address", "any"]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_ENTRIES = 100
"""Of an allow-list."""
PACKAGES = "packages"
"""The entry of an allow-list that adds the package mirror to it."""
WEB_PORTS = (80, 443)
"""What an entry without a port means."""

_NAME = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*\Z")
_NUMBER = re.compile(r"([0-9]+|0x[0-9a-f]*)\Z")
_PORT = re.compile(r"[1-9][0-9]{0,4}\Z")
_FOREIGN_DOTS = "\u3002\uff0e\uff61"
_MAX_HOST = 253


class BadHost(ValueError):
    """The text is no host, address or entry in a form that is taken; the message says why."""


@dataclass(frozen=True)
class Place:
    """A server: canonical host (a name in lower case and A-labels, or an address) and port."""

    host: str
    port: int

    @property
    def address(self) -> Address | None:
        """The host as an address; None for a name."""
        try:
            return ipaddress.ip_address(self.host)
        except ValueError:
            return None

    @property
    def authority(self) -> str:
        """`host:port`, an IPv6 address in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def canonical_host(text: str) -> str:
    """The one spelling of a host; an IPv6 address comes and goes without brackets.

    Raises:
        BadHost: Not a name or address in its usual form.
    """
    if not 0 < len(text) <= 4 * _MAX_HOST:
        raise BadHost("the host is empty or too long")
    if ":" in text:
        return _ipv6(text)
    name = text.lower() if text.isascii() else _a_labels(text)
    name = name.removesuffix(".")
    if len(name) > _MAX_HOST or not _NAME.match(name):
        raise BadHost("the host is not a host name or address in the usual form")
    # Whatever ends in a number is an address to some resolver: only the dotted quad is one to all of them.
    if _NUMBER.match(name.rpartition(".")[2]):
        return _ipv4(name)
    return name


def _ipv4(text: str) -> str:
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError:
        raise BadHost("an IPv4 address is four decimal numbers, without leading zeros") from None


def _ipv6(text: str) -> str:
    if "%" in text:
        raise BadHost("an address with a zone is of this host only")
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        raise BadHost("the host is not an IPv6 address") from None
    if address.ipv4_mapped is not None:
        raise BadHost("an IPv4 address is not written as an IPv6 address")
    return str(address)


def _a_labels(text: str) -> str:
    import idna  # tables of a quarter of a megabyte, for names that are rare

    try:
        if any(dot in text for dot in _FOREIGN_DOTS):
            raise UnicodeError
        return idna.encode(text.lower(), std3_rules=True).decode("ascii")
    except (idna.IDNAError, UnicodeError):
        raise BadHost("the host is no valid international name") from None


def parse_place(text: str, default_port: int | None = None) -> Place:
    """`host:port`, an IPv6 address in brackets; the port may be left out where there is a default.

    Raises:
        BadHost: Anything else, userinfo included.
    """
    if "@" in text:
        raise BadHost("the host carries credentials")
    host, port = _split_port(text)
    if port is None and default_port is None:
        raise BadHost("the port is missing")
    is_address = host.startswith("[")
    if is_address != host.endswith("]") or is_address != (":" in host):
        raise BadHost("brackets are for IPv6 addresses, and those need them")
    number = default_port if port is None else _port(port)
    assert number is not None
    return Place(canonical_host(host[1:-1] if is_address else host), number)


def _split_port(text: str) -> tuple[str, str | None]:
    host, colon, port = text.rpartition(":")
    if not colon or port.endswith("]"):
        return text, None
    return host, port


def _port(text: str) -> int:
    if not _PORT.match(text) or int(text) > 65535:
        raise BadHost("the port is not a number from 1 to 65535")
    return int(text)


@dataclass(frozen=True)
class HostRule:
    """An entry of an allow-list that names hosts."""

    name: str
    below: bool = False
    """`*.name`: every name below it, at any depth, and not itself."""
    port: int | None = None
    """None: those of the web, 80 and 443."""

    def names(self, host: str) -> bool:
        """Whether it names a canonical host. Label by label: `evilname` is not below `name`."""
        return host.endswith("." + self.name) if self.below else host == self.name

    def matches(self, place: Place) -> bool:
        """Whether it allows a place."""
        return self.names(place.host) and (
            place.port in WEB_PORTS if self.port is None else place.port == self.port
        )


def parse_host_rule(text: str) -> HostRule:
    """`name`, `*.name`, each with an optional `:port`.

    Raises:
        BadHost: Anything else; an address too.
    """
    host, port = _split_port(text)
    below = host.startswith("*.")
    rule = HostRule(canonical_host(host[2:] if below else host), below, _port(port) if port else None)
    if port == "" or Place(rule.name, 1).address is not None:
        raise BadHost("it is not a host name, or a port is missing after the colon")
    if below and "." not in rule.name:
        raise BadHost("a wildcard needs a name of at least two labels")
    return rule


@dataclass(frozen=True)
class Policy:
    """What one sandbox may reach. An allow-list that is empty allows nothing."""

    kind: Kind = "none"
    hosts: tuple[HostRule, ...] = ()
    networks: tuple[Network, ...] = ()
    mirror: bool = False
    """Whether an allow-list has the entry `packages`."""

    @property
    def packages(self) -> bool:
        """Whether the package mirror answers."""
        return self.kind in ("packages", "all") or self.mirror

    @property
    def forwards(self) -> bool:
        """Whether requests to other servers are judged one by one; otherwise all are refused."""
        return self.kind in ("allow", "all")

    def judge(self, place: Place) -> Grant | None:
        """Why a place may be asked for; None when it may not. Its addresses are judged by `covers` and `may_dial`.

        `name`: the list names the host, so that what is said inside must name it too. `address`: it is an address on
        the list. `any`: hosts make no difference.
        """
        if self.kind == "all":
            return "any"
        if self.kind != "allow":
            return None
        address = place.address
        if address is not None:
            return "address" if self._on_list(address) else None
        if any(rule.matches(place) for rule in self.hosts):
            return "name"
        # A name that is not listed is not even resolved: a question to a resolver carries data out. Only where every
        # address is listed nothing is lost by it.
        return "any" if any(network.prefixlen == 0 for network in self.networks) else None

    def covers(self, grant: Grant, address: Address) -> bool:
        """Whether an address that a granted place was found to have may be dialled under this policy."""
        return self.kind == "all" or grant == "name" or self._on_list(address)

    def _on_list(self, address: Address) -> bool:
        return any(address in network for network in self.networks if network.version == address.version)


def parse_policy(kind: Kind, allow: Iterable[str] = ()) -> Policy:
    """A policy; `allow` is for kind `allow` only: names, `*.names`, addresses, networks, and the word `packages`.

    Raises:
        BadHost: An entry is none of these, or there are too many; the message repeats it.
    """
    entries = [entry.strip() for entry in allow]
    if kind != "allow":
        if entries:
            raise BadHost(f"a list of what is allowed goes with the policy allow, not with {kind}")
        return Policy(kind)
    if len(entries) > MAX_ENTRIES:
        raise BadHost(f"the allow-list has {len(entries)} entries; at most {MAX_ENTRIES} are taken")
    hosts: list[HostRule] = []
    networks: list[Network] = []
    for entry in entries:
        if entry == PACKAGES:
            continue
        try:
            network = _network(entry)
            hosts += [] if network else [parse_host_rule(entry)]
        except BadHost as error:
            raise BadHost(f"the allow-list's entry {entry[:80]!r} cannot be taken: {error}") from None
        networks += [network] if network else []
    return Policy("allow", tuple(hosts), tuple(networks), PACKAGES in entries)


def _network(entry: str) -> Network | None:
    """An address or network; None for what may be a name."""
    if "/" in entry:
        return parse_network(entry)
    try:
        host = canonical_host(entry)
        return ipaddress.ip_network(ipaddress.ip_address(host))
    except BadHost:
        if entry.count(":") > 1 or not entry.isascii():
            raise
        return None
    except ValueError:
        return None


def parse_network(text: str) -> Network:
    """A network in CIDR form; bits behind the prefix are dropped, as routers do.

    Raises:
        BadHost: It is none.
    """
    address, slash, prefix = text.partition("/")
    host = canonical_host(address)
    if not slash or not prefix.isdecimal() or not prefix.isascii() or Place(host, 1).address is None:
        raise BadHost("a network is an address, a slash and a number of bits")
    try:
        return ipaddress.ip_network(f"{host}/{prefix}", strict=False)
    except ValueError:
        raise BadHost("the number of bits is out of range") from None


def may_dial(text: str) -> bool:
    """Whether an address may be connected to without the operator's word, whatever a policy says: only public ones.

    Args:
        text: As a resolver or `Place.host` has it.
    """
    address = _plain(text)
    return address is not None and is_public(str(address))


def is_opened(text: str, opened: Iterable[Network]) -> bool:
    """Whether an address is in a network that the operator of this host opens to sandboxes."""
    address = _plain(text)
    return address is not None and any(
        address in network for network in opened if network.version == address.version
    )


def _plain(text: str) -> Address | None:
    """An address; None for one that stands for another or is of one link only."""
    if "%" in text:
        return None
    address = ipaddress.ip_address(text)
    mapped = isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None
    return None if mapped else address
