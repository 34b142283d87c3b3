"""What is asked of the engine: frozen, and valid once constructed.

How it ended is in `result`. Whoever holds a spec may rely on every field being within its documented range.
"""

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from tidepool.engine.errors import InvalidSpec
from tidepool.engine.isolation import ISOLATIONS, MACHINES, VIRTUAL_MACHINES, Isolation

Network = Literal["none", "packages", "allow", "all"]
Language = Literal["python", "javascript", "typescript"]

NETWORKS: tuple[Network, ...] = ("none", "packages", "allow", "all")
LANGUAGES: tuple[Language, ...] = ("python", "javascript", "typescript")
HOME = "/home/daytona"
MAX_VOLUMES = 16
MIB = 1 << 20
GIB = 1 << 30

# Names appear in cgroup and directory names and in URLs: a strict grammar here keeps every later use inert.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z")
_STORED = re.compile(r"[a-z0-9][a-z0-9._-]{0,95}\Z")
_SUBPATH_PART = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}\Z")
_NO_VOLUME_AT = ("dev", "proc", "sys", "usr", "bin", "lib", "lib64", "sbin", "etc")
_ENV_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}\Z")
_MAX_ENV_BYTES = 128 * 1024
_MAX_COMMAND_BYTES = 1 << 20
_NO_MAPPING: Mapping[str, str] = MappingProxyType({})
_NO_SECRETS: "Mapping[str, Secret]" = MappingProxyType({})


def _check_text(what: str, text: str, limit: int) -> None:
    if "\0" in text:
        raise InvalidSpec(f"{what} contains a NUL byte; remove it")
    if len(text.encode("utf-8", "surrogateescape")) > limit:
        raise InvalidSpec(f"{what} is longer than {limit} bytes")


def check_env(env: Mapping[str, str]) -> None:
    """Refuse variables that are not a process's.

    Raises:
        InvalidSpec: A name is no identifier, or they are too long.
    """
    total = 0
    for key, value in env.items():
        if not _ENV_KEY.match(key):
            raise InvalidSpec(f"env key {key[:80]!r} is not an identifier ([A-Za-z_][A-Za-z0-9_]*)")
        _check_text(f"env value of {key}", value, _MAX_ENV_BYTES)
        total += len(key) + len(value)
    if total > _MAX_ENV_BYTES:
        raise InvalidSpec(f"env is {total} bytes in all; at most {_MAX_ENV_BYTES} are allowed")


