"""Language servers: how they are started and refused, what is asked of them, and one that breaks its protocol."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.server.client import Answer
from tests.server.conftest import Box
from tidepool.toolbox.lsp import Frames

PYLSP = """
import json, sys

def send(message):
    body = json.dumps({"jsonrpc": "2.0", **message}).encode()
    sys.stdout.buffer.write(b"Content-Length: %d\\r\\n\\r\\n" % len(body) + body)
    sys.stdout.buffer.flush()

opened = {}
while line := sys.stdin.buffer.readline():
    sys.stdin.buffer.readline()
    request = json.loads(sys.stdin.buffer.read(int(line.split(b":")[1])))
    method, params = request["method"], request["params"]
    if method == "initialize":
        send({"id": 77, "method": "workspace/configuration", "params": {}})
        assert json.loads(sys.stdin.buffer.read(int(sys.stdin.buffer.readline().split(b":")[1]) + 2))["error"]
        result = {"capabilities": {}, "root": params["rootUri"]}
    elif method == "textDocument/didOpen":
        opened[params["textDocument"]["uri"]] = params["textDocument"]["text"]
        continue
    elif method == "textDocument/didClose":
        del opened[params["textDocument"]["uri"]]
        continue
    elif method == "textDocument/documentSymbol":
        uri = params["textDocument"]["uri"]
        name = opened.get(uri, "on_disk").strip()
        if name == "break":
            sys.stdout.write("this is no header at all\\r\\n\\r\\n")
            sys.stdout.flush()
            continue
        place = {"start": {"line": 0, "character": 0}, "end": {"line": 0, "character": 1}}
        result = [{"name": name, "kind": 12, "location": {"uri": uri, "range": place}, "more": 1}]
    elif method == "textDocument/completion":
        item = {"label": str(params["position"]["line"]), "kind": 3, "documentation": "words", "insertText": "x"}
        result = {"isIncomplete": False, "items": [item]}
    else:
        continue
    send({"id": request["id"], "result": result})
