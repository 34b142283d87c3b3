"""How one server is set up; the only place of the server that reads the environment.

The rest gets a frozen `ServerConfig`. A key is never written anywhere but into its own file.
"""

import importlib
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tidepool.egress import policy

MAX_JSON_BYTES = 32 << 20
KEY_VARIABLE = "TIDEPOOL_API_KEY"
DATABASE_VARIABLE = "TIDEPOOL_DATABASE_URL"
REALM_VARIABLE = "TIDEPOOL_REALM"
KEY_FILE = "api_key"
"""In the state directory: the key that was made because none was given."""
DEFAULT_NETWORK = "packages"
FIRST_TENANT = "default"
MOST_SANDBOXES = 10_000
"""A sandbox has two processes of its own at least, and the host 32,768 ids for them unless it was told otherwise."""


@dataclass(frozen=True)
class ServerConfig:
    """Everything a server needs to know, read once."""

    state_dir: Path
    runtime_dir: Path
    api_keys: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Key to tenant. Empty on a Unix socket, where the peer's uid decides."""
    allowed_uids: frozenset[int] = frozenset({0})
    """Who may speak over a Unix socket."""
    idle_s: float | None = None
    """Exit after so long without work; None: never."""
    default_network: str = DEFAULT_NETWORK
    """For sandboxes whose request names none."""
    pool_size: int = 2
    """Warm sandboxes kept per tenant and dependency layer."""
    database: str = field(default="", repr=False)
    """URL of what outlives the server (see `store`); empty: a SQLite file in `records_dir`."""

    registry: str | None = None
    """`https://host[/prefix]` of the registry that images are pulled from (see `images.registry`); None: none is."""
    registry_credentials: str = field(default="", repr=False)
    """`user:password` for it; empty: anonymous."""
    image_archives: Path | None = None
    """A directory with image archives that `FROM oci-archive:NAME` may name; None: there is none."""

    realm: str = ""
    """Tells servers that share a state directory apart: each has its own sandboxes' files and, unless `database` names
    one for both, its own records."""

    preview_domain: str = ""
    """`PORT-ID.DOMAIN` names a port of a sandbox when a client reaches this server by it. It must be a domain that
    is used for nothing else, with a wildcard entry for this host. Empty: previews are by path only."""

    open_networks: tuple[str, ...] = ()
    """Networks (CIDR) that are not public and that sandboxes may reach, where their own policy allows it."""
    hosts: tuple[str, ...] = ()
    """`NAME=ADDRESS`: what sandboxes reach by a name, instead of what a resolver says."""

    max_sandboxes: int = 1000
    """Running at once; more are refused."""
    head_s: float = 30.0
    """How long a request's head may take, from connecting or its first byte on; a body may be silent for twice that."""
    ssh_port: int | None = None
    """Port for SSH on the host of HTTP; 0 takes a free one. None: there is no SSH."""

    @property
    def egress_options(self) -> tuple[str, ...]:
        """The same as options of the egress process."""
        opened = [word for network in self.open_networks for word in ("--open", network)]
        return (*opened, *(word for host in self.hosts for word in ("--host", host)))

    @property
    def records_dir(self) -> Path:
        """What is the server's alone: its database and the key of its secrets."""
        return self.state_dir / ("records" + self._suffix)

    @property
    def storage(self) -> str:
        """The engine's directory for files that outlive sandboxes."""
        return "storage" + self._suffix

    @property
    def _suffix(self) -> str:
        # The server that starts by itself and ends when it is idle stands beside the one that is always there.
        realm = self.realm or ("local" if self.idle_s is not None else "")
        return f"-{realm}" if realm else ""

    @property
    def database_url(self) -> str:
        """Where the store is."""
        return self.database or f"sqlite:///{self.records_dir}/tidepool.db"


