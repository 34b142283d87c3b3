"""Control API: network and secrets of a sandbox, changed while it runs (protocol sections 5.1 and 5.6)."""

from collections.abc import Iterable, Set

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tidepool.egress.policy import BadHost
from tidepool.egress.vault import make_secret
from tidepool.engine import Sandbox
from tidepool.engine.errors import InvalidSpec
from tidepool.engine.network import CHANGEABLE
from tidepool.engine.spec import Secret, Secrets
from tidepool.server import networks
from tidepool.server.answers import json_answer, read_json
from tidepool.server.routes import (
    config_of,
    described,
    engine_of,
    registry_of,
    sandbox_of,
    tenant_of,
)
from tidepool.server.vault import Vault
from tidepool.wire import paths
from tidepool.wire import sandbox as wire


async def set_network(request: Request) -> Response:
    """`POST /sandbox/{sandbox}/network-settings`: at once; connections that it forbids are cut."""
    sandbox = sandbox_of(request)
    asked = await read_json(request, wire.NetworkSettings)
    fields = networks.changed(sandbox.spec, asked, config_of(request).default_network)
    await engine_of(request).set_network(sandbox, fields["network"], fields["network_allow"])
    return await _changed(request, sandbox)


async def set_secrets(request: Request) -> Response:
    """`PUT /sandbox/{sandbox}/secrets`: replaces all; runs that begin later have the new placeholders."""
    sandbox = sandbox_of(request)
    asked = await read_json(request, wire.SandboxSecrets)
    spec, secrets = sandbox.spec, await bound(request, asked.secrets)
    await engine_of(request).set_network(sandbox, spec.network, spec.network_allow, secrets)
    return await _changed(request, sandbox)


async def bound(request: Request, asked: Iterable[dict[str, str]]) -> Secrets:
    """Secrets by the environment variable they are asked for, with values and hosts as they are now.

    Raises:
        NotFound: The tenant has none of this name.
        InvalidSpec: A variable is there twice.
    """
    pairs = [pair for entry in asked for pair in entry.items()]
    if len({name for name, _ in pairs}) < len(pairs):
        raise InvalidSpec("secrets: an environment variable is there twice")
    vault: Vault = request.app.state.vault
    tenant, found = tenant_of(request), {}
    values = await vault.secrets_of(tenant, {name for _, name in pairs})
    for variable, name in pairs:
        value, hosts = values[name]
        found[variable] = Secret(value, hosts, (await vault.get(tenant, name)).placeholder, name)
    return found


def check_usable(value: str | None, hosts: Iterable[str] | None) -> None:
    """Refuse a secret that the proxy could not use; None is what is not given.

    Raises:
        InvalidSpec: The sentence does not repeat the value.
    """
    try:
        make_secret("placeholder", value or "value", tuple(hosts or ()))
    except BadHost as error:
        raise InvalidSpec(f"this secret cannot be used: {error}") from None


async def renew_secrets(request: Request, sandbox: Sandbox) -> None:
    """Give a sandbox that is about to start its secrets as they are now: no record of a sandbox has their values."""
    if sandbox.spec.secrets:
        spec = sandbox.spec
        secrets = await bound(request, [{name: one.name} for name, one in spec.secrets.items()])
        await engine_of(request).set_network(sandbox, spec.network, spec.network_allow, secrets)


async def pass_on(request: Request, names: Set[str], is_gone: bool = False) -> None:
    """Let sandboxes of the tenant that have a secret of one of these names use its new value, or none if it is gone."""
    for sandbox in engine_of(request).list(tenant_of(request)):
        spec = sandbox.spec
        has = {variable: one.name for variable, one in spec.secrets.items()}
        if names.isdisjoint(has.values()) or sandbox.state not in CHANGEABLE:
            continue
        kept = [{variable: name} for variable, name in has.items() if not (is_gone and name in names)]
        await engine_of(request).set_network(
            sandbox, spec.network, spec.network_allow, await bound(request, kept)
        )
        await registry_of(request).save(sandbox)


async def _changed(request: Request, sandbox: Sandbox) -> Response:
    await registry_of(request).save(sandbox)
    return json_answer(described(request, sandbox))


routes = [
    Route(paths.NETWORK_SETTINGS, set_network, methods=["POST"]),
    Route(paths.SANDBOX_SECRETS, set_secrets, methods=["PUT"]),
]
