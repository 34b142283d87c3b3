"""Toolbox: git through a real server with the real program in a real sandbox (protocol section 6.3)."""

from datetime import datetime
from typing import Any

import pytest

from tests.server.client import Answer
from tests.server.conftest import Box

pytestmark = pytest.mark.needs("user_namespace", "overlayfs")
WHO = {"author": "A B", "email": "a@b.c"}
_GUARDED = r"""
import base64, functools, http.server
class Guarded(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        if self.headers.get("Authorization") != "Basic " + base64.b64encode(b"me:s3cret").decode():
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="x"')
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            super().do_GET()
print("ready", flush=True)
serve = functools.partial(Guarded, directory="/home/daytona")
http.server.ThreadingHTTPServer(("127.0.0.1", 8000), serve).serve_forever()
"""


class Repo:
    """One repository of a sandbox over the wire."""

    def __init__(self, box: Box, path: str) -> None:
        self.box = box
        self.path = path

    def post(self, what: str, status: int = 200, method: str = "POST", **body: Any) -> Answer:
        answer = self.box.toolbox.call(method, f"/git/{what}", {"path": self.path, **body})
        assert answer.status == status, answer.body
        return answer

    def get(self, what: str, status: int = 200, **query: Any) -> Any:
        answer = self.box.toolbox.call("GET", f"/git/{what}", path=self.path, **query)
        assert answer.status == status, answer.body
        return answer.json

    def commit(self, name: str, content: str = "x", message: str = "m") -> str:
        """Write a file, stage and commit it."""
        self.box.run(f"printf '{content}' > '{self.path}/{name}'")
        self.post("add", files=[name])
        found: str = self.post("commit", message=message, **WHO).json["hash"]
        return found


@pytest.fixture
def repo(box: Box) -> Repo:
    """A repository with one commit on `main`, whose origin is a bare one beside it."""
    bare = Repo(box, "bare.git")
    bare.post("init", 201, bare=True, initial_branch="main")
    found = Repo(box, "work")
    found.post("init", 201, initial_branch="main")
    found.post("remotes", 201, name="origin", url="/home/daytona/bare.git")
    found.commit("first.txt", message="first\n\nwith a body ü")
    found.post("push", set_upstream=True)
    return found


def test_status_in_the_protocols_words(repo: Repo) -> None:
    assert repo.get("status") == {
        "currentBranch": "main", "fileStatus": [], "ahead": 0, "behind": 0, "branchPublished": True,
        "detached": False, "upstream": "origin/main",
    }  # fmt: skip
    repo.commit("gone.txt", "a\\nb\\nc\\nd\\n")
    repo.commit("old name.txt", "1\\n2\\n3\\n4\\n5\\n")
    repo.box.run(
        "cd work; echo y > first.txt; echo n > 'neü \"w\".txt'; mkdir d; echo > d/deep; rm gone.txt; "
        "git mv 'old name.txt' 'new name.txt'; echo s > staged; git add staged; echo t >> staged"
    )
    status = repo.get("status")
    assert status["ahead"] == 2
    assert {one["name"]: (one["staging"], one["worktree"], one["extra"]) for one in status["fileStatus"]} == {
        "first.txt": ("Unmodified", "Modified", ""),
        "gone.txt": ("Unmodified", "Deleted", ""),
        "new name.txt": ("Renamed", "Unmodified", "old name.txt"),
        "staged": ("Added", "Modified", ""),
        'neü "w".txt': ("Untracked", "Untracked", ""),
        "d/deep": ("Untracked", "Untracked", ""),
    }


def test_branches(repo: Repo) -> None:
    assert repo.get("branches") == {"branches": ["main"], "current": "main"}
    repo.post("branches", 201, name="feature/x")
    assert repo.get("branches") == {"branches": ["feature/x", "main"], "current": "feature/x"}
    assert repo.post("branches", 409, name="main").json["code"] == "GIT_BRANCH_EXISTS"
    repo.commit("only-here")
    repo.post("checkout", branch="main")
    assert repo.post("checkout", 404, branch="none").json["code"] == "GIT_BRANCH_NOT_FOUND"
    assert repo.post("checkout", 404, branch="first.txt").json["code"] == "GIT_BRANCH_NOT_FOUND"
    assert repo.post("branches", 409, "DELETE", name="main").json["code"] == "CONFLICT"
    assert repo.post("branches", 204, "DELETE", name="feature/x").body == b""
    assert repo.post("branches", 404, "DELETE", name="feature/x").json["code"] == "GIT_BRANCH_NOT_FOUND"
    first = repo.get("history")[0]["hash"]
    repo.post("checkout", branch=first)
    assert repo.get("branches") == {"branches": ["main"]}
    assert repo.get("status")["currentBranch"] == "HEAD"
    assert repo.get("status")["detached"] is True


