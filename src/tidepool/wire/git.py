"""JSON of git (protocol section 6.3)."""

import msgspec
from msgspec import UNSET, UnsetType

AUTH_FAILED = "GIT_AUTH_FAILED"
REPO_NOT_FOUND = "GIT_REPO_NOT_FOUND"
BRANCH_NOT_FOUND = "GIT_BRANCH_NOT_FOUND"
BRANCH_EXISTS = "GIT_BRANCH_EXISTS"
PUSH_REJECTED = "GIT_PUSH_REJECTED"
DIRTY_WORKTREE = "GIT_DIRTY_WORKTREE"
MERGE_CONFLICT = "GIT_MERGE_CONFLICT"
REMOTE_REJECTED = "GIT_REMOTE_REJECTED"
TRANSPORT_FAILED = "GIT_TRANSPORT_FAILED"


class Clone(msgspec.Struct):
    """`POST /git/clone`."""

    url: str
    path: str
    branch: str | None = None
    commit_id: str | None = None
    username: str | None = None
    password: str | None = None
    insecure_skip_tls: bool | None = None
    depth: int | None = None


class Branch(msgspec.Struct):
    """`POST` and `DELETE /git/branches`."""

    path: str
    name: str


class Checkout(msgspec.Struct):
    """`POST /git/checkout`."""

    path: str
    branch: str


class Add(msgspec.Struct):
    """`POST /git/add`."""

    path: str
    files: list[str]


class Commit(msgspec.Struct):
    """`POST /git/commit`."""

    path: str
    message: str
    author: str
    email: str
    allow_empty: bool | None = None


class Transfer(msgspec.Struct):
    """`POST /git/push` and `/git/pull`."""

    path: str
    branch: str | None = None
    remote: str | None = None
    username: str | None = None
    password: str | None = None
    set_upstream: bool | None = None


class Init(msgspec.Struct):
    """`POST /git/init`."""

    path: str
    bare: bool | None = None
    initial_branch: str | None = None


class Reset(msgspec.Struct):
    """`POST /git/reset`."""

    path: str
    mode: str | None = None
    target: str | None = None
    files: list[str] | None = None


class Restore(msgspec.Struct):
    """`POST /git/restore`."""

    path: str
    files: list[str]
    source: str | None = None
    staged: bool | None = None
    worktree: bool | None = None


class AddRemote(msgspec.Struct):
    """`POST /git/remotes`."""

    path: str
    name: str
    url: str
    fetch: bool | None = None
    overwrite: bool | None = None


class SetConfig(msgspec.Struct):
    """`POST /git/config`."""

    key: str
    value: str
    path: str | None = None
    scope: str | None = None


class ConfigureUser(msgspec.Struct):
    """`POST /git/config/user`."""

    name: str
    email: str
    path: str | None = None
    scope: str | None = None


class Authenticate(msgspec.Struct):
    """`POST /git/credentials`."""

    username: str
    password: str
    host: str | None = None
    protocol: str | None = None


class Committed(msgspec.Struct):
    """Answer of `POST /git/commit`."""

    hash: str


class FileStatus(msgspec.Struct):
    """One changed file."""

    name: str
    staging: str
    """In the words of `toolbox.git.WORDS`, as is `worktree`."""
    worktree: str
    extra: str
    """The name before it was renamed or copied."""


class Status(msgspec.Struct, rename="camel", kw_only=True):
    """Answer of `GET /git/status`."""

    current_branch: str
    file_status: list[FileStatus]
    ahead: int
    behind: int
    branch_published: bool
    detached: bool
    upstream: str | UnsetType = UNSET


class Branches(msgspec.Struct):
    """Answer of `GET /git/branches`."""

    branches: list[str]
    current: str | UnsetType = UNSET


class CommitInfo(msgspec.Struct):
    """One commit; answer of `GET /git/history`."""

    hash: str
    author: str
    email: str
    message: str
    timestamp: str
    """RFC 3339, of the author."""


class Remote(msgspec.Struct):
    """One remote."""

    name: str
    url: str


class Remotes(msgspec.Struct):
    """Answer of `GET /git/remotes`."""

    remotes: list[Remote]


class ConfigValue(msgspec.Struct):
    """Answer of `GET /git/config`."""

    value: str | UnsetType = UNSET
