"""Toolbox: files through a real server in a real sandbox (protocol section 6.2)."""

import json
import os
from typing import Any

import pytest
from python_multipart.multipart import MultipartParser, parse_options_header

from tests.server.client import Answer, Api
from tests.server.conftest import Box

pytestmark = pytest.mark.needs("user_namespace", "overlayfs")
BIG = os.urandom(1 << 20) * 5 + b"the end"


def put(box: Box, path: str, content: bytes) -> Answer:
    return box.toolbox.upload(
        "/files/bulk-upload", ("files[0].path", None, path.encode()), ("files[0].file", path, content)
    )


def get(box: Box, path: str) -> Answer:
    return box.toolbox.call("GET", "/files/download", path=path)


@pytest.mark.parametrize(
    "content", [b"", b"hello\n", bytes(range(256)), BIG], ids=["none", "text", "bytes", "big"]
)
def test_a_file_comes_back_as_it_went_in(box: Box, content: bytes) -> None:
    path = "deep/er/a b ü.bin"
    answer = put(box, path, content)
    assert (answer.status, answer.json) == (200, {"files": [{"path": path, "bytes": len(content)}]})
    answer = get(box, path)
    assert answer.status == 200
    assert answer.body == content
    assert answer.headers["content-length"] == str(len(content))


def test_uploads_and_runs_meet_in_the_work_directory(box: Box) -> None:
    put(box, "hello.py", b"print('hi')")
    assert box.run("python hello.py")["result"] == "hi\n"
    box.run("echo made > made.txt")
    assert get(box, "/home/daytona/made.txt").body == b"made\n"


def test_an_upload_replaces(box: Box) -> None:
    put(box, "x", b"a long first content")
    put(box, "x", b"short")
    assert get(box, "x").body == b"short"


def test_the_single_upload_of_older_clients(box: Box) -> None:
    answer = box.toolbox.upload("/files/upload", ("file", "ignored", b"one"), path="single/one.txt")
    assert answer.status == 200
    assert get(box, "single/one.txt").body == b"one"
    assert box.toolbox.upload("/files/upload", ("other", "x", b"one"), path="y").status == 400
    assert box.toolbox.upload("/files/upload", ("file", "x", b"one")).status == 400


def test_many_at_once_and_every_failure_is_named(box: Box) -> None:
    answer = box.toolbox.upload(
        "/files/bulk-upload",
        ("files[0].path", None, b"good-0"), ("files[0].file", "x", b"0"),
        ("files[1].path", None, b"/proc/nothing"), ("files[1].file", "x", b"1" * 300000),
        ("files[2].file", "good-2", b"2"),
        ("files[10].path", None, b"good-10"), ("files[10].file", "x", b"10"),
    )  # fmt: skip
    assert answer.status == 400
    body = answer.json
    assert [file["path"] for file in body["files"]] == ["good-0", "good-2", "good-10"]
    assert [error.partition(":")[0] for error in body["errors"]] == ["/proc/nothing"]
    assert "/proc/nothing" in body["message"]
    for path, content in (("good-0", b"0"), ("good-2", b"2"), ("good-10", b"10")):
        assert get(box, path).body == content


@pytest.mark.parametrize(
    ("path", "code"),
    [("/etc/hosts-of-mine", "FILE_ACCESS_DENIED"), ("/tmp", "INVALID_FILE_PATH"), ("", "INVALID_FILE_PATH")],
)
def test_a_failed_upload_has_its_own_code(box: Box, path: str, code: str) -> None:
    answer = put(box, path, b"x")
    assert (answer.status, answer.json["code"]) == (400, code)


def test_an_upload_that_is_cut_short_is_refused(box: Box) -> None:
    body = (
        b'--b\r\nContent-Disposition: form-data; name="files[0].file"; filename="cut"\r\n\r\nhalf of the con'
    )
    headers = {
        "Authorization": f"Bearer {box.toolbox.key}",
        "Content-Type": "multipart/form-data; boundary=b",
    }
    answer = box.toolbox.send("POST", f"/toolbox/{box.id}/files/bulk-upload", body, headers)
    assert answer.status == 400
    assert "cut short" in answer.message


def test_what_is_no_form_is_400(box: Box) -> None:
    assert box.toolbox.call("POST", "/files/bulk-upload", {"files": []}).status == 400


# Down


