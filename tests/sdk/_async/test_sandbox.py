"""The client, the local server and a real sandbox together: every method does what it says."""

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from daytona_sdk import (
    AsyncDaytona,
    AsyncSandbox,
    CodeRunParams,
    CreateSandboxFromSnapshotParams,
    DaytonaBadRequestError,
    DaytonaConflictError,
    DaytonaError,
    DaytonaFileNotFoundError,
    DaytonaNotFoundError,
    DaytonaProcessExecutionTimeoutError,
    FileDownloadRequest,
    FileUpload,
    Resources,
    SandboxState,
)
from tests.sdk.conftest import LocalPlace

pytestmark = pytest.mark.needs("user_namespace", "overlayfs")


@pytest.fixture
async def daytona(local: LocalPlace, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AsyncDaytona]:
    """A client of this module's own local server."""
    for key in ("TIDEPOOL_RUNTIME_DIR", "TIDEPOOL_STATE_DIR"):
        monkeypatch.setenv(key, local.environment[key])
    async with AsyncDaytona() as client:
        yield client


@pytest.fixture
async def box(daytona: AsyncDaytona) -> AsyncIterator[AsyncSandbox]:
    """One sandbox, removed afterwards."""
    async with await daytona.create() as sandbox:
        yield sandbox


@pytest.mark.thorough
async def test_stop_start_and_archive_keep_files(box: AsyncSandbox) -> None:
    await box.fs.upload_file(b"kept", "file")
    await box.stop()
    assert box.state is SandboxState.STOPPED
    with pytest.raises(DaytonaConflictError, match="is stopped"):
        await box.process.exec("true")
    await box.archive()
    assert box.state is SandboxState.ARCHIVED
    await box.start()
    assert await box.fs.download_file("file") == b"kept"


async def test_what_a_sandbox_says_of_itself(daytona: AsyncDaytona) -> None:
    params = CreateSandboxFromSnapshotParams(
        name="named",
        labels={"team": "a"},
        env_vars={"GREETING": "hi"},
        network="none",
        memory_bytes=512 << 20,
        pids=64,
    )
    async with await daytona.create(params) as box:
        assert (box.name, box.state, box.labels["team"], box.env) == (
            "named", SandboxState.STARTED, "a", {"GREETING": "hi"},
        )  # fmt: skip
        assert box.isolation is not None
        assert (box.isolation.network, box.isolation.memory_bytes, box.isolation.pids) == (
            "none",
            512 << 20,
            64,
        )
        assert "user" in " ".join(box.isolation.enforced)
        assert (await box.process.exec("echo $GREETING")).stdout == "hi\n"
        assert (await daytona.get("named")).id == box.id
        assert await box.get_work_dir() == (await box.process.exec("pwd")).stdout.strip()
        assert await box.get_user_home_dir() == (await box.process.exec("echo ~")).stdout.strip()
        with pytest.raises(DaytonaConflictError):
            await daytona.create(params)


async def test_the_local_default_is_the_package_index_and_blocking_all_is_none(daytona: AsyncDaytona) -> None:
    async with await daytona.create() as plain:
        assert plain.isolation is not None
        assert plain.isolation.network == "packages"
    async with await daytona.create(CreateSandboxFromSnapshotParams(network_block_all=True)) as blocked:
        assert blocked.isolation is not None
        assert blocked.isolation.network == "none"


async def test_resources_in_daytonas_units(daytona: AsyncDaytona) -> None:
    async with await daytona.create(CreateSandboxFromSnapshotParams(resources=Resources(memory=2))) as box:
        assert box.isolation is not None
        assert (box.memory, box.isolation.memory_bytes) == (2, 2 << 30)


async def test_list_by_label_and_relabel(daytona: AsyncDaytona, box: AsyncSandbox) -> None:
    assert await box.set_labels({"colour": "blue"}) == {"colour": "blue"}
    assert [one.id for one in await daytona.list({"colour": "blue"})] == [box.id]
    assert await daytona.list({"colour": "red"}) == []
    await box.refresh_data()
    assert box.labels == {"colour": "blue"}