def test_names_are_never_options(repo: Repo) -> None:
    for name in ("--orphan", "-D", "", "a\nb"):
        assert repo.post("branches", 400, name=name).json["code"] == "BAD_REQUEST"
        repo.post("checkout", 400, branch=name)
        if name:
            repo.post("push", 400, remote=name)
            repo.post("pull", 400, branch=name)
    repo.post("add", 404, files=["--all"])
    repo.post("clone", 404, url="--upload-pack=touch hacked", path="x")
    repo.box.run("cd work; echo > -f; echo > ':x'")
    repo.post("add", files=["-f"])
    assert "hacked" not in repo.box.run("ls")["result"]


def test_history_and_commits(repo: Repo) -> None:
    number = repo.commit("second", message="second")
    found = repo.get("history")
    assert [one["message"] for one in found] == ["second", "first\n\nwith a body ü\n"] or [
        one["message"].rstrip("\n") for one in found
    ] == ["second", "first\n\nwith a body ü"]
    assert found[0]["hash"] == number
    assert (found[0]["author"], found[0]["email"]) == ("A B", "a@b.c")
    assert datetime.fromisoformat(found[0]["timestamp"]).tzinfo is not None
    assert "nothing to commit" in repo.post("commit", 400, message="none", **WHO).message
    assert len(repo.post("commit", message="none", allow_empty=True, **WHO).json["hash"]) == 40
    empty = Repo(repo.box, "empty")
    empty.post("init", 201)
    assert empty.get("history") == []
    assert empty.get("branches")["branches"] == []
    assert empty.get("status")["fileStatus"] == []


def test_what_is_no_repository(box: Box) -> None:
    for path in ("/tmp", "none"):
        repo = Repo(box, path)
        for what in ("status", "branches", "history", "remotes"):
            assert repo.get(what, 404)["code"] == "GIT_REPO_NOT_FOUND"
        assert repo.post("add", 404, files=["."]).json["source"] == "DAYTONA_DAEMON"
    assert box.toolbox.call("GET", "/git/status").status == 400
    answer = Repo(box, "x").post("clone", 404, url="/home/daytona/none.git")
    assert answer.json["code"] == "GIT_REPO_NOT_FOUND"


def test_clone_push_and_pull(repo: Repo) -> None:
    repo.post("branches", 201, name="other")
    number = repo.commit("on-other")
    repo.post("push", branch="other")
    twin = Repo(repo.box, "deep/twin")
    twin.post("clone", url="/home/daytona/bare.git")
    assert twin.get("status")["currentBranch"] == "main"
    twin.post("checkout", branch="other")
    assert twin.get("history")[0]["hash"] == number
    third = Repo(repo.box, "third")
    third.post("clone", url="/home/daytona/bare.git", branch="other", depth=1)
    assert third.get("status")["currentBranch"] == "other"
    at = Repo(repo.box, "at")
    at.post("clone", url="/home/daytona/bare.git", commit_id=number)
    assert at.get("status")["detached"] is True
    assert at.get("history")[0]["hash"] == number
    missing = Repo(repo.box, "y").post("clone", 404, url="/home/daytona/bare.git", branch="no")
    assert missing.json["code"] == "GIT_BRANCH_NOT_FOUND"
    assert Repo(repo.box, "third").post("clone", 409, url="/home/daytona/bare.git").json["code"] == "CONFLICT"
    newer = repo.commit("newer")
    repo.post("push", branch="other")
    twin.post("pull")
    assert twin.get("history")[0]["hash"] == newer


def test_pushes_and_pulls_that_cannot_be(repo: Repo) -> None:
    twin = Repo(repo.box, "twin")
    twin.post("clone", url="/home/daytona/bare.git")
    repo.commit("first.txt", "ours")
    repo.post("push")
    twin.commit("first.txt", "theirs")
    assert twin.post("push", 409).json["code"] == "GIT_PUSH_REJECTED"
    repo.box.run("cd twin; git config user.name x; git config user.email y")
    assert twin.post("pull", 409).json["code"] == "GIT_MERGE_CONFLICT"
    conflict = twin.get("status")["fileStatus"]
    assert conflict == [{
        "name": "first.txt", "staging": "Updated but unmerged", "worktree": "Updated but unmerged", "extra": "",
    }]  # fmt: skip
    twin.post("reset", mode="hard", target="HEAD~1")
    repo.box.run("echo dirty > twin/first.txt")
    assert twin.post("pull", 409).json["code"] == "GIT_DIRTY_WORKTREE"
    repo.box.run(
        "printf '#!/bin/sh\\nexit 1\\n' > bare.git/hooks/pre-receive; chmod +x bare.git/hooks/pre-receive"
    )
    repo.commit("refused")
    assert repo.post("push", 422).json["code"] == "GIT_REMOTE_REJECTED"
    repo.post("remotes", 201, name="nowhere", url="http://127.0.0.1:9/x.git")
    assert repo.post("push", 502, remote="nowhere").json["code"] == "GIT_TRANSPORT_FAILED"