def read_form(answer: Answer) -> list[tuple[dict[str, str], bytes]]:
    """Headers and content of each part."""
    kind, options = parse_options_header(answer.headers["content-type"])
    assert kind == b"multipart/form-data"
    found: list[tuple[dict[str, str], bytes]] = []
    names, values = bytearray(), bytearray()

    def header_end() -> None:
        found[-1][0][names.decode().lower()] = values.decode()
        names.clear()
        values.clear()

    def data(content: bytes, start: int, end: int) -> None:
        found[-1] = (found[-1][0], found[-1][1] + content[start:end])

    callbacks: dict[str, Any] = {
        "on_part_begin": lambda: found.append(({}, b"")),
        "on_header_field": lambda content, start, end: names.extend(content[start:end]),
        "on_header_value": lambda content, start, end: values.extend(content[start:end]),
        "on_header_end": header_end,
        "on_part_data": data,
        "on_end": lambda: found.append(({"end": ""}, b"")),
    }
    MultipartParser(options[b"boundary"], callbacks).write(answer.body)  # type: ignore[arg-type]
    assert found.pop()[0] == {"end": ""}, "the closing boundary is missing"
    return found


def test_many_down_at_once_and_every_failure_is_named(box: Box) -> None:
    put(box, "big", BIG)
    put(box, "small", b"s")
    box.run("mkdir secret; touch secret/x; chmod 0 secret")
    wanted = [
        "big",
        "./small",
        "missing",
        "/tmp",
        "/home/daytona/../daytona/small",
        "/proc/version",
        "secret/x",
    ]
    answer = box.toolbox.call("POST", "/files/bulk-download", {"paths": wanted})
    assert answer.status == 200
    found = read_form(answer)
    dispositions = [parse_options_header(headers["content-disposition"])[1] for headers, _ in found]
    assert [each[b"filename"].decode() for each in dispositions] == wanted
    assert [each[b"name"] for each in dispositions] == [
        b"file", b"file", b"error", b"error", b"file", b"error", b"error",
    ]  # fmt: skip
    contents = [content for _, content in found]
    assert (contents[0] == BIG, contents[1], contents[4]) == (True, b"s", b"s")
    assert [headers["content-length"] for headers, _ in found] == [str(len(content)) for content in contents]
    errors = [json.loads(contents[i]) for i in (2, 3, 5, 6)]
    assert [error["statusCode"] for error in errors] == [404, 400, 400, 403]
    assert [error["code"] for error in errors] == [
        "FILE_NOT_FOUND", "INVALID_FILE_PATH", "INVALID_FILE_PATH", "FILE_ACCESS_DENIED",
    ]  # fmt: skip
    assert all(error["source"] == "DAYTONA_DAEMON" for error in errors)


def test_content_that_looks_like_a_boundary_is_content(box: Box) -> None:
    evil = b"\r\n--DAYTONA-FILE-BOUNDARY\r\n\r\n--DAYTONA-FILE-BOUNDARY--\r\n"
    put(box, "evil", evil)
    (found,) = read_form(box.toolbox.call("POST", "/files/bulk-download", {"paths": ["evil"]}))
    assert found[1] == evil


def test_nothing_down_is_an_empty_form(box: Box) -> None:
    answer = box.toolbox.call("POST", "/files/bulk-download", {"paths": []})
    assert answer.status == 200
    assert answer.body.endswith(b"--\r\n")


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("missing", 404, "FILE_NOT_FOUND"),
        ("/tmp", 400, "INVALID_FILE_PATH"),
        ("secret/x", 403, "FILE_ACCESS_DENIED"),
        ("/dev/null", 400, "INVALID_FILE_PATH"),
        ("/proc/version", 400, "INVALID_FILE_PATH"),
        ("a\0b", 400, "INVALID_FILE_PATH"),
        ("x" * 5000, 400, "INVALID_FILE_PATH"),
        ("../../../../../../../../nowhere", 404, "FILE_NOT_FOUND"),
    ],
)
def test_what_cannot_be_read(box: Box, path: str, status: int, code: str) -> None:
    box.run("mkdir secret; touch secret/x; chmod 0 secret")
    answer = get(box, path)
    assert (answer.status, answer.json["code"]) == (status, code)


def test_a_download_without_a_path_is_400(box: Box) -> None:
    answer = box.toolbox.call("GET", "/files/download")
    assert (answer.status, answer.message) == (400, "the query parameter 'path' is missing")


# The rest


