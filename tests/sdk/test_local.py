"""Finding and starting the local server: one start, no trust in what is not ours, its own sentence when it cannot."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from daytona_sdk import DaytonaConnectionError, DaytonaError, _local

FAKE = Path(__file__).parent / "fake_local"


class Place:
    """One runtime directory, and what is known of the servers started there."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.socket = directory / "tidepool.sock"

    @property
    def starts(self) -> list[dict[str, object]]:
        file = self.directory / "starts"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def end(self) -> None:
        for start in self.starts:
            try:
                os.kill(int(str(start["pid"])), signal.SIGKILL)
            except ProcessLookupError:
                continue
            wait_gone(int(str(start["pid"])))


def wait_gone(pid: int) -> None:
    end = time.monotonic() + 5
    while (
        os.path.exists(f"/proc/{pid}") and "Z" not in Path(f"/proc/{pid}/stat").read_text().split(")")[-1][:3]
    ):
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """An empty runtime directory, and the fake server in the place of the real one."""
    with tempfile.TemporaryDirectory(prefix="tp-sdk-") as base:
        found = Place(Path(base) / "run")
        monkeypatch.setenv("TIDEPOOL_RUNTIME_DIR", str(found.directory))
        monkeypatch.setenv("PYTHONPATH", str(FAKE))
        monkeypatch.setenv("FAKE_LOCAL", "ok")
        yield found
        found.end()


# Where


def test_the_default_directories() -> None:
    assert _local.places({}, 0).socket == "/run/tidepool-0/tidepool.sock"
    assert _local.places({}, 1000).directory == "/tmp/tidepool-1000"
    assert _local.places({"XDG_RUNTIME_DIR": "/run/user/1000"}, 1000).directory == "/run/user/1000/tidepool"
    assert _local.places({"XDG_RUNTIME_DIR": "/x"}, 0).directory == "/run/tidepool-0"
    assert _local.places({"TIDEPOOL_RUNTIME_DIR": "/a/b", "XDG_RUNTIME_DIR": "/x"}, 0).directory == "/a/b"


def test_a_path_too_long_for_a_socket_is_a_sentence() -> None:
    with pytest.raises(DaytonaError, match="longer than a Unix socket's path"):
        _local.places({"TIDEPOOL_RUNTIME_DIR": "/" + "a" * 120}, 0)


def test_the_directory_is_made_for_its_owner_alone(place: Place) -> None:
    _local.ensure()
    assert place.directory.stat().st_mode & 0o777 == 0o700


def not_ours_writable(directory: Path) -> None:
    directory.mkdir()
    directory.chmod(0o777)


def not_ours_link(directory: Path) -> None:
    (directory.parent / "real").mkdir(mode=0o700)
    directory.symlink_to(directory.parent / "real")


def not_ours_file(directory: Path) -> None:
    directory.touch()


def not_ours_owner(directory: Path) -> None:
    directory.mkdir(mode=0o700)
    if os.geteuid() != 0:
        pytest.skip("giving a directory away needs root")
    os.chown(directory, 4242, 4242)


@pytest.mark.parametrize("make", [not_ours_writable, not_ours_link, not_ours_file, not_ours_owner])
def test_a_directory_that_others_may_have_touched_is_refused(place: Place, make: object) -> None:
    make(place.directory)  # type: ignore[operator]
    with pytest.raises(DaytonaError, match=r"cannot be made|not a directory that belongs to uid"):
        _local.ensure()
    assert place.starts == []


# Start


def test_a_server_is_started_once_and_found_again(place: Place) -> None:
    assert _local.ensure() == str(place.socket)
    assert _local.ensure() == str(place.socket)
    assert len(place.starts) == 1


def test_many_at_once_start_one(place: Place) -> None:
    with ThreadPoolExecutor(12) as threads:
        assert set(threads.map(lambda _: _local.ensure(), range(12))) == {str(place.socket)}
    assert len(place.starts) == 1


