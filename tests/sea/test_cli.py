"""`sea` as a person runs it: sentences and exit status."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Server

pytestmark = pytest.mark.timeout(300)
SEA = str(Path(sys.executable).with_name("sea"))


def sea(*arguments: object, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SEA, *map(str, arguments)], env=env, capture_output=True, text=True, timeout=240, check=False
    )


@pytest.mark.thorough
def test_evolve_list_show_and_test(server: Server, traces: Path, tmp_path: Path):
    tools = tmp_path / "tools"
    made = sea("evolve", traces, "--library", tools, env=server.environment)
    assert made.returncode == 0, made.stderr
    listed = sea("list", tools).stdout.splitlines()
    assert f"admitted  {len(listed)}" in made.stdout
    name = listed[0].split()[0]
    shown = sea("show", tools, name).stdout
    assert f"def {name}(" in shown
    assert "failed" not in shown
    assert sea("test", tools, name, env=server.environment).returncode == 0
    body = (tools / name / "tool.py").read_text().replace("    return ", "    return None and ")
    (tools / name / "tool.py").write_text(body)
    broken = sea("test", tools, name, env=server.environment)
    assert (broken.returncode, broken.stdout[:6]) == (1, "FAILED")


def test_a_missing_file_is_one_sentence(tmp_path):
    ended = sea("evolve", tmp_path / "nowhere.jsonl", "--library", tmp_path / "tools")
    assert ended.returncode == 1
    assert ended.stderr == f"Error: {tmp_path}/nowhere.jsonl: no such file or directory\n"
    assert not (tmp_path / "tools").exists()


def test_no_server_is_one_sentence_and_nothing_is_written(traces, tmp_path):
    dead = os.environ | {"DAYTONA_API_URL": "http://127.0.0.1:1/api", "DAYTONA_API_KEY": "none"}
    ended = sea("evolve", traces, "--library", tmp_path / "tools", env=dead)
    assert ended.returncode == 1
    assert "Error: no sandbox could be made, so nothing was run: " in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "tools").exists()


@pytest.mark.parametrize("command", [("list",), ("show", "name"), ("test",)])
def test_no_library_is_one_sentence(command, tmp_path):
    ended = sea(command[0], tmp_path, *command[1:])
    assert ended.returncode == 1
    assert "no library here; `sea evolve" in ended.stderr