def from_environment(needs_key: bool, **options: Any) -> tuple[ServerConfig, str]:
    """The configuration, and a sentence that says where the API key is; empty where none is needed.

    A key in the environment is taken out of it, and so is a database's URL: no child of this process inherits them.

    Args:
        needs_key: Whether clients come over TCP.
        options: Further fields of `ServerConfig`.

    Raises:
        OSError, ValueError: As `api_keys`.
    """
    uid = os.geteuid()
    state_dir, runtime_dir = directories(os.environ, uid)
    keys, note = api_keys(os.environ, state_dir) if needs_key else ({}, "")
    os.environ.pop(KEY_VARIABLE, None)
    options["preview_domain"] = os.environ.get("TIDEPOOL_PREVIEW_DOMAIN", "")
    options = {
        "realm": _realm(),
        **_capacity(),
        "database": os.environ.pop(DATABASE_VARIABLE, ""),
        **_images(),
        **_outside(),
        **_ssh(),
        **options,
    }
    return ServerConfig(state_dir, runtime_dir, keys, frozenset({0, uid}), **options), note


def _images() -> dict[str, Any]:
    """TIDEPOOL_REGISTRY, TIDEPOOL_REGISTRY_CREDENTIALS (taken out of the environment), TIDEPOOL_IMAGE_ARCHIVES."""
    archives = os.environ.get("TIDEPOOL_IMAGE_ARCHIVES")
    if os.environ.get("TIDEPOOL_REGISTRY"):
        # Needed only then, and loaded now: once root is given up the interpreter's files may not be readable.
        importlib.import_module("tidepool.images.registry")
    return {
        "registry": os.environ.get("TIDEPOOL_REGISTRY") or None,
        "registry_credentials": os.environ.pop("TIDEPOOL_REGISTRY_CREDENTIALS", ""),
        "image_archives": Path(archives).absolute() if archives else None,
    }


def _outside() -> dict[str, Any]:
    """TIDEPOOL_OPEN_NETWORKS and TIDEPOOL_HOSTS, lists separated by commas; wrong ones raise ValueError."""
    networks, hosts = (
        tuple(entry.strip() for entry in os.environ.get(name, "").split(",") if entry.strip())
        for name in ("TIDEPOOL_OPEN_NETWORKS", "TIDEPOOL_HOSTS")
    )
    for network in networks:
        try:
            policy.parse_network(network)
        except ValueError as error:
            raise ValueError(
                f"TIDEPOOL_OPEN_NETWORKS has {network!r}, which is no network: {error}"
            ) from None
    for host in hosts:
        name, _, address = host.partition("=")
        try:
            is_address = policy.Place(policy.canonical_host(address), 1).address is not None
            if not is_address or not policy.canonical_host(name):
                raise ValueError("after the = comes an address")
        except ValueError as error:
            raise ValueError(f"TIDEPOOL_HOSTS has {host!r}, which is not NAME=ADDRESS: {error}") from None
    return {"open_networks": networks, "hosts": hosts}


def _ssh() -> dict[str, Any]:
    """TIDEPOOL_SSH_PORT; a wrong one, and one that cannot be served, raises ValueError."""
    text = os.environ.get("TIDEPOOL_SSH_PORT")
    if not text:
        return {"ssh_port": None}
    if not (text.isascii() and text.isdecimal() and int(text[:9]) <= 65_535):
        raise ValueError(
            f"TIDEPOOL_SSH_PORT is {text[:20]!r}; it must be a port, 0 to 65535 (0 takes a free one)"
        )
    try:  # now: once root is given up the interpreter's files may not be readable
        importlib.import_module("tidepool.server.ssh")
    except ImportError as error:
        if error.name != "asyncssh":
            raise
        raise ValueError(
            "TIDEPOOL_SSH_PORT needs asyncssh, which is not installed: pip install 'tidepool[server]'"
        ) from None
    return {"ssh_port": int(text)}


