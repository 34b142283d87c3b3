"""What git writes, parsed; what it says went wrong, named. Pure: git itself is in tests/server/test_git.py."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidepool.engine.errors import InvalidSpec
from tidepool.toolbox import git
from tidepool.wire import git as wire

_HASH = "1" * 40
_NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=30)
_LETTERS = st.sampled_from(".MTADRC")


def record(kind: str, letters: str, name: str, before: str) -> tuple[str, wire.FileStatus]:
    """One changed file as git writes it, and as it is to be read."""
    modes = "N... 100644 100644 100644"
    if kind == "?":
        return f"? {name}\0", wire.FileStatus(name, "Untracked", "Untracked", "")
    words = git.WORDS[letters[0]], git.WORDS[letters[1]]
    if kind == "1":
        return f"1 {letters} {modes} {_HASH} {_HASH} {name}\0", wire.FileStatus(name, *words, "")
    if kind == "2":
        return f"2 {letters} {modes} {_HASH} {_HASH} R100 {name}\0{before}\0", wire.FileStatus(
            name, *words, before
        )
    unmerged = wire.FileStatus(name, "Updated but unmerged", "Updated but unmerged", "")
    return f"u {letters} {modes} 100644 {_HASH} {_HASH} {_HASH} {name}\0", unmerged


@given(st.lists(st.tuples(st.sampled_from("?12u"), st.tuples(_LETTERS, _LETTERS), _NAMES, _NAMES)))
def test_every_changed_file_is_read_whatever_it_is_called(
    rows: list[tuple[str, tuple[str, str], str, str]],
) -> None:
    pairs = [record(kind, "".join(letters), name, before) for kind, letters, name, before in rows]
    head = f"# branch.oid {_HASH}\0# branch.head main\0"
    status = git.parse_status((head + "".join(text for text, _ in pairs)).encode())
    assert status.file_status == [expected for _, expected in pairs]
    assert (status.current_branch, status.detached, status.branch_published) == ("main", False, False)


def test_upstream_and_detached() -> None:
    head = b"# branch.oid (initial)\0# branch.head a/b\0# branch.upstream origin/a/b\0"
    status = git.parse_status(head)
    assert (status.upstream, status.branch_published, status.ahead) == ("origin/a/b", False, 0)
    status = git.parse_status(head + b"# branch.ab +3 -12\0")
    assert (status.ahead, status.behind, status.branch_published) == (3, 12, True)
    status = git.parse_status(b"# branch.head (detached)\0")
    assert (status.current_branch, status.detached) == ("HEAD", True)


@given(st.binary(max_size=200))
def test_anything_else_is_refused_or_read(said: bytes) -> None:
    with contextlib.suppress(ValueError, IndexError, KeyError):
        git.parse_status(b"# branch.head x\0" + said)


@pytest.mark.parametrize(("said", "status", "code"), [
    ("fatal: not a git repository (or any of the parent directories): .git", 404, "GIT_REPO_NOT_FOUND"),
    ("fatal: cannot change to 'x': No such file or directory", 404, "GIT_REPO_NOT_FOUND"),
    ("fatal: repository 'https://h/x.git/' not found", 404, "GIT_REPO_NOT_FOUND"),
    ("fatal: Authentication failed for 'https://h/x.git/'", 401, "GIT_AUTH_FAILED"),
    ("fatal: could not read Username for 'https://h': terminal prompts disabled", 401, "GIT_AUTH_FAILED"),
    ("fatal: unable to access 'https://h/': The requested URL returned error: 403", 401, "GIT_AUTH_FAILED"),
    ("git@h: Permission denied (publickey).\nfatal: Could not read from remote repository.", 401, "GIT_AUTH_FAILED"),
    ("fatal: unable to access 'https://h/': Could not resolve host: h", 502, "GIT_TRANSPORT_FAILED"),
    ("fatal: Remote branch x not found in upstream origin", 404, "GIT_BRANCH_NOT_FOUND"),
    ("! [rejected] main -> main (fetch first)\nerror: failed to push some refs", 409, "GIT_PUSH_REJECTED"),
    ("! [remote rejected] main -> main (pre-receive hook declined)", 422, "GIT_REMOTE_REJECTED"),
    ("something new", 400, ""),
])  # fmt: skip
def test_what_git_says_has_a_code(said: str, status: int, code: str) -> None:
    error = git.failure(said)
    assert (error.status, error.code, str(error)) == (status, code, said)


def test_credentials_in_a_url_are_not_repeated() -> None:
    assert "s3cret" not in str(git.failure("fatal: unable to access 'https://me:s3cret@h/x.git/'"))
    assert str(git.failure("")) == "git failed without a word"


def test_credentials_count_for_their_host_only() -> None:
    config, env = git.Login("me", "s3cret").settings("https://old:pw@example.org:8443/x.git")
    assert [key for key, _ in config] == ["credential.https://example.org:8443.helper"] * 2
    assert config[0][1] == ""
    assert "s3cret" not in str(config)
    assert env == {"TIDEPOOL_GIT_USERNAME": "me", "TIDEPOOL_GIT_PASSWORD": "s3cret"}
    for url in ("ssh://h/x", "/a/path", "git@h:x", ""):
        assert git.Login("me", "s3cret").settings(url) == ([], {})
    assert git.Login().settings("https://h/x") == ([], {})
    with pytest.raises(InvalidSpec):
        git.Login("me", "a\nhost=other").settings("https://h/x")
