"""What a caller may ask for. Wire names and defaults of the server are elsewhere (`_requests`, the server).

Every field here does something: what the server cannot do yet has no field.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Network = Literal["none", "packages"]
IsolationKind = Literal["namespaces", "gvisor", "crun"]
Language = Literal["python", "javascript", "typescript"]


@dataclass(frozen=True, kw_only=True)
class DaytonaConfig:
    """Which server, and as whom. What is None is looked up: see `_config.resolve`."""

    api_key: str | None = None
    """Bearer token. Never checked by the local server; needed for any other."""
    api_url: str | None = None
    """Base of the control API with its path, such as `http://127.0.0.1:3986/api`; None: the local server."""
    server_url: str | None = None
    """The older name of `api_url`."""
    target: str | None = None
    """The server's region, for servers that have some."""
    connection_pool_maxsize: int = 250
    """Connections kept at most."""


@dataclass(frozen=True, kw_only=True)
class Resources:
    """Size of a sandbox in whole units, as Daytona counts them."""

    cpu: int | None = None
    """Processors."""
    memory: int | None = None
    """GiB."""
    disk: int | None = None
    """GiB."""


@dataclass(frozen=True, kw_only=True)
class CreateSandboxFromSnapshotParams:
    """One sandbox to be made; None leaves the choice to the server."""

    name: str | None = None
    language: Language = "python"
    """What `code_run` runs."""
    os_user: str | None = None
    """`daytona` or `root`; root inside is an unprivileged user outside."""
    env_vars: Mapping[str, str] | None = None
    labels: Mapping[str, str] | None = None
    snapshot: str | None = None
    network_block_all: bool | None = None
    """True: nothing but loopback, the same as `network="none"`."""
    auto_stop_interval: int | None = None
    """Minutes without activity after which it may end; 0: never. The local server removes it then (default 15)."""
    ephemeral: bool = False
    """Removed, not kept, when `auto_stop_interval` ends it."""
    ttl_minutes: int | None = None
    """Removed at this age, whatever it does."""
    resources: Resources | None = None
    dependencies: Sequence[str] = ()
    """Packages that are there from the start, as a layer that is built once and then shared."""
    network: Network | None = None
    """`none`: loopback only. `packages`: the host's package indexes, read only; the local default."""
    memory_bytes: int | None = None
    disk_bytes: int | None = None
    pids: int | None = None
    """Processes and threads at most."""
    cpu: float | None = None
    """Processors, fractions allowed."""
    isolation: IsolationKind | None = None
    """`namespaces`, what every sandbox has; `gvisor` or `crun`: besides, a kernel or a container of its own. Refused
    where the server's host does not have it."""


CreateSandboxParams = CreateSandboxFromSnapshotParams


@dataclass(frozen=True)
class CodeRunParams:
    """How a program text is started."""

    argv: Sequence[str] | None = None
    """`sys.argv[1:]` of the program."""
    env: Mapping[str, str] | None = None


@dataclass(frozen=True)
class FileUpload:
    """One file to be written in the sandbox."""

    source: bytes | str | os.PathLike[str]
    """The content itself, or the path of a local file."""
    destination: str
    """Path in the sandbox, relative to its work directory; parents are made."""


@dataclass(frozen=True)
class FileDownloadRequest:
    """One file to be read from the sandbox."""

    source: str
    """Path in the sandbox."""
    destination: str | None = None
    """Local path to write to; None: into memory."""
