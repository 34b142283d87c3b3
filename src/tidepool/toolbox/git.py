"""The git program of a sandbox, run inside as its user: argument lists, never a shell; its output parsed strictly.

Credentials are in the environment of the one run that needs them and count for that one host; they are never on a
command line or in a repository's configuration. What git says went wrong decides status and code (`FAILURES`).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from urllib.parse import urlsplit

from tidepool.engine import Command, ExecResult, Sandbox, Verdict
from tidepool.engine.errors import InvalidSpec, Refused, SandboxLost
from tidepool.wire import git as wire

LOCAL_TIMEOUT_S = 120.0
TRANSFER_TIMEOUT_S = 1800.0
MAX_COMMITS = 10_000
_MAX_OUTPUT = 64 << 20
_NOTHING: Mapping[str, str] = MappingProxyType({})
_ENV = {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_MERGE_AUTOEDIT": "no", "GIT_EDITOR": ":"}
_HELPER = (
    '!f() { test "$1" = get && printf "username=%s\\npassword=%s\\n" '
    '"$TIDEPOOL_GIT_USERNAME" "$TIDEPOOL_GIT_PASSWORD"; }; f'
)
"""Answers git's question for credentials (gitcredentials(7)); a text without any secret."""
SCOPES = ("local", "global", "system")
MODES = ("soft", "mixed", "hard", "merge", "keep")
_SECRET = re.compile(r"://[^@/\s]+@")

FAILURES: tuple[tuple[re.Pattern[str], int, str], ...] = tuple(
    (re.compile(pattern, re.I), status, code)
    for pattern, status, code in (
        (r"not a git repository|cannot change to '", 404, wire.REPO_NOT_FOUND),
        (
            r"authentication failed|could not read (username|password)|access denied|permission denied \(|"
            r"returned error: 40[13]",
            401,
            wire.AUTH_FAILED,
        ),
        (
            r"repository '.*' not found|does not appear to be a git repository|repository '.*' does not exist|"
            r"returned error: 404",
            404,
            wire.REPO_NOT_FOUND,
        ),
        (r"remote .* already exists|already exists and is not an empty directory", 409, ""),
        (r"a branch named '.*' already exists", 409, wire.BRANCH_EXISTS),
        (r"\[remote rejected\]", 422, wire.REMOTE_REJECTED),
        (r"\[rejected\]|non-fast-forward", 409, wire.PUSH_REJECTED),
        (
            r"CONFLICT \(|automatic merge failed|unmerged (files|paths)|you have not concluded your merge|"
            r"resolve your current index first",
            409,
            wire.MERGE_CONFLICT,
        ),
        (
            r"would be overwritten by|commit your changes or stash|you have unstaged changes|has local changes",
            409,
            wire.DIRTY_WORKTREE,
        ),
        (r"cannot delete branch '.*' checked out|used by worktree", 409, ""),
        (
            r"remote branch .* not found|couldn't find remote ref|branch '.*' not found|invalid reference|"
            r"src refspec .* does not match|unknown revision|not a valid object name|unable to read tree|"
            r"reference is not a tree|ambiguous argument|could not resolve HEAD|bad revision|"
            r"failed to resolve '.*' as a valid",
            404,
            wire.BRANCH_NOT_FOUND,
        ),
        (r"no such remote|'.*' is not a working tree|pathspec '.*' did not match", 404, ""),
        (
            r"could not resolve host|unable to access|unable to connect|could not read from remote repository|"
            r"connection (refused|reset|timed out)|early EOF|the remote end hung up",
            502,
            wire.TRANSPORT_FAILED,
        ),
    )
)
"""What git says, status, code; the first that is found counts, and 400 when none is."""

WORDS = {
    ".": "Unmodified",
    "M": "Modified",
    "T": "Modified",
    "A": "Added",
    "D": "Deleted",
    "R": "Renamed",
    "C": "Copied",
    "U": "Updated but unmerged",
}
"""Letters of `git status --porcelain=v2` in the protocol's words."""


