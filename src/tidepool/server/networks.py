"""Networks between wire and engine: what switches and lists of a request mean together, and those of a sandbox. Pure.

A list that is given and empty allows nothing: a client that clears it must not open everything.
"""

from collections.abc import Iterable
from typing import Any

from tidepool.egress.policy import PACKAGES, BadHost, parse_host_rule, parse_network, parse_policy
from tidepool.engine import SandboxSpec
from tidepool.engine.errors import InvalidSpec
from tidepool.wire.sandbox import CreateSandbox, NetworkSettings

MAX_NETWORKS = 10
"""Of networkAllowList, as clients know it."""


def asked_for(request: CreateSandbox, default: str) -> dict[str, Any]:
    """Fields of a spec for what a create request says about the network.

    Raises:
        InvalidSpec: Two parts contradict each other, or an entry cannot be taken.
    """
    ours, blocked = request.tidepool, bool(request.network_block_all)
    has_lists = request.network_allow_list is not None or request.domain_allow_list is not None
    if blocked and (
        ours.network not in (None, "none") or request.network_allow_list or request.domain_allow_list
    ):
        raise InvalidSpec("networkBlockAll contradicts another network that is asked for; give one of them")
    if has_lists and not blocked:
        if ours.network not in (None, "allow") or ours.network_allow:
            raise InvalidSpec(
                "an allow-list and tidepool's own network settings contradict each other; give one"
            )
        return _allow(request.network_allow_list, request.domain_allow_list)
    if ours.network_allow is not None and ours.network != "allow":
        raise InvalidSpec("a list of what is allowed goes with network allow")
    network = "none" if blocked else ours.network or default
    return _checked(network, ours.network_allow or () if network == "allow" else ())


def changed(spec: SandboxSpec, asked: NetworkSettings, default: str) -> dict[str, Any]:
    """Fields of a spec after a change at run time; what is absent stays.

    Raises:
        InvalidSpec: As `asked_for`.
    """
    networks, domains = asked.network_allow_list, asked.domain_allow_list
    if asked.network_block_all:
        if networks or domains:
            raise InvalidSpec("networkBlockAll contradicts an allow-list; give one of them")
        return _checked("none", ())
    if networks is None and domains is None:
        reopened = asked.network_block_all is False and spec.network == "none"
        return _checked(default if reopened else spec.network, spec.network_allow)
    was_networks, was_domains = lists(spec)
    return _allow(was_networks if networks is None else networks, was_domains if domains is None else domains)


def lists(spec: SandboxSpec) -> tuple[str | None, str | None]:
    """networkAllowList and domainAllowList of a sandbox; None where it has no list."""
    if spec.network != "allow":
        return None, None
    networks = [entry for entry in spec.network_allow if "/" in entry]
    domains = [entry for entry in spec.network_allow if "/" not in entry]
    return ",".join(networks), ",".join(domains)


def _allow(networks: str | None, domains: str | None) -> dict[str, Any]:
    blocks, names = _entries(networks), _entries(domains)
    if len(blocks) > MAX_NETWORKS:
        raise InvalidSpec(f"networkAllowList has {len(blocks)} networks; at most {MAX_NETWORKS} are taken")
    for block in blocks:
        try:
            if parse_network(block).version != 4:
                raise BadHost("it is not IPv4")
        except BadHost as error:
            raise InvalidSpec(
                f"networkAllowList: {block[:80]!r} is not an IPv4 network in CIDR form ({error})"
            ) from None
    for name in names:
        try:
            _ = name == PACKAGES or parse_host_rule(name)
        except BadHost as error:
            raise InvalidSpec(
                f"domainAllowList: {name[:80]!r} is not a host name or *.name ({error})"
            ) from None
    return _checked("allow", (*blocks, *names))


def _entries(text: str | None) -> list[str]:
    return [entry.strip() for entry in (text or "").split(",") if entry.strip()]


def _checked(network: str, allow: Iterable[str]) -> dict[str, Any]:
    """The same as fields of a spec, once the egress process would take it."""
    entries = tuple(allow)
    if network == "allow":
        try:
            parse_policy("allow", entries)
        except BadHost as error:
            raise InvalidSpec(str(error)) from None
    return {"network": network, "network_allow": entries}
