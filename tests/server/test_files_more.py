"""Toolbox: looking through files and changing many, through a real server in a real sandbox (section 6.2)."""

from typing import Any

import pytest

from tests.server.client import Api
from tests.server.conftest import Box

pytestmark = pytest.mark.needs("user_namespace", "overlayfs")


def put(box: Box, files: dict[str, bytes]) -> None:
    parts: list[tuple[str, str | None, bytes]] = []
    for number, (path, content) in enumerate(files.items()):
        parts += [(f"files[{number}].path", None, path.encode()), (f"files[{number}].file", path, content)]
    assert box.toolbox.upload("/files/bulk-upload", *parts).status == 200


def find(box: Box, path: str, pattern: str) -> list[tuple[str, int, str]]:
    answer = box.toolbox.call("GET", "/files/find", path=path, pattern=pattern)
    assert answer.status == 200, answer.body
    return [(match["file"], match["line"], match["content"]) for match in answer.json]


def test_find_is_a_literal_text_and_leaves_binaries_and_links_out(box: Box) -> None:
    put(box, {
        "p/b.txt": b"one\r\ntwo a.c\n", "p/a.py": b"a.c\nabc\n\xff a.c", "p/deep/x": "ü a.c".encode(),
        "p/binary": b"a.c\0", "other.txt": b"a.c",
    })  # fmt: skip
    box.run(
        "ln -s /home/daytona/other.txt p/link; mkfifo p/fifo; ln -s /proc p/proc; chmod 000 p/deep/x; touch p/e"
    )
    assert find(box, "p", "a.c") == [
        ("p/a.py", 1, "a.c"),
        ("p/a.py", 3, "\ufffd a.c"),
        ("p/b.txt", 2, "two a.c"),
    ]
    assert find(box, "/home/daytona/p/b.txt", "one") == [("/home/daytona/p/b.txt", 1, "one")]
    assert find(box, ".", "no such text") == []
    assert find(box, "p", "-e") == []


def test_find_is_bounded_and_says_so(box: Box) -> None:
    put(box, {"many": b"word\n" * 10_001, "long": b"x" * 70_000 + b" word " + b"y" * 70_000})
    answer = box.toolbox.call("GET", "/files/find", path="many", pattern="word")
    assert len(answer.json) == 10_000
    assert answer.headers["x-tidepool-truncated"] == "true"
    answer = box.toolbox.call("GET", "/files/find", path="long", pattern="word")
    assert [(match["line"], len(match["content"])) for match in answer.json] == [(1, 2000)]
    assert "x-tidepool-truncated" not in answer.headers


def test_search_is_a_glob_on_base_names(box: Box) -> None:
    put(box, {"s/a.py": b"", "s/deep/b.py": b"", "s/deep/b.txt": b"", "s/py/c": b""})
    box.run("mkdir s/dir.py; ln -s /usr s/usr.py")

    def search(pattern: str, path: str = "s") -> list[str]:
        found: list[str] = box.toolbox.call("GET", "/files/search", path=path, pattern=pattern).json["files"]
        return sorted(found)

    assert search("*.py") == ["s/a.py", "s/deep/b.py", "s/dir.py", "s/usr.py"]
    assert search("[^a].py") == ["s/deep/b.py"]
    assert search("b.*", "/home/daytona/s") == ["/home/daytona/s/deep/b.py", "/home/daytona/s/deep/b.txt"]
    assert search("deep/*") == []


@pytest.mark.parametrize("path", ["/files/find", "/files/search"])
def test_looking_where_nothing_is(box: Box, path: str) -> None:
    answer = box.toolbox.call("GET", path, path="none", pattern="x")
    assert (answer.status, answer.json["code"]) == (404, "FILE_NOT_FOUND")
    assert box.toolbox.call("GET", path, path=".").status == 400
    assert box.toolbox.call("GET", path, pattern="x").status == 400


