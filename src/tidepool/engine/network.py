"""The network of sandboxes, from the engine's side: who is served, and what programs inside are told.

Rules are in force before anything can be sent: a sandbox's listening socket appears with its rights. Programs find the
proxy by the usual variables; a program that ignores them reaches nothing.
"""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from tidepool.engine.channel import Channel
from tidepool.engine.egress import Egress
from tidepool.engine.errors import Conflict, Refused, SetupFailed, TidepoolError, WrongState
from tidepool.engine.files import Files
from tidepool.engine.lifecycle import State
from tidepool.engine.pool import PROXY_PORT, Warm
from tidepool.engine.sandbox import Sandbox
from tidepool.engine.spec import Network, SandboxSpec, Secrets

AUTHORITY = "/etc/tidepool/authority.pem"
"""Inside: the certificate of the authority that vouches for hosts that secrets are bound to."""
BUNDLE = "/etc/tidepool/ca-bundle.pem"
"""Inside: the same, and all that the image trusts."""
_BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")
log = logging.getLogger("tidepool.engine")

_NOT_PROXIED = "localhost,127.0.0.1,::1"

CHANGEABLE = (State.STARTED, State.STOPPED, State.ARCHIVED, State.ERROR)
"""States in which a sandbox can be given another network."""

Listen = Callable[[int, int], Awaitable[socket.socket]]


class Networks:
    """Gives sandboxes their network and takes it away.

    Args:
        egress: The process that serves them.
        listen: Makes a listening socket inside the box of a slot, at a port of its loopback.
    """

    def __init__(self, egress: Egress, listen: Listen) -> None:
        self._egress = egress
        self._listen = listen
        self._changing: dict[str, asyncio.Lock] = {}
        self._beginning: dict[str, asyncio.Task[None]] = {}
        """Boxes that were given a parked listener and are about to be served on it."""

    async def give(self, number: str, spec: SandboxSpec, warm: Warm) -> dict[str, str]:
        """Serve a new box as its spec says; returns the variables its programs need.

        Raises:
            InvalidSpec: The allow-list or a secret cannot be taken.
            Conflict: Something inside has taken the proxy's port.
            SetupFailed: The egress process refused, or is gone.
        """
        await self._stop(number)  # a former box of this sandbox may have died without being taken away
        if spec.network != "none":
            self._egress.need()
        listener = warm.take_listener()
        if listener is not None and _cannot_be_refused(spec):
            begun = asyncio.get_running_loop().create_task(self._begin(number, listener, spec))
            self._beginning[number] = begun
            return environment(PROXY_PORT, spec)
        if listener is not None:
            listener.close()
        return await self._apply(number, spec, warm)

    def when_renewed(self, act: Callable[[], None]) -> None:
        """Have something done when a new egress process has taken the place of a dead one."""
        self._egress.on_renewal = act

    async def serve_again(self, sandbox: Sandbox, warm: Warm) -> None:
        """Serve a running sandbox whose listening socket has ended with the egress process; a failure is logged."""
        try:
            async with self._changing.setdefault(sandbox.id, asyncio.Lock()):
                await sandbox.set_env(await self._apply(sandbox.id, sandbox.spec, warm))
        except TidepoolError as error:
            log.error("sandbox %s has no network any more: %s", sandbox.id, error)

    async def _begin(self, number: str, listener: socket.socket, spec: SandboxSpec) -> None:
        """Serve without anybody waiting: until then connections inside wait, and reach nothing."""
        try:
            with listener:
                await self._egress.serve(number, listener, spec)
        except TidepoolError as error:
            log.error("sandbox %s has no network: %s", number, error)
        finally:
            self._beginning.pop(number, None)

    async def _begun(self, number: str) -> None:
        if (task := self._beginning.get(number)) is not None:
            await asyncio.wait([task])

    async def _stop(self, number: str) -> None:
        await self._begun(number)
        await self._egress.stop(number)

    async def _apply(self, number: str, spec: SandboxSpec, warm: Warm) -> dict[str, str]:
        await self._begun(number)
        if spec.network == "none" and not self._egress.serves(number):
            return {}
        if self._egress.serves(number):
            authority = await self._egress.change(number, spec)
        else:
            with await self._listener(warm) as listener:
                authority = await self._egress.serve(number, listener, spec)
        env = environment(PROXY_PORT, spec)
        return env | await install_authority(warm.channel, authority) if spec.secrets and authority else env

    async def take(self, number: str) -> None:
        """Cut a sandbox off for good; nothing happens when it is not served."""
        self._changing.pop(number, None)
        await self._stop(number)

    async def change(
        self,
        sandbox: Sandbox,
        warm: Warm | None,
        network: Network,
        allow: Sequence[str] = (),
        secrets: Secrets | None = None,
    ) -> None:
        """Other rights for a sandbox, at once when it runs, else from its next start on; secrets stay when None.

        Raises:
            WrongState: It is being made or taken away.
            Conflict, InvalidSpec, SetupFailed: As `give`; its rights are as before.
        """
        if sandbox.state not in CHANGEABLE:
            raise WrongState(
                f"sandbox {sandbox.name} is {sandbox.state.value}; its network cannot be changed"
            )
        async with self._changing.setdefault(sandbox.id, asyncio.Lock()):
            kept = sandbox.spec.secrets if secrets is None else secrets
            spec = replace(sandbox.spec, network=network, network_allow=tuple(allow), secrets=kept)
            if warm is not None:
                env = await self._apply(sandbox.id, spec, warm)
                sandbox.spec = spec
                await sandbox.set_env(env)
            sandbox.spec = spec

    async def _listener(self, warm: Warm) -> socket.socket:
        try:
            return await self._listen(warm.box.slot, PROXY_PORT)
        except SetupFailed as error:
            if "in use" in str(error):
                raise Conflict(
                    f"a program in the sandbox listens on port {PROXY_PORT}, where its proxy would be; end it first"
                ) from None
            raise


