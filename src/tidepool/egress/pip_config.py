"""Reads what pip on this host is configured for: environment over site, user and system files, as pip itself does.

Only what names an index or its certificates is looked at. Nothing here connects anywhere.
"""

import configparser
import os
from pathlib import Path

from tidepool.egress.indexes import Found, Host

_SECTIONS = ("global", "download", "install")  # later ones win, as in pip


def read(host: Host) -> Found:
    """pip's settings, merged by pip's own precedence."""
    settings = _settings(host)
    found = Found(default=settings.get("index-url"), extra=settings.get("extra-index-url", "").split())
    found.no_default = settings.get("no-index", "").lower() in ("1", "true", "yes", "on")
    if found.no_default:
        found.default, found.extra = None, []
    found.ca = host.certificates(_ca_path(settings, host), found.notes)
    for key, sentence in _IGNORED.items():
        if settings.get(key):
            found.notes.append(sentence)
    return found


_IGNORED = {
    "find-links": "pip's find-links stays outside the sandbox",
    "proxy": "pip's proxy setting is not used",
    "client-cert": "pip's client certificate is not used",
    "trusted-host": "pip's trusted-host is not honoured: certificates are always verified",
}


def _ca_path(settings: dict[str, str], host: Host) -> str | None:
    cert = settings.get("cert") or host.env.get("REQUESTS_CA_BUNDLE") or host.env.get("CURL_CA_BUNDLE")
    return os.path.expanduser(cert) if cert else None


def _settings(host: Host) -> dict[str, str]:
    settings: dict[str, str] = {}
    for path in _files(host):
        text = host.read(path)
        if text is not None:
            settings.update(_parse(text))
    for key, value in host.env.items():
        if key.startswith("PIP_") and value:
            settings[key[4:].lower().replace("_", "-")] = value
    return settings


def _files(host: Host) -> list[Path]:
    only = host.env.get("PIP_CONFIG_FILE")
    if only == os.devnull:
        return []
    shared = [Path(base) for base in host.env.get("XDG_CONFIG_DIRS", "").split(":") if base]
    personal = Path(host.env.get("XDG_CONFIG_HOME") or host.home / ".config")
    site = Path(host.env.get("VIRTUAL_ENV") or host.prefix)
    files = [base / "pip/pip.conf" for base in shared or [host.root / "etc/xdg"]]
    files += [host.root / "etc/pip.conf", host.home / ".pip/pip.conf", personal / "pip/pip.conf"]
    files += [host.prefix / "pip.conf", site / "pip.conf"]
    return files + ([Path(only)] if only else [])


def _parse(text: str) -> dict[str, str]:
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(text)
    except configparser.Error:
        return {}
    settings: dict[str, str] = {}
    for section in _SECTIONS:
        if parser.has_section(section):
            settings.update({key.replace("_", "-"): value for key, value in parser.items(section)})
    return settings
