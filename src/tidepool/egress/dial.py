"""From a place to a connection: a name is resolved once, every address of it is checked, and those are dialled.

The address that was checked is the address that is connected to; nothing resolves the name again.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from tidepool.egress.policy import Grant, Network, Place, Policy, is_opened, may_dial
from tidepool.egress.refusal import Refusal
from tidepool.egress.stream import Plain

RESOLVE_TIMEOUT_S = 10.0
CONNECT_TIMEOUT_S = 10.0
MAX_ADDRESSES = 8
"""Of one name that are tried."""

Resolve = Callable[[str], Awaitable[list[str]]]


@dataclass(frozen=True)
class Outside:
    """What the operator of this host has said about its networks; never a sandbox's to say."""

    opened: tuple[Network, ...] = ()
    """Networks that are not public and may be reached all the same, where a sandbox's policy allows it."""
    hosts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Addresses of names, instead of what a resolver says."""


class Dialer:
    """Connects to places that a policy has granted."""

    def __init__(self, outside: Outside, resolve: Resolve | None = None) -> None:
        self._outside = outside
        self._resolve = resolve or look_up

    async def dial(self, place: Place, policy: Policy, grant: Grant) -> Plain:
        """A connection to the first address that answers.

        Raises:
            Refusal: 403 an address of the place is not public or not on the list, 502 it has none or none answers,
                504 that takes too long.
        """
        sock = await _connect(await self.addresses(place, policy, grant), place)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return Plain(sock)

    async def addresses(self, place: Place, policy: Policy, grant: Grant) -> list[str]:
        """A place's addresses, all of them checked.

        Raises:
            Refusal: As `dial`.
        """
        found = [place.host] if place.address is not None else await self._find(place.host)
        if not found:
            raise Refusal(502, f"{place.host} has no address.")
        # One private address among public ones is how rebinding looks: the whole name is refused.
        if not all(self._may_dial(address) for address in found):
            raise Refusal(403, f"{place.host} is not on the public internet; a sandbox cannot reach it.")
        covered = [address for address in found if policy.covers(grant, ipaddress.ip_address(address))]
        if not covered:
            raise Refusal(403, f"No address of {place.host} is in a network that this sandbox may reach.")
        return covered[:MAX_ADDRESSES]

    def _may_dial(self, address: str) -> bool:
        if is_opened(address, self._outside.opened):
            return True
        # A connection to this host's own public address never leaves it: no firewall before the host would see it.
        return may_dial(address) and not is_own(address)

    async def _find(self, host: str) -> list[str]:
        known = self._outside.hosts.get(host)
        if known is not None:
            return list(known)
        try:
            async with asyncio.timeout(RESOLVE_TIMEOUT_S):
                return await self._resolve(host)
        except TimeoutError:
            raise Refusal(504, f"{host} could not be resolved in time.") from None
        except (OSError, UnicodeError):
            raise Refusal(502, f"{host} could not be resolved.") from None


def is_own(address: str) -> bool:
    """Whether an address is one of this host's; nothing is sent to find out."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((address, 9))
        except OSError:
            return False  # there is no way to it
        return str(probe.getsockname()[0]) == address


async def look_up(host: str) -> list[str]:
    """What this host's resolver says."""
    # The dot keeps a resolver from appending its search domains: the name that was judged is the one asked for.
    found = await asyncio.get_running_loop().getaddrinfo(host + ".", None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


async def _connect(addresses: list[str], place: Place) -> socket.socket:
    for address in addresses:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await asyncio.get_running_loop().sock_connect(sock, (address, place.port))
            return sock
        except (OSError, TimeoutError):
            sock.close()
        except BaseException:
            sock.close()
            raise
    raise Refusal(502, f"{place.authority} does not answer.")
