"""Project pages: what an index says in HTML or JSON comes out in both, with nothing lost but the places."""

import json

import pytest

from tidepool.egress import npm, simple
from tidepool.egress.destination import BadUrl, parse_url
from tidepool.egress.simple import BadPage

BASE = parse_url("https://index.example/simple/tp/")
HTML = b"""<!DOCTYPE html><html><body>
<a href="https://files.example/tp-1.0-py3-none-any.whl#sha256=aa" data-requires-python="&gt;=3.8"
   data-core-metadata="sha256=bb" data-yanked="broken &amp; old">tp-1.0-py3-none-any.whl</a>
<a href='../../f/tp-1.0.tar.gz#md5=cc'>tp-1.0.tar.gz</a>
<a href="../../f/tp-1.0.tar.gz#md5=dd">tp-1.0.tar.gz</a>
<a href="tp%2D2.0%2Bcpu.zip" data-yanked>x</a>
<a href="javascript:alert(1)/tp-3.zip">x</a> <a href="file:///tp-4.zip">x</a> <a href="https://u:p@h.example/tp-5.zip">x</a>
<a href="../../f/%2e%2e%2ftp-6.zip">x</a> <a href="../../f/tp-7.zip&quot;&gt;&lt;script&gt;">x</a>
<a name="no link">x</a>
</body></html>"""


def test_html_is_read():
    page = simple.parse_page("text/html; charset=utf-8", HTML, BASE, 3)
    assert list(page) == [
        "tp-1.0-py3-none-any.whl",
        "tp-1.0.tar.gz",
        "tp-2.0+cpu.zip",
        "tp-3.zip",
        "tp-4.zip",
        "tp-5.zip",
    ]
    wheel, source, archive, *unusable = page.values()
    for listing in unusable:
        with pytest.raises(BadUrl):
            listing.upstream()
    assert str(wheel.upstream()) == "https://files.example/tp-1.0-py3-none-any.whl"
    assert wheel.entry.hashes == {"sha256": "aa"}
    assert (wheel.entry.requires_python, wheel.entry.metadata, wheel.entry.yanked) == (
        ">=3.8",
        {"sha256": "bb"},
        "broken & old",
    )
    assert (str(source.upstream()), source.entry.hashes) == (
        "https://index.example/f/tp-1.0.tar.gz",
        {"md5": "cc"},
    )
    assert (archive.entry.yanked, archive.entry.metadata, archive.index) == (True, False, 3)


def test_what_was_read_as_html_is_the_same_when_written_and_read_again():
    page = simple.parse_page("text/html", HTML, BASE, 0)
    local = parse_url("http://127.0.0.1:3128/simple/tp/")
    for kind, render in ((simple.JSON_TYPE, simple.render_json), ("text/html", simple.render_html)):
        written = render("tp", list(page.values()))
        again = simple.parse_page(kind, written, local, 0)
        for name, listing in page.items():
            entry = again[name].entry
            assert str(again[name].upstream()) == f"http://127.0.0.1:3128/files/0/tp/{name}"
            assert entry.hashes == listing.entry.hashes
            assert entry.metadata == listing.entry.metadata
            assert entry.requires_python == listing.entry.requires_python
            assert (entry.yanked or False) == listing.entry.yanked
        assert b"example" not in written


def test_json_is_read_and_keeps_what_html_has_no_place_for():
    file = {
        "filename": "tp-1.0.tar.gz",
        "url": "../../f/tp-1.0.tar.gz",
        "hashes": {"sha256": "aa"},
        "requires-python": None,
        "size": 5,
        "upload-time": "2020-01-01T00:00:00Z",
        "dist-info-metadata": {"sha256": "bb"},
        "yanked": False,
        "provenance": None,
    }
    body = json.dumps(
        {"meta": {"api-version": "1.1"}, "name": "tp", "files": [file], "versions": ["1.0"]}
    ).encode()
    page = simple.parse_page("application/vnd.pypi.simple.v1+json", body, BASE, 0)
    (written,) = json.loads(simple.render_json("tp", list(page.values())))["files"]
    assert (written["size"], written["upload-time"]) == (5, "2020-01-01T00:00:00Z")
    assert written["core-metadata"] == {"sha256": "bb"}
    assert "dist-info-metadata" not in written  # pip 23.0 cannot read hashes there (PEP 714)
    assert b'data-core-metadata="sha256=bb"' in simple.render_html("tp", list(page.values()))


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/zip", b""),
        ("", b"<html>"),
        (simple.JSON_TYPE, b"{"),
        (simple.JSON_TYPE, b"[]"),
        (simple.JSON_TYPE, b'{"files": 1}'),
        (simple.JSON_TYPE, b'{"files": [{"filename": "a", "url": 5}]}'),
        (simple.JSON_TYPE, b'{"files": [{"filename": "a", "url": "\xff"}]}'),
        ("text/html", b'<base href="javascript:x"><a href="a.whl">a</a>'),
    ],
)
def test_what_is_no_page_is_an_error(kind, body):
    with pytest.raises(BadPage):
        simple.parse_page(kind, body, BASE, 0)


def test_who_gets_json():
    assert simple.wants_json("application/vnd.pypi.simple.v1+json, text/html;q=0.01")
    assert not simple.wants_json("*/*")
    assert not simple.wants_json("text/html")


def test_npm_versions_whose_tarball_cannot_be_fetched_are_left_out():
    versions = {
        "1.0.0": {
            "dist": {"tarball": "https://r.example/a/-/a-1.0.0.tgz", "integrity": "i"},
            "bin": {"a": "b"},
        },
        "2.0.0": {"dist": {"tarball": "file:///a-2.0.0.tgz"}},
        "3.0.0": {"dist": {"tarball": "https://r.example/..%2f.tgz"}},
        "4.0.0": {"dist": {"tarball": "https://r.example/other/a-1.0.0.tgz"}},
        "5.0.0": {"dist": {}},
        "6.0.0": "x",
    }
    body = json.dumps({"name": "a", "versions": versions, "dist-tags": {"latest": "1.0.0"}}).encode()
    packument = npm.parse_packument(body, parse_url("https://r.example/a"), "a")
    document = json.loads(npm.render(packument, "http://127.0.0.1:9"))
    assert list(document["versions"]) == ["1.0.0"]
    dist = document["versions"]["1.0.0"]["dist"]
    assert dist == {"tarball": "http://127.0.0.1:9/npm/a/-/a-1.0.0.tgz", "integrity": "i"}
    assert document["versions"]["1.0.0"]["bin"] == {"a": "b"}
    assert document["dist-tags"] == {"latest": "1.0.0"}
    for bad in (b"[]", b"{}", b"{", b'{"versions": []}'):
        with pytest.raises(BadPage):
            npm.parse_packument(bad, parse_url("https://r.example/a"), "a")