def _cannot_be_refused(spec: SandboxSpec) -> bool:
    """Whether there is nothing in it that could be wrong, and nothing to be learned from the answer."""
    return spec.network != "none" and not spec.network_allow and not spec.secrets


def environment(port: int, spec: SandboxSpec) -> dict[str, str]:
    """Variables that make programs inside use the proxy on their loopback, and placeholders of secrets."""
    place = f"http://127.0.0.1:{port}"
    found = {name: secret.placeholder for name, secret in spec.secrets.items()}
    if spec.network == "packages" or spec.network == "all" or "packages" in spec.network_allow:
        found |= {
            "PIP_INDEX_URL": f"{place}/simple/",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "UV_DEFAULT_INDEX": f"{place}/simple/",
            "npm_config_registry": f"{place}/npm/",
            "npm_config_audit": "false",
            "npm_config_fund": "false",
            "npm_config_update_notifier": "false",
        }
    if spec.network in ("allow", "all"):
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            found[name] = found[name.lower()] = place
        found["NO_PROXY"] = found["no_proxy"] = _NOT_PROXIED
        found["NODE_USE_ENV_PROXY"] = "1"
    return found


async def install_authority(channel: Channel, certificate: str) -> dict[str, str]:
    """Put an authority's certificate where programs inside trust it; returns the variables that say so.

    Raises:
        SetupFailed: The files cannot be written there.
    """
    files = Files(channel, 0, "/")
    try:
        await files.write(AUTHORITY, certificate.encode())
        await files.write(BUNDLE, await _trusted(files) + certificate.encode())
    except Refused as error:
        raise SetupFailed(f"the authority for secrets cannot be put into the sandbox: {error}") from None
    names = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "PIP_CERT")
    return dict.fromkeys(names, BUNDLE) | {"NODE_EXTRA_CA_CERTS": AUTHORITY}


async def _trusted(files: Files) -> bytes:
    """What the image trusts. It is the sandbox's own file and goes back into the sandbox only."""
    for path in _BUNDLES:
        try:
            return await files.read(path) + b"\n"
        except Refused:
            continue
    return b""
