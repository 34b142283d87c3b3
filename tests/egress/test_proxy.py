"""The mirror as code inside a sandbox uses it: pages, files, ranges, separate metadata, several indexes, npm."""

import hashlib
import json
import os
import re
import sys
from pathlib import Path

import pytest

from tidepool.egress.indexes import Index

JSON_TYPE = "application/vnd.pypi.simple.v1+json"


def test_a_page_names_files_of_this_proxy_only(sandbox, index):
    status, headers, body = sandbox.get("/simple/tp-alpha/")
    assert status == 200
    assert headers["content-type"] == "text/html"
    hrefs = re.findall(r'href="([^"]+)"', body.decode())
    assert [href.partition("#")[0] for href in hrefs] == ["/files/0/tp-alpha/tp_alpha-1.0-py3-none-any.whl"]
    assert str(index.port) not in body.decode()


def test_a_file_comes_through_whole_and_its_hash_holds(sandbox):
    page = json.loads(sandbox.get("/simple/tp-alpha/", Accept=JSON_TYPE)[2])
    (file,) = page["files"]
    status, headers, body = sandbox.get(file["url"])
    assert status == 200
    assert int(headers["content-length"]) == len(body)
    assert hashlib.sha256(body).hexdigest() == file["hashes"]["sha256"]


def test_separate_metadata_is_served_only_where_the_index_has_it(sandbox):
    status, _, body = sandbox.get("/files/0/tp-alpha/tp_alpha-1.0-py3-none-any.whl.metadata")
    assert (status, b"Requires-Dist: tp-beta" in body) == (200, True)
    assert sandbox.get("/files/0/tp-beta/tp_beta-1.0-py3-none-any.whl.metadata")[0] == 404


def test_ranges_and_head(sandbox):
    path = "/files/0/tp-alpha/tp_alpha-1.0-py3-none-any.whl"
    whole = sandbox.get(path)[2]
    status, headers, body = sandbox.get(path, Range="bytes=2-9")
    assert (status, body, headers["content-range"]) == (206, whole[2:10], f"bytes 2-9/{len(whole)}")
    assert sandbox.get(path, Range="bytes=-5")[2] == whole[-5:]
    assert sandbox.get(path, Range="bytes=0-1,4-5")[2] == whole, "several ranges are answered whole"
    status, headers, body = sandbox.get(path, method="HEAD")
    assert (status, headers["content-length"], body) == (200, str(len(whole)), b"")


def test_the_first_index_that_has_a_project_answers_alone(start_egress, open_sandbox, index, second_index):
    second_index.page("tp-alpha", '<a href="../../files/tp_alpha-9.0-py3-none-any.whl">x</a>')
    second_index.page("tp-gamma", '<a href="../../files/tp_gamma-9.0-py3-none-any.whl">x</a>')
    sandbox = open_sandbox(start_egress(Index(url=index.url), Index(url=second_index.url)))
    assert b"9.0" not in sandbox.get("/simple/tp-alpha/")[2]
    assert b"/files/1/tp-gamma/tp_gamma-9.0" in sandbox.get("/simple/tp-gamma/")[2]
    merged = open_sandbox(start_egress(Index(url=index.url), Index(url=second_index.url), merge=True))
    assert len(re.findall(b"<a ", merged.get("/simple/tp-alpha/")[2])) == 2


@pytest.mark.parametrize("trouble", [500, 401, 302])
def test_an_index_that_fails_does_not_open_the_way_to_the_next(
    trouble, start_egress, open_sandbox, index, second_index
):
    second_index.page("tp-alpha", '<a href="../../files/tp_alpha-9.0-py3-none-any.whl">x</a>')
    index.paths["/simple/tp-alpha/"].status = trouble
    sandbox = open_sandbox(start_egress(Index(url=index.url), Index(url=second_index.url)))
    status, _, body = sandbox.get("/simple/tp-alpha/")
    assert status == 502
    assert body.startswith(b"The package index ")


def test_many_askers_of_one_page_are_one_question_to_the_index(sandbox, index):
    connections = [sandbox.connect() for _ in range(10)]
    for sock in connections:
        sock.sendall(b"GET /simple/tp-alpha/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    for sock in connections:
        assert sock.recv(65536).startswith(b"HTTP/1.1 200")
        sock.close()
    assert len(index.asked("/simple/tp-alpha/")) == 1


def test_npm_documents_name_tarballs_of_this_proxy_only(start_egress, open_sandbox, index, stored):
    tarball = f"http://127.0.0.1:{index.port}/t/left-1.0.0.tgz"
    document = {"name": "@tp/left", "versions": {"1.0.0": {"dist": {"tarball": tarball, "shasum": "s"}}}}
    index.paths["/npm/@tp%2fleft"] = stored(json.dumps(document).encode(), "application/json")
    index.paths["/t/left-1.0.0.tgz"] = stored(b"tarball")
    sandbox = open_sandbox(start_egress(npm=(Index(url=f"http://127.0.0.1:{index.port}/npm"),)))
    answer = json.loads(sandbox.get("/npm/@tp%2fleft")[2])
    place = answer["versions"]["1.0.0"]["dist"]["tarball"]
    assert place == f"{sandbox.url}/npm/@tp/left/-/left-1.0.0.tgz"
    assert sandbox.get(place.removeprefix(sandbox.url))[2] == b"tarball"
    assert sandbox.get("/npm/@tp/left/-/left-2.0.0.tgz")[0] == 404
    assert sandbox.get("/simple/tp-alpha/")[0] == 404, "no Python index is configured here"


def test_pip_resolves_and_downloads_through_the_proxy(sandbox, tmp_path):
    argv = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "tp-alpha",
        "--no-cache-dir",
        "-d",
        str(tmp_path / "out"),
    ]
    done = sandbox.run(argv, tmp_path, PIP_INDEX_URL=f"{sandbox.url}/simple/")
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(os.listdir(tmp_path / "out")) == [
        "tp_alpha-1.0-py3-none-any.whl",
        "tp_beta-1.0-py3-none-any.whl",
    ]


def test_uv_resolves_and_installs_through_the_proxy(sandbox, tmp_path):
    uv = Path(sys.executable).parent / "uv"
    argv = [str(uv), "pip", "install", "--no-cache", "--target", str(tmp_path / "out"), "tp-alpha"]
    done = sandbox.run(argv, tmp_path, UV_DEFAULT_INDEX=f"{sandbox.url}/simple/", UV_PYTHON=sys.executable)
    assert done.returncode == 0, done.stderr
    assert {"tp_alpha.py", "tp_beta.py"} <= set(os.listdir(tmp_path / "out"))


def test_every_decision_is_one_line_in_the_log(sandbox, egress):
    sandbox.get("/simple/tp-alpha/")
    sandbox.get("/simple/unknown/")
    sandbox.get("/elsewhere")
    sandbox.raw(b"nonsense\r\n\r\n")
    seen = [(r["sandbox"], r["method"], r["path"], r["verdict"], r["status"]) for r in egress.records()]
    assert seen == [
        ("sandbox-1", "GET", "/simple/tp-alpha/", "served", 200),
        ("sandbox-1", "GET", "/simple/unknown/", "refused", 404),
        ("sandbox-1", "GET", "/elsewhere", "refused", 404),
        ("sandbox-1", "?", "?", "refused", 400),
    ]
    assert egress.records()[0]["bytes"] > 100
