"""Keys and directories: where they come from, and that a made key is nobody else's to read."""

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tidepool.server.config import ServerConfig, api_keys, directories, from_environment


def test_the_environments_key_is_first(tmp_path: Path) -> None:
    keys, note = api_keys({"TIDEPOOL_API_KEY": " k1\n", "TIDEPOOL_API_KEY_FILE": "/nowhere"}, tmp_path)
    assert keys == {"k1": "default"}
    assert "k1" not in note
    assert list(tmp_path.iterdir()) == []


def test_a_named_file_holds_the_key(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("from-a-file\n")
    keys, note = api_keys({"TIDEPOOL_API_KEY_FILE": str(tmp_path / "key")}, tmp_path / "state")
    assert keys == {"from-a-file": "default"}
    assert str(tmp_path / "key") in note


def test_without_one_a_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    state = tmp_path / "new" / "state"
    first, note = api_keys({}, state)
    again, _ = api_keys({}, state)
    ((key, tenant),) = first.items()
    assert first == again
    assert tenant == "default"
    assert len(key) > 40
    assert key not in note
    assert str(state / "api_key") in note
    assert stat.S_IMODE((state / "api_key").stat().st_mode) == 0o600
    assert [file.name for file in state.iterdir()] == ["api_key"]


def test_two_servers_that_start_at_once_have_one_key(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib; from tidepool.server.config import api_keys;"
        "print(*api_keys({}, pathlib.Path(sys.argv[1]))[0])"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "state")]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    keys = {process.communicate()[0] for process in started}
    assert len(keys) == 1
    assert keys != {""}


@pytest.mark.parametrize("bad", ["", " \n", "two words", "two\nlines", "schlüssel"])
def test_a_key_that_could_not_be_sent_is_refused(bad: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="one key"):
        api_keys({"TIDEPOOL_API_KEY": bad}, tmp_path)


def test_a_missing_key_file_is_an_error_not_a_new_key(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        api_keys({"TIDEPOOL_API_KEY_FILE": str(tmp_path / "none")}, tmp_path)


@pytest.mark.parametrize(
    ("environ", "uid", "expected"),
    [
        ({}, 0, ("/var/lib/tidepool", "/run/tidepool-0")),
        ({"HOME": "/h"}, 7, ("/h/.local/share/tidepool", "/tmp/tidepool-7")),
        ({"HOME": "/h", "XDG_DATA_HOME": "/d", "XDG_RUNTIME_DIR": "/r"}, 7, ("/d/tidepool", "/r/tidepool")),
        ({"TIDEPOOL_STATE_DIR": "/s", "TIDEPOOL_RUNTIME_DIR": "/t"}, 0, ("/s", "/t")),
    ],
)
def test_directories(environ: dict[str, str], uid: int, expected: tuple[str, str]) -> None:
    assert tuple(map(str, directories(environ, uid))) == expected


def test_the_key_is_taken_out_of_the_environment_and_shown_nowhere(tmp_path: Path) -> None:
    program = (
        "import os, subprocess; from tidepool.server.config import from_environment;"
        "config, note = from_environment(needs_key=True);"
        "print(config, note, subprocess.run(['env'], capture_output=True).stdout)"
    )
    environment = {
        "TIDEPOOL_API_KEY": "very-secret",
        "PATH": "/usr/bin:/bin",
        "TIDEPOOL_STATE_DIR": str(tmp_path),
    }
    said = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert "ServerConfig" in said.stdout
    assert "very-secret" not in said.stdout + said.stderr


def test_a_unix_socket_needs_no_key() -> None:
    config, note = from_environment(needs_key=False, pool_size=5)
    assert isinstance(config, ServerConfig)
    assert (config.api_keys, note, config.pool_size) == ({}, "", 5)
    assert 0 in config.allowed_uids


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        (name, bad)
        for name in ("TIDEPOOL_HEAD_SECONDS", "TIDEPOOL_MAX_SANDBOXES")
        for bad in ("", "0", "-1", "soon")
    ],
)
def test_a_number_that_is_none_is_refused_by_name(
    name: str, bad: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, bad)
    with pytest.raises(ValueError, match=name):
        from_environment(needs_key=False)


def test_how_long_a_head_may_take_is_the_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEPOOL_HEAD_SECONDS", "1.5")
    assert from_environment(needs_key=False)[0].head_s == 1.5