def test_the_server_is_nobodys_child_here_and_stands_elsewhere(place: Place) -> None:
    _local.ensure()
    (start,) = place.starts
    status = Path(f"/proc/{start['pid']}/status").read_text()
    assert f"PPid:\t{os.getpid()}\n" not in status
    assert start["cwd"] == "/"
    assert os.getsid(int(str(start["pid"]))) != os.getsid(0)


def test_the_working_directory_is_not_where_the_server_is_loaded_from(
    place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    evil = tmp_path / "tidepool"
    evil.mkdir()
    (evil / "__init__.py").write_text("raise SystemExit('loaded from the working directory')")
    (tmp_path / "socket.py").write_text("raise SystemExit('loaded from the working directory')")
    monkeypatch.chdir(tmp_path)
    assert _local.ensure() == str(place.socket)


def test_credentials_stay_here(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAYTONA_API_KEY", "secret")
    monkeypatch.setenv("PYTHONPATH", os.path.relpath(FAKE))
    _local.ensure()
    (start,) = place.starts
    environment = start["env"]
    assert isinstance(environment, dict)
    assert "DAYTONA_API_KEY" not in environment
    assert environment["PYTHONPATH"] == str(FAKE)


def test_a_stale_socket_is_replaced(place: Place) -> None:
    place.directory.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(str(place.socket))
    assert place.socket.exists()
    _local.ensure()
    assert len(place.starts) == 1


def test_a_server_that_died_is_replaced(place: Place) -> None:
    _local.ensure()
    place.end()
    _local.ensure()
    assert len(place.starts) == 2


def test_a_lock_whose_holder_died_does_not_count(place: Place) -> None:
    place.directory.mkdir(mode=0o700)
    lock = place.directory / "tidepool.lock"
    program = (
        "import fcntl,sys; f=open(sys.argv[1],'w'); fcntl.flock(f,2); print('locked', flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(lock)], stdout=subprocess.PIPE, stdin=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"locked\n"
        holder.kill()
    _local.ensure()
    assert len(place.starts) == 1


# When it cannot


@pytest.mark.parametrize(
    ("mode", "sentence"),
    [
        ("refuse", "This host cannot isolate: user namespaces are off. Enable them with sysctl."),
        ("crash", "RuntimeError: a bug"),
    ],
)
def test_a_server_that_cannot_start_says_why_in_its_own_words(
    place: Place, monkeypatch: pytest.MonkeyPatch, mode: str, sentence: str
) -> None:
    monkeypatch.setenv("FAKE_LOCAL", mode)
    with pytest.raises(DaytonaConnectionError, match="exited before it was ready") as caught:
        _local.ensure()
    assert sentence in str(caught.value)
    assert str(place.directory / "tidepool.log") in str(caught.value)


def test_after_a_failed_start_the_next_one_is_tried(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_LOCAL", "refuse")
    with pytest.raises(DaytonaConnectionError):
        _local.ensure()
    monkeypatch.setenv("FAKE_LOCAL", "ok")
    assert _local.ensure() == str(place.socket)


@pytest.mark.thorough
def test_a_server_that_is_never_ready_is_ended(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_LOCAL", "silent")
    place.directory.mkdir(mode=0o700)
    with pytest.raises(DaytonaConnectionError, match="not ready within 1 s and was ended"):
        _local.start(_local.Places(str(place.directory)), 1)
    (start,) = place.starts
    wait_gone(int(str(start["pid"])))


def test_another_protocol_is_refused_with_a_way_out(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_LOCAL", "other")
    _local.ensure()
    with pytest.raises(DaytonaError, match=r"speaks protocol 99, this SDK .* speaks 1.*or end\s+process \d+"):
        _local.ensure()
    assert len(place.starts) == 1


def test_something_else_on_the_socket_is_refused(place: Place) -> None:
    with pytest.raises(DaytonaError, match="is no Tidepool server"):
        _local.check_protocol("/x", 404, b"not found")
    with pytest.raises(DaytonaError, match="is no Tidepool server"):
        _local.check_protocol("/x", 200, b"[]")