def make_records_dir(path: Path, owner: int) -> None:
    """The server's own directory, which only `owner` can enter; whoever may not give it away must be the owner.

    Raises:
        OSError: It cannot be made.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if os.geteuid() == 0:
        os.chown(path, owner, owner)


def _capacity() -> dict[str, Any]:
    """TIDEPOOL_MAX_SANDBOXES and TIDEPOOL_HEAD_SECONDS, where they are said; wrong ones raise ValueError."""
    found: dict[str, Any] = {}
    text = os.environ.get("TIDEPOOL_MAX_SANDBOXES")
    if text is not None:
        if not text.isdecimal() or not 1 <= int(text) <= MOST_SANDBOXES:
            raise ValueError(f"TIDEPOOL_MAX_SANDBOXES is {text[:20]!r}; allowed are 1 to {MOST_SANDBOXES}")
        found["max_sandboxes"] = int(text)
    text = os.environ.get("TIDEPOOL_HEAD_SECONDS")
    if text is not None:
        if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]+)?", text, re.ASCII) or not float(text):
            raise ValueError(
                f"TIDEPOOL_HEAD_SECONDS is {text[:20]!r}; it must be a number of seconds above 0"
            )
        found["head_s"] = float(text)
    return found


def _realm() -> str:
    realm = os.environ.get(REALM_VARIABLE, "")
    if not re.fullmatch("[a-z0-9-]{0,40}", realm):
        raise ValueError(f"{REALM_VARIABLE} is {realm[:50]!r}; allowed are 40 of a-z, 0-9 and -")
    return realm


def directories(environ: Mapping[str, str], uid: int) -> tuple[Path, Path]:
    """State and runtime directory: TIDEPOOL_STATE_DIR and TIDEPOOL_RUNTIME_DIR, else the user's usual places."""
    if uid == 0:
        state, runtime = "/var/lib/tidepool", "/run/tidepool-0"
    else:
        home = environ.get("XDG_DATA_HOME") or os.path.join(environ.get("HOME", "/"), ".local/share")
        state = os.path.join(home, "tidepool")
        session = environ.get("XDG_RUNTIME_DIR")
        runtime = os.path.join(session, "tidepool") if session else f"/tmp/tidepool-{uid}"
    return (
        Path(environ.get("TIDEPOOL_STATE_DIR") or state).absolute(),
        Path(environ.get("TIDEPOOL_RUNTIME_DIR") or runtime).absolute(),
    )


def api_keys(environ: Mapping[str, str], state_dir: Path) -> tuple[dict[str, str], str]:
    """Keys for TCP, and a sentence that says where the key came from.

    TIDEPOOL_API_KEY, else the content of the file TIDEPOOL_API_KEY_FILE names, else a key made once and kept in the
    state directory, readable by its owner only.

    Raises:
        OSError: The file cannot be read or made.
        ValueError: The key is empty, not one line or not ASCII.
    """
    if KEY_VARIABLE in environ:
        return _one(environ[KEY_VARIABLE], KEY_VARIABLE), f"the API key is the value of {KEY_VARIABLE}"
    named = environ.get("TIDEPOOL_API_KEY_FILE")
    path = Path(named) if named else state_dir / KEY_FILE
    if not named and not path.exists():
        _make_key(path)
    return _one(path.read_text(errors="replace"), str(path)), f"the API key is in {path}"


def _make_key(path: Path) -> None:
    """Put a new key there, unless another server is faster: nobody ever sees half of one."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{secrets.token_hex(8)}.part")
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "w") as file:
            file.write(f"dtn_{secrets.token_hex(32)}\n")
        os.link(part, path)
    except FileExistsError:
        return  # the other one's is as good
    finally:
        os.unlink(part)


def _one(text: str, source: str) -> dict[str, str]:
    key = text.strip()
    if not key or not key.isascii() or any(character.isspace() for character in key):
        raise ValueError(f"{source} must hold one key, ASCII letters on one line")
    return {key: FIRST_TENANT}