@dataclass(frozen=True)
class Limits:
    """What one sandbox may use.

    Raises:
        InvalidSpec: A value is outside its range.
    """

    cpu: float = 1.0
    """Processors, as a share of time (0.05 to 64)."""
    memory_bytes: int = GIB
    """All memory of all processes incl. the files in it (64 MiB to 1 TiB)."""
    disk_bytes: int = 640 * MIB
    """Writable files. They live in memory: always below `memory_bytes`, so a full disk is ENOSPC, never a kill."""
    pids: int = 512
    """Processes and threads (8 to 8,192)."""

    def __post_init__(self) -> None:
        if not 0.05 <= self.cpu <= 64:
            raise InvalidSpec(f"cpu is {self.cpu}; allowed is 0.05 to 64")
        if not 64 * MIB <= self.memory_bytes <= 1024 * GIB:
            raise InvalidSpec(f"memory is {self.memory_bytes} bytes; allowed is 64 MiB to 1 TiB")
        if not 8 <= self.pids <= 8192:
            raise InvalidSpec(f"pids is {self.pids}; allowed is 8 to 8,192")
        if not self.disk_bytes >= MIB:
            raise InvalidSpec(f"disk is {self.disk_bytes} bytes; at least 1 MiB is needed")
        if self.disk_bytes > self.memory_bytes * 3 // 4:
            object.__setattr__(self, "disk_bytes", self.memory_bytes * 3 // 4)


@dataclass(frozen=True)
class Volume:
    """A directory that outlives sandboxes and is shared by those that mount it.

    Raises:
        InvalidSpec: A field is wrong.
    """

    name: str
    """As it was made."""
    mount_path: str
    """Absolute path inside."""
    subpath: str = ""
    """Below the volume; empty for all of it. Made when it is missing."""

    def __post_init__(self) -> None:
        if not _STORED.match(self.name):
            raise InvalidSpec(f"volume {self.name[:80]!r} has no valid name")
        parts = self.mount_path.split("/")
        if parts[0] or len(parts) < 2 or any(part in ("", ".", "..") for part in parts[1:]):
            raise InvalidSpec(
                f"a volume's mountPath is {self.mount_path[:80]!r}; give an absolute path without .."
            )
        _check_text("a volume's mountPath", self.mount_path, 1024)
        if parts[1] in _NO_VOLUME_AT:
            raise InvalidSpec(
                f"a volume cannot be mounted at {self.mount_path[:80]}; /{parts[1]} is the system's"
            )
        if self.subpath and not all(_SUBPATH_PART.match(part) for part in self.subpath.split("/")):
            raise InvalidSpec(f"a volume's subpath is {self.subpath[:80]!r}; give plain names separated by /")


@dataclass(frozen=True)
class Secret:
    """A value that a sandbox may use and never has: its proxy puts it into requests to the hosts it is bound to."""

    value: str = field(repr=False)
    """Visible ASCII: it becomes part of a header."""
    hosts: tuple[str, ...]
    """Names and `*.names` that get it, over TLS on port 443; the network must allow them too."""
    placeholder: str = field(default_factory=lambda: f"tps_{secrets.token_hex(16)}")
    """What the sandbox has instead: 8 to 128 letters, digits, `_`, `.`, `-`."""
    name: str = ""
    """What its keeper calls it."""


Secrets = Mapping[str, Secret]
"""By the environment variable that holds the placeholder."""


@dataclass(frozen=True)
class SandboxSpec:
    """One sandbox to be made.

    Raises:
        InvalidSpec: A field is wrong.
    """

    tenant: str = "local"
    """Who owns it: an API key's owner or the local user. Never seen across tenants."""
    name: str | None = None
    """Unique per tenant; the id when None."""
    dependencies: tuple[str, ...] = ()
    """PEP 508 requirement lines; they become a cached read-only layer."""
    env: Mapping[str, str] = field(default_factory=lambda: _NO_MAPPING)
    labels: Mapping[str, str] = field(default_factory=lambda: _NO_MAPPING)
    user: Literal["daytona", "root"] = "daytona"
    """Who commands run as inside; root inside is an unprivileged uid outside."""
    limits: Limits = field(default_factory=Limits)
    network: Network = "none"
    """`none`: loopback only. `packages`: the package indexes of this host through a read-only proxy. `allow`: what
    `network_allow` names. `all`: every public server, and the package indexes."""
    network_allow: tuple[str, ...] = ()
    """With network `allow`, at most 100: `name`, `*.name`, each with an optional `:port`, addresses, networks in CIDR
    form, and the word `packages`. An empty list allows nothing."""
    secrets: Secrets = field(default_factory=lambda: _NO_SECRETS)
    """By the environment variable that holds the placeholder."""
    image: str = ""
    """A frozen image to start from; empty for the host's own."""
    work_dir: str = HOME
    """Where runs start and relative paths begin."""
    volumes: tuple[Volume, ...] = ()
    """At most 16."""
    ephemeral: bool = False
    """Whether its files end with it however it ends; otherwise only deleting it ends them."""
    isolation: Isolation = "namespaces"
    """What stands between its programs and the host: the namespaces of every sandbox, or behind these gVisor's kernel
    or crun's container besides."""

    def __post_init__(self) -> None:
        if self.name is not None and not _NAME.match(self.name):
            raise InvalidSpec(f"name {self.name[:80]!r} must be 1 to 63 of letters, digits, '.', '_', '-'")
        if self.network not in NETWORKS:
            raise InvalidSpec(f"network is {self.network!r}; allowed are {', '.join(NETWORKS)}")
        if self.network_allow and self.network != "allow":
            raise InvalidSpec(f"a list of what is allowed goes with network allow, not with {self.network}")
        check_env({name: secret.placeholder for name, secret in self.secrets.items()})
        _check_isolation(self.isolation, self.image)
        if self.user not in ("daytona", "root"):
            raise InvalidSpec(f"user is {self.user!r}; allowed are daytona, root")
        if self.image and not _STORED.match(self.image):
            raise InvalidSpec(f"image {self.image[:80]!r} has no valid name")
        if not self.work_dir.startswith("/"):
            raise InvalidSpec(f"the work directory is {self.work_dir[:80]!r}; it must be an absolute path")
        _check_text("the work directory", self.work_dir, 1024)
        if len(self.volumes) > MAX_VOLUMES or len({v.mount_path for v in self.volumes}) < len(self.volumes):
            raise InvalidSpec(f"at most {MAX_VOLUMES} volumes can be mounted, each at a place of its own")
        for requirement in self.dependencies:
            _check_requirement(requirement)
        check_env(self.env)
        for key, value in self.labels.items():
            _check_text("a label's key", key, 256)
            _check_text(f"label {key[:40]!r}", value, 4096)


def _check_isolation(isolation: str, image: str) -> None:
    if isolation not in ISOLATIONS:
        why = MACHINES if isolation in VIRTUAL_MACHINES else f"allowed are {', '.join(ISOLATIONS)}"
        raise InvalidSpec(f"isolation is {isolation!r}; {why}")
    if isolation != "namespaces" and image:
        raise InvalidSpec(
            f"isolation {isolation} needs the host's own image; leave out the snapshot or image"
        )


def _check_requirement(requirement: str) -> None:
    text = requirement.strip()
    # Only index names: a path, a URL or an option line would make the builder read something else.
    if not re.match(r"[A-Za-z0-9]", text) or "://" in text or "@" in text or "\n" in text or len(text) > 200:
        raise InvalidSpec(f"dependency {requirement[:80]!r} is not a package name with an optional version")


@dataclass(frozen=True)
class Command:
    """One command to be run in a sandbox.

    Raises:
        InvalidSpec: A field is wrong.
    """

    shell: str | None = None
    """A shell script for `sh -c`; exactly one of `shell` and `argv` is given."""
    argv: tuple[str, ...] = ()
    """Program and arguments, executed without a shell."""
    cwd: str | None = None
    """Inside the sandbox, relative to the work directory; None is the work directory."""
    env: Mapping[str, str] = field(default_factory=lambda: _NO_MAPPING)
    """Added to the sandbox's own."""
    timeout_s: float | None = None
    """Wall clock from the start; the whole process tree is killed at the deadline."""
    stdin: bytes = b""
    max_output_bytes: int = 16 * MIB
    """Per stream; beyond it head and tail are kept."""

    def __post_init__(self) -> None:
        if (self.shell is None) == (not self.argv):
            raise InvalidSpec("give exactly one of shell and argv")
        text = self.shell if self.shell is not None else "".join(self.argv)
        if not text.strip():
            raise InvalidSpec("the command is empty")
        for part in (self.shell,) if self.shell is not None else self.argv:
            _check_text("the command", part, _MAX_COMMAND_BYTES)
        _check_timeout(self.timeout_s)
        check_env(self.env)
        if self.cwd is not None:
            _check_text("cwd", self.cwd, 4096)


@dataclass(frozen=True)
class CodeRun:
    """One program text to be run in a sandbox.

    Raises:
        InvalidSpec: A field is wrong.
    """

    code: str
    language: Language = "python"
    argv: tuple[str, ...] = ()
    cwd: str | None = None
    env: Mapping[str, str] = field(default_factory=lambda: _NO_MAPPING)
    timeout_s: float | None = None
    stdin: bytes = b""
    max_output_bytes: int = 16 * MIB

    def __post_init__(self) -> None:
        if self.language not in LANGUAGES:
            raise InvalidSpec(f"language is {self.language!r}; allowed are {', '.join(LANGUAGES)}")
        _check_text("the code", self.code, 16 * MIB)
        for part in self.argv:
            _check_text("an argument", part, _MAX_COMMAND_BYTES)
        _check_timeout(self.timeout_s)
        check_env(self.env)


@dataclass(frozen=True)
class Shell:
    """One shell that is told its commands one after the other, in the words of `guest.session`; for `Sandbox.open`.

    Raises:
        InvalidSpec: A field is wrong.
    """

    cwd: str | None = None
    """Where it starts; None is the work directory."""
    env: Mapping[str, str] = field(default_factory=lambda: _NO_MAPPING)

    def __post_init__(self) -> None:
        check_env(self.env)
        if self.cwd is not None:
            _check_text("cwd", self.cwd, 4096)


@dataclass(frozen=True)
class TestRun:
    """One pytest run in a sandbox whose verdict does not come from its text.

    Raises:
        InvalidSpec: A field is wrong.
    """

    __test__ = False  # pytest would take the name for a test class

    paths: tuple[str, ...] = ()
    """Test files or directories inside the sandbox; the work directory when empty."""
    cwd: str | None = None
    env: Mapping[str, str] = field(default_factory=lambda: _NO_MAPPING)
    timeout_s: float | None = 60.0
    max_output_bytes: int = 4 * MIB

    def __post_init__(self) -> None:
        for path in self.paths:
            _check_text("a test path", path, 4096)
            if path.startswith("-"):
                raise InvalidSpec(f"test path {path[:80]!r} looks like an option; write ./{path[:80]}")
        _check_timeout(self.timeout_s)
        check_env(self.env)


def _check_timeout(timeout_s: float | None) -> None:
    if timeout_s is not None and not 0 < timeout_s <= 7 * 86400:
        raise InvalidSpec(f"timeout is {timeout_s} s; allowed is more than 0 and at most 7 days")