async def test_a_deleted_sandbox_is_gone(daytona: AsyncDaytona) -> None:
    box = await daytona.create()
    await daytona.delete(box)
    assert box.state is SandboxState.DESTROYED
    with pytest.raises(DaytonaError):
        await box.process.exec("true")
    assert box.id not in [one.id for one in await daytona.list()]


async def test_what_is_wrong_is_refused_and_nothing_is_made(daytona: AsyncDaytona) -> None:
    before = {one.id for one in await daytona.list()}
    with pytest.raises(DaytonaBadRequestError, match="name"):
        await daytona.create(CreateSandboxFromSnapshotParams(name="not a name"))
    assert {one.id for one in await daytona.list()} == before
    with pytest.raises(DaytonaNotFoundError):
        await daytona.get("nobody")


# Process


async def test_commands_code_and_their_ends(box: AsyncSandbox) -> None:
    done = await box.process.exec("echo out; echo err >&2; exit 3", timeout=10)
    assert (done.exit_code, done.stdout, done.stderr, done.verdict) == (3, "out\n", "err\n", "exited")
    assert done.artifacts.stdout == done.result
    assert done.duration_ms is not None
    assert 0 < done.duration_ms < 10_000
    assert (await box.process.exec("pwd; echo $A", cwd="/tmp", env={"A": "b c"})).stdout == "/tmp\nb c\n"
    code = "import os, sys; print(sys.argv[1:], os.environ['A'])"
    ran = await box.process.code_run(code, CodeRunParams(argv=["x", "y z"], env={"A": "1"}))
    assert (ran.result, ran.exit_code) == ("['x', 'y z'] 1\n", 0)
    killed = await box.process.exec("kill -KILL $$")
    assert (killed.exit_code, killed.verdict) == (137, "signaled")
    broken = await box.process.code_run("x = ")
    assert (broken.exit_code, "SyntaxError" in broken.result) == (1, True)


async def test_code_and_commands_are_told_apart_and_share_the_work_directory(box: AsyncSandbox) -> None:
    await box.fs.upload_file(b"print('from a file')", "hello.py")
    assert (await box.process.code_run("python hello.py")).result == "from a file\n"
    assert (await box.process.code_run("print(open('hello.py').read())")).exit_code == 0
    assert "hello.py" in (await box.process.code_run("ls -la")).result
    missing = await box.process.code_run("python missing.py")
    assert (missing.exit_code, "missing.py" in missing.result) == (2, True)


async def test_a_timeout_keeps_what_was_there(box: AsyncSandbox) -> None:
    begin = time.monotonic()
    with pytest.raises(DaytonaProcessExecutionTimeoutError) as caught:
        await box.process.exec("echo before; sleep 30", timeout=1)
    assert 0.9 < time.monotonic() - begin < 5
    assert caught.value.partial is not None
    assert (caught.value.partial.stdout, caught.value.partial.verdict) == ("before\n", "timed_out")
    with pytest.raises(DaytonaProcessExecutionTimeoutError):
        await box.process.code_run("import time; time.sleep(30)", timeout=0.5)


async def test_a_stream_comes_as_it_is_written_and_ends_with_the_result(box: AsyncSandbox) -> None:
    begin = time.monotonic()
    seen = []
    async with box.process.stream("echo one; sleep 1; echo two >&2; exit 4") as running:
        async for chunk in running:
            seen.append((chunk.stream, chunk.data, time.monotonic() - begin))
    assert [(stream, data) for stream, data, _ in seen] == [("stdout", b"one\n"), ("stderr", b"two\n")]
    assert seen[0][2] < 0.9
    assert (running.result.exit_code, running.result.verdict) == (4, "exited")


ECHO = "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read())"


@pytest.mark.parametrize("program", [{"argv": ["cat"]}, {"command": "cat"}, {"code": ECHO}])
async def test_a_stream_takes_any_program_and_any_bytes(box: AsyncSandbox, program: dict[str, Any]) -> None:
    data = bytes(range(256)) * 1000
    async with box.process.stream(**program, stdin=data) as running:
        assert b"".join([chunk.data async for chunk in running]) == data
    assert running.result.exit_code == 0


