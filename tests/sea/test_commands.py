"""The commands on a library as a person types them."""

import json
import subprocess
import sys

import pytest

from sea.library import Library
from tests.sea.test_cli import sea

pytestmark = [pytest.mark.thorough, pytest.mark.timeout(300)]


@pytest.fixture
def tools(evolved, tmp_path):
    library = Library(tmp_path / "shelf")
    library.replace_all(evolved[0].admitted)
    return library


def test_rewrite_gives_programs_that_anyone_can_run(tools, traces, tmp_path):
    out = tmp_path / "out.jsonl"
    ended = sea("rewrite", "--library", tools.directory, traces, "--out", out)
    assert ended.returncode == 0, ended.stderr
    records = [json.loads(line) for line in out.read_text().splitlines()]
    assert [set(record) for record in records] == [{"id", "original", "rewritten", "tools"}] * 36
    changed = [record for record in records if record["tools"]]
    assert f"rewritten  {len(changed)}" in ended.stdout
    assert len(changed) > 20
    record = changed[0]
    scope = f"from {tools.directory.name} import {', '.join(record['tools'])}\n"
    given = [
        subprocess.run(
            [sys.executable, "-c", text], cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout
        for text in (record["original"], scope + record["rewritten"])
    ]
    assert given[0] == given[1]


def test_a_deprecated_tool_is_put_into_no_program(tools, traces, tmp_path):
    for name in tools.names():
        tools.mark(name, "deprecated")
    ended = sea("rewrite", "--library", tools.directory, traces, "--out", tmp_path / "o")
    assert "rewritten  0" in ended.stdout


def test_mark_retire_undo_find_used_and_report(tools, tmp_path):
    name, where = tools.names()[0], tools.directory
    assert "change index.json" in sea("mark", where, name, "deprecated", "--dry-run").stdout
    assert tools.active() == tools.names()
    assert sea("mark", where, name, "deprecated").returncode == 0
    assert f"{name}  " in sea("list", where).stdout
    assert "(deprecated)" in sea("list", where).stdout
    assert "undone: " in sea("undo", where).stdout
    assert tools.active() == tools.names()
    assert name in sea("find", where, name, "--count", "3").stdout
    assert sea("used", where, name, "-4").returncode in (0, 2)
    assert sea("used", where, name, "--", "-4").returncode == 0
    assert f"{name} is deprecated" in sea("retire", where, "--after", "1").stdout
    assert sea("report", where, "--out", tmp_path / "page.html").returncode == 0
    assert name in (tmp_path / "page.html").read_text()


def test_what_is_wrong_is_one_sentence(tools, tmp_path):
    table = {
        ("undo", tmp_path): "nothing to undo",
        ("rewrite", "--library", tmp_path, tmp_path, "--out", tmp_path / "x"): "no library here",
        ("export", tools.directory, "--format", "openai", "--out", tools.directory): "not an empty directory",
        ("mark", tools.directory, "nothing", "active"): "no tool 'nothing'",
    }
    for arguments, why in table.items():
        ended = sea(*arguments)
        assert ended.returncode == 1
        assert why in ended.stderr
        assert "Traceback" not in ended.stderr
