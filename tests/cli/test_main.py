"""The command tree as a user meets it: help, wrong usage, exit codes. No server is needed for any of this."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tidepool import __version__
from tidepool.cli.main import COMMANDS

TIDEPOOL = (sys.executable, "-m", "tidepool.cli")


def tidepool(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as a process of its own."""
    return subprocess.run(
        [*TIDEPOOL, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
        env=os.environ | environment,
    )


def test_help_names_every_command() -> None:
    result = tidepool("--help")
    assert result.returncode == 0
    listed = {
        line.split()[0] for line in result.stdout.partition("Commands:")[2].splitlines() if line.strip()
    }
    assert set(COMMANDS) <= listed


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    result = tidepool(command, "--help")
    assert result.returncode == 0
    assert command in result.stdout
    assert result.stderr == ""


def test_version_is_the_packages() -> None:
    assert tidepool("--version").stdout.strip().endswith(__version__)


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("run",),
        ("run", "/no/such/file.py"),
        ("run", "--timeout", "0", "-"),
        ("run", "--memory", "1", "-"),
        ("run", "--net", "everything", "-"),
        ("exec", "some-id", "--"),
        ("cp", "a", "b"),
        ("cp", "x:a", "y:b"),
        ("rm",),
    ],
)
def test_wrong_usage_is_exit_code_2_and_says_why(arguments: tuple[str, ...]) -> None:
    result = tidepool(*arguments)
    assert result.returncode == 2
    assert "Error: " in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_a_file_that_nobody_knows_how_to_run_is_refused(tmp_path: Path) -> None:
    program = tmp_path / "program.cobol"
    program.write_text("")
    result = tidepool("run", str(program))
    assert (result.returncode, "how to run it is not known" in result.stderr) == (2, True)


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    for name in ("a.py", "other/a.py"):
        (tmp_path / name).write_text("")
    result = tidepool("run", str(tmp_path / "a.py"), "--file", str(tmp_path / "other/a.py"))
    assert (result.returncode, "a.py" in result.stderr) == (2, True)


def test_a_server_that_is_not_there_is_one_sentence() -> None:
    result = tidepool("ps", DAYTONA_API_URL="http://127.0.0.1:9/api", DAYTONA_API_KEY="k")
    assert result.returncode == 1
    assert result.stderr.startswith("tidepool: ")
    assert len(result.stderr.splitlines()) == 1


def test_a_url_without_a_key_is_one_sentence() -> None:
    result = tidepool("ps", DAYTONA_API_URL="http://127.0.0.1:9/api")
    assert result.returncode == 1
    assert "DAYTONA_API_KEY" in result.stderr
    assert len(result.stderr.splitlines()) == 1