class GitFailed(Refused):
    """git refused; the message is its own, `status` and `code` what the protocol calls it."""

    def __init__(self, message: str, status: int = 400, code: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code


@dataclass(frozen=True)
class Login:
    """Credentials for one run; they are shown to no other host than the one they are meant for."""

    username: str | None = None
    password: str | None = None

    def settings(self, url: str) -> tuple[list[tuple[str, str]], dict[str, str]]:
        """Configuration and environment with which git uses them for `url`; none where it could not.

        Raises:
            InvalidSpec: They have a line end or a NUL byte in them.
        """
        place = urlsplit(url)
        if not (self.username or self.password) or place.scheme not in ("http", "https"):
            return [], {}
        _check_lines(self.username or "", self.password or "")
        key = f"credential.{place.scheme}://{place.netloc.rpartition('@')[2]}.helper"
        values = {
            "TIDEPOOL_GIT_USERNAME": self.username or "git",
            "TIDEPOOL_GIT_PASSWORD": self.password or "",
        }
        return [(key, ""), (key, _HELPER)], values  # the empty one takes helpers away that are configured


class Git:
    """git in one directory of a sandbox; relative paths begin at its work directory.

    Every method raises:
        GitFailed: As git says.
        InvalidSpec: A name that would be taken for an option, or is none.
        WrongState, SandboxLost: As `Sandbox.exec`.
    """

    def __init__(self, sandbox: Sandbox, path: str) -> None:
        if not path:
            raise InvalidSpec("the path of the repository is empty")
        self._sandbox = sandbox
        self._path = path

    async def clone(self, asked: wire.Clone) -> None:
        """Clone; with `commit_id` that commit is checked out, detached."""
        login = Login(asked.username, asked.password)
        options = ["--branch", _name(asked.branch)] if asked.branch else []
        if asked.depth is not None:
            if asked.depth < 1:
                raise InvalidSpec(f"depth is {asked.depth}; it must be at least 1")
            options += ["--depth", str(asked.depth)]
        config, env = login.settings(asked.url)
        if asked.insecure_skip_tls:
            config.append(("http.sslVerify", "false"))
        argv = ("clone", "-q", *options, "--", asked.url, self._path)
        await _run(self._sandbox, argv, config, env, timeout_s=TRANSFER_TIMEOUT_S)
        if asked.commit_id:
            commit = _name(asked.commit_id)
            if asked.depth is not None:  # it may lie deeper
                argv = ("fetch", "-q", "--depth", str(asked.depth), "origin", commit)
                await self._git(*argv, config=config, env=env, timeout_s=TRANSFER_TIMEOUT_S)
            await self._git("checkout", "-q", "--detach", commit)

    async def init(self, asked: wire.Init) -> None:
        """Make a repository; the directory is made too."""
        branch = ["-b", _name(asked.initial_branch)] if asked.initial_branch else []
        bare = ["--bare"] if asked.bare else []
        await _run(self._sandbox, ("init", "-q", *bare, *branch, "--", self._path))

    async def status(self) -> wire.Status:
        """Branch, upstream and every changed or untracked file."""
        said = await self._git("status", "--porcelain=v2", "--branch", "-z", "--untracked-files=all")
        try:
            return parse_status(said)
        except (ValueError, IndexError, KeyError):
            raise SandboxLost("git's status in the sandbox is not as git writes it") from None

    async def branches(self) -> wire.Branches:
        """Local branches, and the one that is checked out."""
        names = _lines(await self._git("for-each-ref", "--format=%(refname:lstrip=2)", "refs/heads"))
        current = await self._current()
        return wire.Branches(names, current) if current else wire.Branches(names)

    async def create_branch(self, name: str) -> None:
        """Make a branch and check it out."""
        await self._git("checkout", "-q", "-b", _name(name))

    async def delete_branch(self, name: str) -> None:
        """Delete a branch, merged or not."""
        await self._git("branch", "-q", "-D", "--", _name(name))

    async def checkout(self, branch: str) -> None:
        """Check out a branch, one that only a remote has included, a tag or a commit."""
        await self._git("checkout", "-q", _name(branch), "--")

    async def add(self, files: list[str]) -> None:
        """Stage files."""
        if not files:
            raise InvalidSpec("no files are named; '.' is all of them")
        await self._git("add", "--", *files)

    async def commit(self, asked: wire.Commit) -> str:
        """Commit what is staged; the hash."""
        who = {
            f"GIT_{role}_{what}": value
            for role in ("AUTHOR", "COMMITTER")
            for what, value in (("NAME", asked.author), ("EMAIL", asked.email))
        }
        empty = ["--allow-empty"] if asked.allow_empty else []
        await self._git("commit", "-q", *empty, "-F", "-", env=who, stdin=asked.message.encode())
        return (await self._git("rev-parse", "HEAD")).decode().strip()

    async def push(self, asked: wire.Transfer) -> None:
        """Push a branch, by default the one that is checked out, to a remote, by default `origin`."""
        remote, branch = _name(asked.remote or "origin"), _name(asked.branch or "HEAD")
        upstream = ["-u"] if asked.set_upstream else []
        config, env = await self._login(asked, remote, ["--push"])
        argv = ("push", "-q", *upstream, remote, branch)
        await self._git(*argv, config=config, env=env, timeout_s=TRANSFER_TIMEOUT_S)

    async def pull(self, asked: wire.Transfer) -> None:
        """Fetch a branch, by default the one that is checked out, and merge it."""
        remote = _name(asked.remote or "origin")
        branch = asked.branch or await self._current()
        config, env = await self._login(asked, remote, [])
        argv = ("pull", "-q", "--no-rebase", "--no-edit", remote, *([_name(branch)] if branch else []))
        await self._git(*argv, config=config, env=env, timeout_s=TRANSFER_TIMEOUT_S)

    async def history(self) -> list[wire.CommitInfo]:
        """Commits of what is checked out, newest first; at most 10,000."""
        unborn = await self._try("rev-parse", "-q", "--verify", "HEAD")
        if unborn.exit_code == 1:
            return []
        argv = (
            "log",
            "-z",
            "--encoding=UTF-8",
            f"-n{MAX_COMMITS}",
            "--format=format:%H%x00%an%x00%ae%x00%aI%x00%B",
        )
        fields = _text(await self._git(*argv)).split("\0")
        if len(fields) % 5:
            raise SandboxLost("git's log in the sandbox is not as git writes it")
        groups = (fields[start : start + 5] for start in range(0, len(fields), 5))
        return [wire.CommitInfo(number, who, mail, body, at) for number, who, mail, at, body in groups]

    async def reset(self, asked: wire.Reset) -> None:
        """Move what is checked out, or with files only unstage them."""
        target = [_name(asked.target)] if asked.target else []
        if asked.files:
            if asked.mode not in (None, "mixed"):
                raise InvalidSpec(f"mode is {asked.mode!r}; files can only be reset mixed")
            await self._git("reset", "-q", *target, "--", *asked.files)
            return
        mode = asked.mode or "mixed"
        if mode not in MODES:
            raise InvalidSpec(f"mode is {mode[:20]!r}; allowed are {', '.join(MODES)}")
        await self._git("reset", "-q", f"--{mode}", *target, "--")

    async def restore(self, asked: wire.Restore) -> None:
        """Files as they are in the index, or in `source`."""
        flags = (("--staged", asked.staged), ("--worktree", asked.worktree))
        options = [f"--source={asked.source}"] if asked.source else []
        options += [flag for flag, wanted in flags if wanted]
        await self._git("restore", "-q", *options, "--", *asked.files)

    async def remotes(self) -> list[wire.Remote]:
        """Names and URLs."""
        await self._git("rev-parse", "--git-dir")
        result = await self._try("config", "--null", "--get-regexp", r"^remote\..*\.url$")
        entries = [entry.partition("\n") for entry in _text(result.stdout).split("\0") if entry]
        return [wire.Remote(key[len("remote.") : -len(".url")], url) for key, _, url in entries]

    async def add_remote(self, asked: wire.AddRemote) -> None:
        """Add a remote, or with `overwrite` change where it is."""
        name = _name(asked.name)
        try:
            await self._git("remote", "add", "--", name, asked.url)
        except GitFailed as error:
            if not asked.overwrite or error.status != 409:
                raise
            await self._git("remote", "set-url", "--", name, asked.url)
        if asked.fetch:
            await self._git("fetch", "-q", name, timeout_s=TRANSFER_TIMEOUT_S)

    async def _login(
        self, asked: wire.Transfer, remote: str, options: list[str]
    ) -> tuple[list[tuple[str, str]], dict[str, str]]:
        if not (asked.username or asked.password):
            return [], {}
        url = _text(await self._git("remote", "get-url", *options, "--", remote)).strip()
        return Login(asked.username, asked.password).settings(url)

    async def _current(self) -> str:
        """The branch that is checked out; empty when none is."""
        result = await self._try("symbolic-ref", "-q", "--short", "HEAD")
        return _text(result.stdout).strip()

    async def _git(
        self,
        *argv: str,
        config: list[tuple[str, str]] | None = None,
        env: Mapping[str, str] = _NOTHING,
        stdin: bytes = b"",
        timeout_s: float = LOCAL_TIMEOUT_S,
    ) -> bytes:
        return await _run(self._sandbox, ("-C", self._path, *argv), config, env, stdin, timeout_s)

    async def _try(self, *argv: str) -> ExecResult:
        """A run whose exit status 1 is an answer."""
        result = await _start(self._sandbox, ("-C", self._path, *argv))
        if result.exit_code not in (0, 1):
            raise failure(_text(result.output))
        return result


async def get_config(sandbox: Sandbox, key: str, path: str | None, scope: str | None) -> str | None:
    """A configured value; None when it is not set."""
    argv = (*_place(path), "config", *_scope(path, scope), "--null", "--get", "--", key)
    result = await _start(sandbox, argv)
    if result.exit_code == 1:
        return None
    if result.exit_code != 0:
        raise failure(_text(result.output))
    return _text(result.stdout).removesuffix("\0")


async def set_config(sandbox: Sandbox, asked: wire.SetConfig) -> None:
    """Configure a value."""
    scope = _scope(asked.path, asked.scope)
    argv = (*_place(asked.path), "config", *scope, "--replace-all", "--", asked.key, asked.value)
    await _run(sandbox, argv)


async def configure_user(sandbox: Sandbox, asked: wire.ConfigureUser) -> None:
    """Who commits."""
    for key, value in (("user.name", asked.name), ("user.email", asked.email)):
        await set_config(sandbox, wire.SetConfig(key, value, asked.path, asked.scope))


async def authenticate(sandbox: Sandbox, asked: wire.Authenticate) -> None:
    """Keep credentials in the sandbox for all runs to come, as plain text that its user can read."""
    host, protocol = asked.host or "github.com", asked.protocol or "https"
    _check_lines(host, protocol, asked.username, asked.password)
    await set_config(sandbox, wire.SetConfig("credential.helper", "store", scope="global"))
    lines = {"protocol": protocol, "host": host, "username": asked.username, "password": asked.password}
    stdin = "".join(f"{name}={value}\n" for name, value in lines.items())
    await _run(sandbox, ("credential", "approve"), stdin=stdin.encode() + b"\n")


def parse_status(said: bytes) -> wire.Status:
    """What `git status --porcelain=v2 --branch -z` says.

    Raises:
        ValueError, IndexError, KeyError: git does not write so.
    """
    head: dict[str, str] = {}
    files: list[wire.FileStatus] = []
    records = iter(_text(said).split("\0"))
    for record in records:
        kind, _, rest = record.partition(" ")
        if kind == "#":
            name, _, value = rest.partition(" ")
            head[name] = value
        elif kind == "?":
            files.append(wire.FileStatus(rest, "Untracked", "Untracked", ""))
        elif kind:
            files.append(_changed(kind, rest, records))
    ahead, behind = (abs(int(number)) for number in head.get("branch.ab", "+0 -0").split(" "))
    detached = head["branch.head"] == "(detached)"
    status = wire.Status(
        current_branch="HEAD" if detached else head["branch.head"],
        file_status=files,
        ahead=ahead,
        behind=behind,
        branch_published="branch.ab" in head,
        detached=detached,
    )
    if "branch.upstream" in head:
        status.upstream = head["branch.upstream"]
    return status


_FIELDS = {"1": 7, "2": 8, "u": 9}
"""Fields before the name, by the kind of a record."""


def _changed(kind: str, rest: str, records: Iterator[str]) -> wire.FileStatus:
    fields = rest.split(" ", _FIELDS[kind])
    name, staging, worktree = fields[_FIELDS[kind]], fields[0][0], fields[0][1]
    if kind == "u":
        return wire.FileStatus(name, WORDS["U"], WORDS["U"], "")
    before = next(records, "") if kind == "2" else ""
    return wire.FileStatus(name, WORDS[staging], WORDS[worktree], before)


def failure(said: str) -> GitFailed:
    """The exception for what git said."""
    text = _SECRET.sub("://", said.strip())[-2000:] or "git failed without a word"
    for pattern, status, code in FAILURES:
        if pattern.search(text):
            return GitFailed(text, status, code)
    return GitFailed(text)


async def _run(
    sandbox: Sandbox,
    argv: tuple[str, ...],
    config: list[tuple[str, str]] | None = None,
    env: Mapping[str, str] = _NOTHING,
    stdin: bytes = b"",
    timeout_s: float = LOCAL_TIMEOUT_S,
) -> bytes:
    """What git wrote to stdout; it must succeed."""
    result = await _start(sandbox, argv, config, env, stdin, timeout_s)
    if result.exit_code != 0:
        raise failure(_text(result.output))
    return result.stdout


async def _start(
    sandbox: Sandbox,
    argv: tuple[str, ...],
    config: list[tuple[str, str]] | None = None,
    env: Mapping[str, str] = _NOTHING,
    stdin: bytes = b"",
    timeout_s: float = LOCAL_TIMEOUT_S,
) -> ExecResult:
    settings = {"GIT_CONFIG_COUNT": str(len(config or []))}
    for number, (key, value) in enumerate(config or []):
        settings |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    command = Command(
        argv=("git", *argv),
        env={**_ENV, **settings, **env},
        stdin=stdin,
        timeout_s=timeout_s,
        max_output_bytes=_MAX_OUTPUT,
    )
    result = await sandbox.exec(command)
    if result.verdict is Verdict.TIMED_OUT:
        raise GitFailed(f"git was not done within {timeout_s:.0f} s", 408)
    if result.verdict is Verdict.NOT_STARTED:
        raise GitFailed(f"git cannot be run in this sandbox: {_text(result.stderr).strip()[:300]}")
    if result.verdict is not Verdict.EXITED:
        raise SandboxLost(f"git was ended in the sandbox ({result.verdict.value})")
    if result.truncated_bytes:
        raise GitFailed("git says more than can be taken")
    return result


def _place(path: str | None) -> tuple[str, ...]:
    return ("-C", path) if path else ()


def _scope(path: str | None, scope: str | None) -> tuple[str, ...]:
    chosen = scope or "global"
    if chosen not in SCOPES:
        raise InvalidSpec(f"scope is {chosen[:20]!r}; allowed are {', '.join(SCOPES)}")
    if chosen == "local" and not path:
        raise InvalidSpec("scope local needs the path of a repository")
    return (f"--{chosen}",)


def _name(text: str) -> str:
    """A branch, commit or remote, which must not pass for an option."""
    if not text or text.startswith("-") or not text.isprintable():
        raise InvalidSpec(f"{text[:80]!r} is no name of a branch, a commit or a remote")
    return text


def _check_lines(*texts: str) -> None:
    if any(character in text for text in texts for character in "\r\n\0"):
        raise InvalidSpec("credentials must be single lines")


def _text(said: bytes) -> str:
    return said.decode("utf-8", "replace")


def _lines(said: bytes) -> list[str]:
    return [line for line in _text(said).split("\n") if line]
