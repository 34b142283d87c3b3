"""Reads what uv on this host is configured for: environment over the user's and the system's uv.toml.

Project files are not read: they belong to the code, not to the host. Nothing here connects anywhere.
"""

import re
import tomllib
from pathlib import Path
from typing import Any

from tidepool.egress.indexes import Found, Host

_NAMED = re.compile(r"([A-Za-z0-9._-]+)=(.+)\Z", re.DOTALL)


def read(host: Host) -> Found:
    """uv's settings, merged by uv's own precedence."""
    found = Found()
    for table in _tables(host, found.notes):  # the nearer file first
        _take_table(table, found, host)
    env = host.env
    found.default = env.get("UV_DEFAULT_INDEX") or env.get("UV_INDEX_URL") or found.default
    found.default = _with_credentials(found.default, host) if found.default else None
    nearer = [*env.get("UV_INDEX", "").split(), *env.get("UV_EXTRA_INDEX_URL", "").split()]
    found.extra = [_with_credentials(text, host) for text in nearer] + found.extra
    strategy = env.get("UV_INDEX_STRATEGY")
    found.merge = strategy.startswith("unsafe-") if strategy else found.merge
    if env.get("UV_NO_INDEX") in ("1", "true"):
        found.default, found.extra, found.no_default = None, [], True
    if env.get("UV_FIND_LINKS"):
        found.notes.append("uv's find-links stays outside the sandbox")
    found.ca = host.certificates(env.get("SSL_CERT_FILE"), found.notes)
    return found


def _tables(host: Host, notes: list[str]) -> list[dict[str, Any]]:
    tables = []
    for path in _files(host):
        text = host.read(path)
        if text is None:
            continue
        try:
            tables.append(tomllib.loads(text))
        except tomllib.TOMLDecodeError:
            notes.append("a uv.toml cannot be parsed; it is not used")
    return tables


def _files(host: Host) -> list[Path]:
    env = host.env
    if env.get("UV_NO_CONFIG") in ("1", "true"):
        return []
    if env.get("UV_CONFIG_FILE"):
        return [Path(env["UV_CONFIG_FILE"])]
    personal = Path(env.get("XDG_CONFIG_HOME") or host.home / ".config")
    return [personal / "uv/uv.toml", host.root / "etc/uv/uv.toml"]


def _take_table(table: dict[str, Any], found: Found, host: Host) -> None:
    for part in (table, table.get("pip", {})):
        for entry in part.get("index", ()):
            _take_entry(entry, found, host)
        found.default = found.default or part.get("index-url")
        found.extra += [str(url) for url in part.get("extra-index-url", ())]
        found.merge = found.merge or str(part.get("index-strategy", "")).startswith("unsafe-")
        found.no_default = found.no_default or part.get("no-index") is True
        if part.get("find-links"):
            found.notes.append("uv's find-links stays outside the sandbox")
    if found.no_default:
        found.default, found.extra = None, []


def _take_entry(entry: dict[str, Any], found: Found, host: Host) -> None:
    url, name = str(entry.get("url", "")), str(entry.get("name", ""))
    if entry.get("format") == "flat":
        found.notes.append("a flat uv index stays outside the sandbox")
    elif entry.get("explicit"):
        found.notes.append("an explicit uv index is not used: it serves only projects that name it")
    elif entry.get("default"):
        found.default = found.default or _with_credentials(f"{name}={url}" if name else url, host)
    elif url:
        found.extra.append(_with_credentials(f"{name}={url}" if name else url, host))


def _with_credentials(text: str, host: Host) -> str:
    """`name=url` or a URL, with `UV_INDEX_<NAME>_USERNAME` and `_PASSWORD` put into it."""
    named = _NAMED.match(text)
    if named is None or "://" in named[1]:
        return text
    name, url = named[1], named[2]
    key = "UV_INDEX_" + re.sub(r"[^A-Za-z0-9]", "_", name).upper()
    user, password = host.env.get(key + "_USERNAME", ""), host.env.get(key + "_PASSWORD", "")
    scheme, mark, rest = url.partition("://")
    if not (user or password) or not mark:
        return url
    from urllib.parse import quote

    return f"{scheme}://{quote(user, safe='')}:{quote(password, safe='')}@{rest}"