def test_listing(box: Box) -> None:
    box.run("mkdir -p d/sub; printf abc > d/f; chmod 640 d/f; ln -s f d/link; printf x > d/sub/g")
    found = {entry["name"]: entry for entry in box.toolbox.call("GET", "/files", path="d").json}
    assert sorted(found) == ["f", "link", "sub"]
    assert (found["f"]["size"], found["f"]["mode"], found["f"]["permissions"]) == (3, "-rw-r-----", "0640")
    assert (found["f"]["owner"], found["f"]["isDir"], found["sub"]["isDir"]) == ("1000", False, True)
    assert found["link"]["mode"].startswith("l")
    assert "path" not in found["f"]
    deep = box.toolbox.call("GET", "/files", path="d", depth=2).json
    assert sorted(entry["path"] for entry in deep) == ["d/f", "d/link", "d/sub", "d/sub/g"]
    assert "d" in [entry["name"] for entry in box.toolbox.call("GET", "/files").json]
    assert box.toolbox.call("GET", "/files", path="none").status == 404
    assert box.toolbox.call("GET", "/files", path="d/f").status == 400
    assert box.toolbox.call("GET", "/files", path="d", depth=0).status == 400


def test_names_and_times_that_no_text_can_carry(box: Box) -> None:
    box.run("python -c \"import os; open(b'd-\\xff', 'w'); open('far', 'w'); os.utime('far', (1e11, 1e11))\"")
    found = {entry["name"] for entry in box.toolbox.call("GET", "/files").json}
    assert {"d-\ufffd", "far"} <= found
    assert box.toolbox.call("GET", "/files/info", path="far").status == 200


def test_info_follows_the_file(box: Box) -> None:
    put(box, "f", b"12345")
    body = box.toolbox.call("GET", "/files/info", path="f").json
    assert (body["name"], body["size"], body["isDir"]) == ("f", 5, False)
    assert body["modTime"] == body["modifiedAt"]


def test_folders(box: Box) -> None:
    assert box.toolbox.call("POST", "/files/folder", path="a/b/c", mode="0700").status == 201
    assert box.toolbox.call("GET", "/files/info", path="a/b/c").json["permissions"] == "0700"
    assert box.toolbox.call("POST", "/files/folder", path="plain").status == 201
    assert box.toolbox.call("GET", "/files/info", path="plain").json["permissions"] == "0755"
    for mode in ("rwx", "9", "-1", "0o755", "77777", " 755", "7_5"):
        assert box.toolbox.call("POST", "/files/folder", path="m", mode=mode).status == 400, mode
    assert box.toolbox.call("POST", "/files/folder", path="/etc/x").status == 403


def test_deleting(box: Box) -> None:
    box.run("mkdir -p d/e; touch d/f g")
    answer = box.toolbox.call("DELETE", "/files", path="g")
    assert (answer.status, answer.body) == (204, b"")
    assert box.toolbox.call("DELETE", "/files", path="g").status == 404
    assert box.toolbox.call("DELETE", "/files", path="d").status == 400
    assert box.toolbox.call("DELETE", "/files", path="d", recursive="false").status == 400
    assert box.toolbox.call("DELETE", "/files", path="d", recursive="true").status == 204
    assert box.run("ls")["result"] == ""


def test_moving(box: Box) -> None:
    box.run("echo a > a; echo b > b; mkdir d")
    move = box.toolbox.call("POST", "/files/move", source="a", destination="b")
    assert (move.status, move.json["code"]) == (409, "CONFLICT")
    assert box.toolbox.call("POST", "/files/move", source="a", destination="d/a").status == 200
    assert box.toolbox.call("POST", "/files/move", source="a", destination="x").status == 404
    assert box.toolbox.call("POST", "/files/move", source="b").status == 400
    assert box.run("cat d/a b")["result"] == "a\nb\n"


def test_permissions(box: Box) -> None:
    put(box, "f", b"")
    assert box.toolbox.call("POST", "/files/permissions", path="f", mode="600").status == 200
    assert box.toolbox.call("GET", "/files/info", path="f").json["permissions"] == "0600"
    assert box.toolbox.call("POST", "/files/permissions", path="f", owner="root").status in (400, 403)
    for owner in ("nobody-of-this-name", "²", "-1", "9" * 30, "9" * 5000):
        assert box.toolbox.call("POST", "/files/permissions", path="f", owner=owner).status == 400
    assert box.toolbox.call("POST", "/files/permissions", path="none", mode="600").status == 404


def test_a_full_disk_is_a_sentence_and_the_sandbox_stays(make_box: Any) -> None:
    box = make_box(tidepool={"memoryBytes": 256 << 20, "diskBytes": 2 << 20})
    answer = put(box, "too-big", BIG)
    assert (answer.status, answer.json["code"]) == (400, "BAD_REQUEST")
    assert "disk is full" in answer.message
    box.run("rm too-big")
    assert put(box, "small", b"fits").status == 200


def test_a_destroyed_sandbox_has_no_files(api: Api, box: Box) -> None:
    api.call("DELETE", f"/sandbox/{box.id}")
    for answer in (get(box, "x"), put(box, "x", b""), box.toolbox.call("GET", "/files")):
        assert (answer.status, answer.json["code"]) == (409, "CONFLICT")