def test_reset_and_restore(repo: Repo) -> None:
    first = repo.get("history")[0]["hash"]
    repo.commit("second")
    repo.post("reset", mode="soft", target=first)
    assert repo.get("status")["fileStatus"][0]["staging"] == "Added"
    repo.post("reset", files=["second"])
    assert repo.get("status")["fileStatus"][0]["staging"] == "Untracked"
    repo.box.run("echo changed > work/first.txt; cd work; git add first.txt")
    repo.post("restore", files=["first.txt"], staged=True)
    assert repo.get("status")["fileStatus"][0]["worktree"] == "Modified"
    repo.post("restore", files=["first.txt"])
    assert [one["name"] for one in repo.get("status")["fileStatus"]] == ["second"]
    repo.post("reset", 400, mode="odd")
    repo.post("reset", 400, mode="hard", files=["second"])
    assert repo.post("reset", 404, target="none").json["code"] == "GIT_BRANCH_NOT_FOUND"


def test_remotes(repo: Repo) -> None:
    assert repo.get("remotes") == {"remotes": [{"name": "origin", "url": "/home/daytona/bare.git"}]}
    assert repo.post("remotes", 409, name="origin", url="x").json["code"] == "CONFLICT"
    repo.post("remotes", 201, name="origin", url="/home/daytona/other.git", overwrite=True)
    repo.post("remotes", 201, name="two", url="/home/daytona/bare.git", fetch=True)
    assert {one["name"]: one["url"] for one in repo.get("remotes")["remotes"]} == {
        "origin": "/home/daytona/other.git", "two": "/home/daytona/bare.git",
    }  # fmt: skip
    repo.box.run("cd work && git rev-parse --verify two/main")
    empty = Repo(repo.box, "none-yet")
    empty.post("init", 201)
    assert empty.get("remotes") == {"remotes": []}


def test_configuration(repo: Repo, box: Box) -> None:
    assert repo.get("config", key="user.name", scope="local") == {}
    repo.post("config", key="user.name", value="-x 'y' \"z\"", scope="local")
    assert repo.get("config", key="user.name", scope="local") == {"value": "-x 'y' \"z\""}
    assert repo.get("config", key="user.name") == {}
    assert box.toolbox.call("GET", "/git/config", key="user.name", scope="global").json == {}
    answer = box.toolbox.call("POST", "/git/config/user", {"name": "G", "email": "g@h", "scope": "global"})
    assert answer.status == 200
    assert box.toolbox.call("GET", "/git/config", key="user.email", scope="global").json == {"value": "g@h"}
    assert box.run("git config --global user.name")["result"] == "G\n"
    assert box.toolbox.call("POST", "/git/config", {"key": "a.b", "value": "c", "scope": "odd"}).status == 400
    assert (
        box.toolbox.call("POST", "/git/config", {"key": "a.b", "value": "c", "scope": "local"}).status == 400
    )
    assert box.toolbox.call("GET", "/git/config", key="nosection").status in (200, 400)
    assert box.toolbox.call("POST", "/git/config", {"key": "--list", "value": "c"}).status == 400


@pytest.fixture
def guarded(repo: Repo) -> str:
    """The URL of the bare repository behind a server that wants a password."""
    box = repo.box
    box.toolbox.upload("/files/upload", ("file", "x", _GUARDED.encode()), path="guarded.py")
    box.run("cd bare.git && git update-server-info")
    box.run("(python3 guarded.py > out 2>&1 &); until grep -q ready out; do sleep 0.05; done", timeout=20)
    return "http://127.0.0.1:8000/bare.git"


def test_credentials_are_used_once_and_kept_nowhere(repo: Repo, guarded: str) -> None:
    box = repo.box
    for number, login in enumerate(({}, {"username": "me", "password": "wrong"})):
        answer = Repo(box, f"refused-{number}").post("clone", 401, url=guarded, **login)
        assert answer.json["code"] == "GIT_AUTH_FAILED"
    watch = "until [ -e stop ]; do cat /proc/[0-9]*/cmdline; sleep 0.01; done > seen 2>/dev/null"
    box.run(f"(({watch}; touch stopped) &) ; true")
    private = Repo(box, "private")
    private.post("clone", url=guarded, username="me", password="s3cret")
    assert private.get("status")["upstream"] == "origin/main"
    number = repo.commit("newer")
    repo.post("push")
    box.run("cd bare.git && git update-server-info")
    assert private.post("pull", 401).json["code"] == "GIT_AUTH_FAILED"
    private.post("pull", username="me", password="s3cret")
    assert private.get("history")[0]["hash"] == number
    box.run("touch stop; until [ -e stopped ]; do sleep 0.05; done", timeout=20)
    assert box.run("grep -rl s3cret . --exclude=guarded.py; true")["result"] == ""
    seen = box.run("tr '\\0' ' ' < seen")["result"]
    assert "git clone" in seen
    assert "git-remote-http" in seen


def test_credentials_that_are_to_be_kept(repo: Repo, guarded: str) -> None:
    box = repo.box
    body = {"username": "me", "password": "s3cret", "host": "127.0.0.1:8000", "protocol": "http"}
    assert box.toolbox.call("POST", "/git/credentials", body).status == 200
    Repo(box, "private").post("clone", url=guarded)
    assert box.run("stat -c %a .git-credentials")["result"] == "600\n"
    for name in ("username", "password", "host"):
        assert box.toolbox.call("POST", "/git/credentials", {**body, name: "a\nb"}).status == 400
