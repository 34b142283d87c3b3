"""Reads what npm on this host is configured for: environment over the user's and the global npmrc.

Only registries, their tokens and certificates are looked at. Nothing here connects anywhere.
"""

import re
from base64 import b64decode
from pathlib import Path

import msgspec

from tidepool.egress.indexes import PUBLIC_NPM_REGISTRY, Host, Index, basic, make_index

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def read(host: Host, notes: list[str]) -> tuple[Index, ...]:
    """npm's registries: those bound to a scope first, the default one last."""
    settings = _settings(host)
    ca = host.certificates(settings.get("cafile") or host.env.get("NODE_EXTRA_CA_CERTS"), notes)
    if settings.get("strict-ssl") == "false":
        notes.append("npm's strict-ssl=false is not honoured: certificates are always verified")
    if settings.get("proxy") or settings.get("https-proxy"):
        notes.append("npm's proxy setting is not used")
    wanted = [
        (url, key[: -len(":registry")])
        for key, url in settings.items()
        if re.match(r"@[^:]+:registry\Z", key)
    ]
    registries = []
    for url, scope in [*wanted, (settings.get("registry", PUBLIC_NPM_REGISTRY), None)]:
        index = make_index(url, "an npm registry", notes, ca) if url else None
        if index is not None:
            token = index.authorization or _authorization(index.url, settings, notes)
            registries.append(msgspec.structs.replace(index, scope=scope, authorization=token))
    return tuple(registries)


def _settings(host: Host) -> dict[str, str]:
    prefixes = [host.root / "etc", host.root / "usr/etc", host.root / "usr/local/etc"]
    personal = Path(_from_env(host, "userconfig") or host.home / ".npmrc")
    settings: dict[str, str] = {}
    for path in [*(prefix / "npmrc" for prefix in prefixes), personal]:
        text = host.read(path)
        if text is not None:
            settings.update(_parse(text, host))
    for key in ("registry", "cafile", "strict-ssl", "proxy", "https-proxy"):
        value = _from_env(host, key)
        if value:
            settings[key] = value
    return settings


def _from_env(host: Host, key: str) -> str | None:
    wanted = "npm_config_" + key.replace("-", "_")
    return next((value for name, value in host.env.items() if name.lower() == wanted and value), None)


def _parse(text: str, host: Host) -> dict[str, str]:
    settings = {}
    for line in text.splitlines():
        key, equals, value = line.strip().partition("=")
        if equals and not key.startswith((";", "#", "[")):
            value = value.strip().strip("\"'")
            settings[key.strip()] = _VARIABLE.sub(lambda match: host.env.get(match[1], ""), value)
    return settings


def _authorization(url: str, settings: dict[str, str], notes: list[str]) -> str | None:
    """The header for a registry: npm looks for `//host/path/:_authToken`, then for the path's parents."""
    place = url.partition(":")[2] + "/"
    while len(place) > 2:
        found = _credentials(place, settings, notes)
        if found:
            return found
        place = place.rstrip("/").rpartition("/")[0] + "/"
    return None


def _credentials(place: str, settings: dict[str, str], notes: list[str]) -> str | None:
    def field(name: str) -> str:
        return settings.get(f"{place}:{name}", "") or settings.get(f"{place.rstrip('/')}:{name}", "")

    if field("_authToken"):
        return "Bearer " + field("_authToken")
    if field("_auth"):
        return "Basic " + field("_auth")
    if field("username") and field("_password"):
        try:
            return basic(field("username"), b64decode(field("_password"), validate=True).decode("utf-8"))
        except ValueError:
            notes.append("an npm _password is not base64 text; it is not used")
    return None
