"""What this host's pip, uv and npm are configured for, put together into one `HostIndexes`.

Read once, as the user who starts Tidepool and before privileges are dropped; the value goes to the egress
process through a pipe. Nothing here connects anywhere.
"""

import netrc
import os
import sys
from pathlib import Path

import msgspec

from tidepool.egress import npm_config, pip_config, uv_config
from tidepool.egress.destination import parse_url
from tidepool.egress.indexes import PUBLIC_PYTHON_INDEX, Found, Host, HostIndexes, Index, basic, make_index


def this_host() -> Host:
    """The running process's own view."""
    env = dict(os.environ)
    return Host(env=env, home=Path(env.get("HOME") or "~").expanduser(), prefix=Path(sys.prefix))


def read_host(host: Host | None = None) -> HostIndexes:
    """What pip, uv and npm on this host would use; the public indexes where nothing is configured."""
    host = host or this_host()
    pip, uv = pip_config.read(host), uv_config.read(host)
    notes = [*pip.notes, *uv.notes]
    if any(host.env.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")):
        notes.append("the environment names an HTTP proxy; it is not used, indexes are reached directly")
    python = tuple(_with_netrc(index, host, notes) for index in _python(pip, uv, notes))
    npm = npm_config.read(host, notes)
    return HostIndexes(python=python, npm=npm, merge=uv.merge, ignored=tuple(dict.fromkeys(notes)))


def _python(pip: Found, uv: Found, notes: list[str]) -> tuple[Index, ...]:
    default, ca = uv.default, uv.ca or pip.ca
    if default is None and not uv.no_default:
        default = pip.default
        if default is None and not pip.no_default:
            default = PUBLIC_PYTHON_INDEX or None
    wanted = [(text, "an extra Python index") for text in [*uv.extra, *pip.extra]]
    if default is not None:
        wanted.append((default, "the default Python index"))
    made = [make_index(text, what, notes, ca) for text, what in wanted]
    unique: dict[str, Index] = {}
    for index in made:
        if index is not None:
            unique.setdefault(index.url, index)
    return tuple(unique.values())


def _with_netrc(index: Index, host: Host, notes: list[str]) -> Index:
    path = Path(host.env.get("NETRC") or host.home / ".netrc")
    if index.authorization is not None or host.read(path) is None:
        return index
    try:
        entry = netrc.netrc(str(path)).hosts.get(parse_url(index.url).origin.host)
    except netrc.NetrcParseError:
        notes.append("the netrc file cannot be parsed; it is not used")
        return index
    return msgspec.structs.replace(index, authorization=basic(entry[0], entry[2])) if entry else index