"""
"""A server as small as one can be, for tests without an index. It finds one function in each file."""
PROJECT = {"languageId": "python", "pathToProject": "p"}


def call(box: Box, method: str, path: str, **fields: Any) -> Answer:
    """A call about the project."""
    if method == "GET":
        return box.toolbox.call("GET", f"/lsp/{path}", **PROJECT, **fields)
    return box.toolbox.call("POST", f"/lsp/{path}", {**PROJECT, **fields})


@pytest.fixture
def project(box: Box) -> Box:
    """A sandbox with a project and such a server."""
    for path, content in (("pylsp.py", PYLSP), ("p/pylsp.py", PYLSP), ("p/a.py", "named\n"), ("p/b.txt", "")):
        assert box.toolbox.upload("/files/upload", ("file", "f", content.encode()), path=path).status == 200
    return box


@pytest.fixture
def started(project: Box) -> Box:
    """The same, with its server running."""
    assert call(project, "POST", "start").status == 200
    return project


@pytest.mark.parametrize(
    ("method", "path", "fields"),
    [
        ("POST", "stop", {}),
        ("POST", "did-open", {"uri": "file://a.py"}),
        ("POST", "did-close", {"uri": "file://a.py"}),
        ("GET", "document-symbols", {"uri": "file://a.py"}),
        ("GET", "workspacesymbols", {"query": "a"}),
        ("GET", "workspace-symbols", {"query": "a"}),
        ("POST", "completions", {"uri": "file://a.py", "position": {"line": 0, "character": 0}}),
    ],
)
def test_nothing_is_answered_before_the_start(
    box: Box, method: str, path: str, fields: dict[str, Any]
) -> None:
    answer = call(box, method, path, **fields)
    assert (answer.status, answer.json["code"]) == (400, "LSP_SERVER_NOT_INITIALIZED")


def test_symbols_and_completions(started: Box) -> None:
    assert call(started, "POST", "start").status == 200
    uri = "file:///home/daytona/p/a.py"
    [symbol] = call(started, "GET", "document-symbols", uri=uri).json
    assert (symbol["name"], symbol["kind"], symbol["location"]["uri"]) == ("on_disk", 12, uri)
    assert symbol.keys() == {"name", "kind", "location"}
    assert call(started, "POST", "did-open", uri="file://a.py").status == 200
    assert call(started, "GET", "document-symbols", uri=uri).json[0]["name"] == "named"
    assert [found["name"] for found in call(started, "GET", "workspacesymbols", query="NAM").json] == [
        "named"
    ]
    assert call(started, "GET", "workspace-symbols", query="other").json == []
    assert call(started, "POST", "did-close", uri=uri).status == 200
    assert call(started, "GET", "document-symbols", uri=uri).json[0]["name"] == "on_disk"
    found = call(started, "POST", "completions", uri=uri, position={"line": 4, "character": 0}).json
    documentation = {"kind": "plaintext", "value": "words"}
    item = {"label": "4", "kind": 3, "documentation": documentation, "insertText": "x"}
    assert found == {"isIncomplete": False, "items": [item]}


def test_after_the_stop_it_is_as_before_the_start(started: Box) -> None:
    assert call(started, "POST", "stop").status == 200
    assert call(started, "POST", "stop").json["code"] == "LSP_SERVER_NOT_INITIALIZED"
    assert call(started, "POST", "start").status == 200


def test_a_server_that_breaks_its_protocol_is_ended(started: Box) -> None:
    body = ("file", "f", b"break")
    assert started.toolbox.upload("/files/upload", body, path="p/a.py").status == 200
    assert call(started, "POST", "did-open", uri="file://a.py").status == 200
    answer = call(started, "GET", "document-symbols", uri="file://a.py")
    assert answer.status == 400
    assert "no Content-Length" in answer.message
    assert call(started, "GET", "workspacesymbols", query="").json["code"] == "LSP_SERVER_NOT_INITIALIZED"


def test_a_server_that_does_not_start_is_quoted(project: Box) -> None:
    body = ("file", "f", b"import sys; sys.exit('no such luck')")
    assert project.toolbox.upload("/files/upload", body, path="p/pylsp.py").status == 200
    answer = call(project, "POST", "start")
    assert answer.status == 400
    assert "no such luck" in answer.message


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"languageId": "typescript"}, "typescript-language-server"),
        ({"languageId": "javascript"}, "typescript-language-server"),
        ({"languageId": "cobol"}, "python only"),
        ({"languageId": 5}, "languageId"),
    ],
)
def test_what_is_not_there_is_said(box: Box, fields: dict[str, Any], words: str) -> None:
    answer = call(box, "POST", "start", **fields)
    assert answer.status == 400
    assert words in answer.message


def test_where_there_is_no_server_and_no_network_the_way_out_is_named(box: Box) -> None:
    assert box.run("mkdir p")["exitCode"] == 0
    answer = call(box, "POST", "start")
    assert answer.status == 400
    assert 'dependencies=["python-lsp-server"]' in answer.message
    assert call(box, "POST", "start", pathToProject="not/there").status == 404


def test_frames_are_cut_where_their_headers_say() -> None:
    frames = Frames()
    assert frames.take(b"Content-Len") == []
    assert frames.take(b"gth: 3\r\nContent-Type: x\r\n\r\nabcContent-Length: 1\r\n\r\n") == [b"abc"]
    assert frames.take(b"d") == [b"d"]


@pytest.mark.parametrize(
    "data",
    [
        b"nothing of it\r\n\r\n",
        b"Content-Length: 99999999\r\n\r\n",
        b"Content-Length: -1\r\n\r\n",
        b"x" * 5000,
        b"Content-Length: 999999999999999999\r\n\r\n",
    ],
)
def test_frames_that_are_not_as_agreed_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"header|message"):
        Frames().take(data)


@pytest.mark.slow
@pytest.mark.parametrize(
    "how", [{"tidepool": {"dependencies": ["python-lsp-server"]}}, {"networkBlockAll": False}]
)
def test_the_real_server(make_box: Callable[..., Box], how: dict[str, Any]) -> None:
    box = make_box(**how)
    content = b"import os\nclass Foo:\n    def bar(self): pass\nos.pa\n"
    assert box.toolbox.upload("/files/upload", ("file", "f", content), path="p/a.py").status == 200
    answer = call(box, "POST", "start")
    assert answer.status == 200, answer.body
    assert [found["name"] for found in call(box, "GET", "workspacesymbols", query="BA").json] == ["bar"]
    position = {"line": 3, "character": 5}
    found = call(box, "POST", "completions", uri="file://a.py", position=position).json
    assert "path" in [item["label"] for item in found["items"]]