async def test_leaving_a_stream_kills_its_command(box: AsyncSandbox) -> None:
    async with box.process.stream("echo started; sleep 777") as running:
        async for chunk in running:
            assert chunk.data == b"started\n"
            break
    deadline = time.monotonic() + 5
    while "777" in (await box.process.exec("cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -v grep")).stdout:
        assert time.monotonic() < deadline


async def test_a_test_run_is_judged_by_its_report(daytona: AsyncDaytona) -> None:
    async with await daytona.create(CreateSandboxFromSnapshotParams(dependencies=["pytest"])) as box:
        good, bad = (
            b"def test_a():\n    assert 1\n",
            b"def test_b():\n    print('passed')\n    assert 0, 'no'\n",
        )
        await box.fs.upload_files([FileUpload(good, "test_good.py"), FileUpload(bad, "test_bad.py")])
        passed = await box.process.run_tests("test_good.py", timeout=30)
        assert (passed.success, passed.exit_code, [one.outcome for one in passed.tests]) == (
            True,
            0,
            ["passed"],
        )
        failed = await box.process.run_tests(timeout=30)
        assert (failed.success, sorted(one.outcome for one in failed.tests)) == (False, ["failed", "passed"])
        none = await box.process.run_tests("nothing.py", timeout=30)
        assert not none.success


# Files


async def test_files_there_and_back(box: AsyncSandbox, tmp_path: Path) -> None:
    content = bytes(range(256)) * 40_000
    local = tmp_path / "big"
    local.write_bytes(content)
    await box.fs.upload_file(local, "deep/er/big")
    await box.fs.upload_files(
        [FileUpload(b"1", "one"), FileUpload(b"", "empty"), FileUpload(str(local), "/tmp/two")]
    )
    assert await box.fs.download_file("deep/er/big") == content
    assert await box.fs.download_file("empty") == b""
    await box.fs.download_file("/tmp/two", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == content
    wanted = [
        FileDownloadRequest("one"),
        FileDownloadRequest("none"),
        FileDownloadRequest("/tmp/two", str(tmp_path / "x")),
    ]
    first, second, third = await box.fs.download_files(wanted)
    assert (first.result, first.error) == (b"1", None)
    assert second.error is not None
    assert Path(str(third.result)).read_bytes() == content


async def test_a_file_name_with_everything_in_it(box: AsyncSandbox) -> None:
    name = 'a "b" c\n&=%é.txt'
    await box.fs.upload_file(b"x", name)
    assert await box.fs.download_file(name) == b"x"
    assert name in [one.name for one in await box.fs.list_files(".")]


@pytest.mark.thorough
async def test_directories_permissions_and_moves(box: AsyncSandbox) -> None:
    await box.fs.create_folder("d/e", "700")
    await box.fs.upload_file(b"abc", "d/f.txt")
    await box.fs.set_file_permissions("d/f.txt", mode="640")
    found = {one.name: one for one in await box.fs.list_files("d")}
    assert (found["e"].is_dir, found["e"].permissions[-3:], found["e"].mode[0]) == (True, "700", "d")
    assert (found["f.txt"].size, found["f.txt"].permissions[-3:], found["f.txt"].mode) == (
        3,
        "640",
        "-rw-r-----",
    )
    await box.fs.move_files("d/f.txt", "d/g.txt")
    assert (await box.fs.get_file_info("d/g.txt")).size == 3
    await box.fs.upload_file(b"", "d/h.txt")
    with pytest.raises(DaytonaConflictError):
        await box.fs.move_files("d/g.txt", "d/h.txt")
    with pytest.raises(DaytonaBadRequestError):
        await box.fs.delete_file("d")
    await box.fs.delete_file("d", recursive=True)
    for gone in (box.fs.get_file_info, box.fs.download_file, box.fs.delete_file, box.fs.list_files):
        with pytest.raises(DaytonaFileNotFoundError):
            await gone("d")