def test_replace_is_literal_and_each_file_has_its_own_success(box: Box) -> None:
    put(box, {"one": b"a.b abb \\1 a.b\r\n\xff", "two": b"nothing", "three": b"a.b"})
    box.run("chmod 755 one; chmod 444 three; mkfifo fifo; ln -s one link")
    files = ["one", "two", "none", "three", "fifo", "/home/daytona/one"]
    answer = box.toolbox.call(
        "POST", "/files/replace", {"files": files, "pattern": "a.b", "newValue": "\\1é"}
    )
    assert answer.status == 200, answer.body
    assert [(one["file"], one["success"]) for one in answer.json] == [
        ("one", True), ("two", True), ("none", False), ("three", False), ("fifo", False), ("/home/daytona/one", True),
    ]  # fmt: skip
    assert [one.get("error") for one in answer.json][2:5] == [
        "No such file or directory", "Permission denied", "it is not a regular file",
    ]  # fmt: skip
    content = box.toolbox.call("GET", "/files/download", path="one").body
    assert content == "\\1é abb \\1 \\1é\r\n".encode() + b"\xff"
    assert box.run("stat -c %a one")["result"] == "755\n"
    box.toolbox.call("POST", "/files/replace", {"files": ["link"], "pattern": "abb", "newValue": ""})
    assert box.run("readlink link; grep -c abb one")["result"] == "one\n0\n"


def test_what_cannot_be_replaced_is_400(box: Box) -> None:
    for body in ({"files": ["x"], "pattern": "", "newValue": "y"}, {"files": "x"}, {}):
        assert box.toolbox.call("POST", "/files/replace", body).status == 400
    many = {"files": ["x"] * 10_001, "pattern": "a", "newValue": "b"}
    assert box.toolbox.call("POST", "/files/replace", many).status == 400


def test_looking_is_done_by_the_sandboxs_user(box: Box) -> None:
    put(box, {"secret": b"word"})
    assert find(box, "secret", "word") == [("secret", 1, "word")]
    box.run("chmod 000 secret")  # root would still read it
    assert find(box, "secret", "word") == []
    assert find(box, "/etc/passwd", "daytona:")  # the sandbox's own


def test_the_newer_upload_says_where_the_file_is(box: Box) -> None:
    answer = box.toolbox.upload("/files/upload-v2", ("file", "ignored", b"one"), path="new/one.txt")
    assert (answer.status, answer.json) == (200, {"name": "one.txt", "path": "new/one.txt", "type": "file"})
    assert box.toolbox.call("GET", "/files/download", path="new/one.txt").body == b"one"


def test_a_listing_with_depth_has_paths(box: Box) -> None:
    put(box, {"l/a": b"", "l/b/c": b"", "l/b/d/e": b""})
    answer = box.toolbox.call("GET", "/files", path="l", depth=2)
    assert sorted(one["path"] for one in answer.json) == ["l/a", "l/b", "l/b/c", "l/b/d"]
    assert all("path" not in one for one in box.toolbox.call("GET", "/files", path="l").json)


def test_owner_and_group_by_name_or_number(make_box: Any) -> None:
    box = make_box(user="root")
    put(box, {"mine": b"x"})
    for owner, group in (("daytona", "daytona"), ("1000", "1000")):
        answer = box.toolbox.call(
            "POST", "/files/permissions", path="mine", mode="0640", owner=owner, group=group
        )
        assert answer.status == 200, answer.body
        assert box.run("stat -c '%a %u %g' mine")["result"] == "640 1000 1000\n"
    assert box.toolbox.call("POST", "/files/permissions", path="mine", owner="nobody-here").status == 400


def test_another_tenant_sees_no_file(api: Api, box: Box) -> None:
    stranger = Api(api.url, "not-the-key", f"/toolbox/{box.id}")
    assert stranger.call("GET", "/files/find", path=".", pattern="x").status == 401
    stranger.close()
