"""`sea verify` as a person runs it: a line for each verdict, sentences for what cannot be read."""

import json

import pytest
from click.testing import CliRunner

from sea.cli import main
from tests.conftest import Server

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def files(tmp_path):
    (tmp_path / "tool.py").write_text("def half(number):\n    return number // 2\n")
    (tmp_path / "calls.jsonl").write_text(
        '{"arguments": [8], "result": 4}\n{"arguments": [9], "result": 4}\n'
    )
    (tmp_path / "asserts.py").write_text("assert half(8) == 4.0\nassert half(3) == 2\n")
    return tmp_path


def run(server: Server | None, *arguments: object):
    environment = server.environment if server else {}
    return CliRunner(env=environment).invoke(main, ["verify", *map(str, arguments)])


def test_the_good_and_the_bad(server, files):
    good = run(server, files / "tool.py", "--evidence", files / "calls.jsonl")
    assert good.exit_code == 0, good.output
    lines = good.output.splitlines()
    assert len(lines) == 9
    assert all(line.startswith("passed  ") for line in lines)
    bad = run(server, files / "tool.py", "--evidence", files / "asserts.py", "--json")
    assert bad.exit_code == 1
    found = json.loads(bad.output)
    assert not found["accepted"]
    assert found["verdicts"][-1]["detail"] == "1 of 2 calls differ: half(3) gave 1, recorded is 2"


def test_the_original_is_compared_with(server, files):
    (files / "original.py").write_text("def half(number):\n    return number // 2 if number < 99 else 0\n")
    found = run(
        server,
        files / "tool.py",
        "--evidence",
        files / "calls.jsonl",
        "--original",
        files / "original.py",
        "--no-mutation",
    )
    assert found.exit_code == 1
    assert "the original code 0" in found.output


def test_what_cannot_be_read_is_a_sentence(files):
    (files / "empty.py").write_text("x = 1\n")
    (files / "nothing.jsonl").write_text("\n")
    for tool, evidence, said in (
        ("empty.py", "calls.jsonl", "there is no function in it"),
        ("tool.py", "nothing.jsonl", "no call of half in it"),
    ):
        found = run(None, files / tool, "--evidence", files / evidence)
        assert found.exit_code == 1
        assert said in found.output
