"""`ps`, `logs`, `rm`, `prune --all` and `cp` against a real server."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from daytona_sdk import CreateSandboxFromSnapshotParams, Daytona, DaytonaConfig, Sandbox
from tests.cli.test_run import tidepool
from tests.conftest import Server

pytestmark = pytest.mark.needs("user_namespace", "overlayfs")


@pytest.fixture
def daytona(server: Server) -> Iterator[Daytona]:
    """A client whose sandboxes are all deleted afterwards."""
    with Daytona(DaytonaConfig(api_url=server.url, api_key=server.key)) as client:
        yield client
        for box in client.list():
            box.delete()


@pytest.fixture
def box(daytona: Daytona) -> Sandbox:
    """One sandbox with a name."""
    return daytona.create(CreateSandboxFromSnapshotParams(name="named", network="none"))


def test_ps_lists_what_there_is(server: Server, box: Sandbox) -> None:
    lines = tidepool(server, "ps").stdout.decode().splitlines()
    assert lines[0].split() == ["ID", "NAME", "STATE", "AGE", "MEMORY", "NETWORK", "DEPENDENCIES"]
    (row,) = (line.split() for line in lines[1:])
    assert row[:3] == [box.id[:12], "named", "started"]
    assert row[4:] == ["1GiB", "none", "-"]


def test_ps_quiet_is_ids_for_scripts(server: Server, daytona: Daytona) -> None:
    assert tidepool(server, "ps", "-q").stdout == b""
    ids = {daytona.create().id for _ in range(2)}
    assert set(tidepool(server, "ps", "-q").stdout.decode().split()) == ids


def test_logs_are_what_runs_wrote(server: Server, box: Sandbox) -> None:
    box.process.exec("echo one; echo two >&2")
    box.process.exec("echo three")
    result = tidepool(server, "logs", "named")
    assert (result.returncode, result.stdout) == (0, b"one\ntwo\nthree\n")


def test_rm_deletes_what_is_named(server: Server, daytona: Daytona, box: Sandbox) -> None:
    other = daytona.create()
    result = tidepool(server, "rm", "named")
    assert (result.returncode, result.stdout.decode().split()) == (0, [box.id])
    assert [one.id for one in daytona.list()] == [other.id]


def test_rm_deletes_nothing_when_one_name_is_wrong(server: Server, daytona: Daytona, box: Sandbox) -> None:
    result = tidepool(server, "rm", "named", "nobody")
    assert result.returncode == 1
    assert b"nobody" in result.stderr
    assert [one.id for one in daytona.list()] == [box.id]


def test_prune_leaves_what_it_does_not_know(server: Server, daytona: Daytona, box: Sandbox) -> None:
    assert tidepool(server, "prune").stdout == b""
    assert len(daytona.list()) == 1
    assert tidepool(server, "prune", "--all").stdout.decode().split() == [box.id]
    assert daytona.list() == []


def test_a_file_goes_in_and_comes_out(server: Server, box: Sandbox, tmp_path: Path) -> None:
    source, back = tmp_path / "in.bin", tmp_path / "out.bin"
    source.write_bytes(bytes(range(256)) * 1000)
    assert tidepool(server, "cp", source, "named:deep/er/in.bin").returncode == 0
    assert tidepool(server, "cp", "named:deep/er/in.bin", back).returncode == 0
    assert back.read_bytes() == source.read_bytes()


def test_a_directory_takes_a_file_under_its_name(server: Server, box: Sandbox, tmp_path: Path) -> None:
    source, place = tmp_path / "in.txt", tmp_path / "place"
    source.write_text("text")
    place.mkdir()
    assert tidepool(server, "cp", source, "named:/tmp").returncode == 0
    assert tidepool(server, "cp", source, "named:new/").returncode == 0
    assert tidepool(server, "cp", "named:/tmp/in.txt", place).returncode == 0
    assert (place / "in.txt").read_text() == "text"
    assert box.fs.download_file("new/in.txt") == b"text"


@pytest.mark.parametrize("path", ["/no/such/file", "/tmp", "/etc/shadow"])
def test_what_cannot_be_copied_leaves_nothing(
    server: Server, box: Sandbox, tmp_path: Path, path: str
) -> None:
    result = tidepool(server, "cp", f"named:{path}", tmp_path / "out")
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_local_file_that_is_missing_is_one_sentence(server: Server, box: Sandbox, tmp_path: Path) -> None:
    result = tidepool(server, "cp", tmp_path / "missing", "named:x")
    assert result.returncode == 1
    assert b"missing" in result.stderr
    assert len(result.stderr.splitlines()) == 1
