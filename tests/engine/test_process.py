"""Live processes of a real sandbox: what is written and read while they run, and how they end."""

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.security.conftest import EngineThread
from tidepool.engine import CodeRun, Command, Sandbox, Verdict
from tidepool.engine.errors import WrongState
from tidepool.engine.process import KEPT_BYTES, Process

pytestmark = pytest.mark.needs("user_namespace", "overlayfs", "idmapped_mounts")


@pytest.fixture(scope="module")
def host() -> Iterator[EngineThread]:
    """An engine of this module's own."""
    place = Path(tempfile.mkdtemp(prefix="tidepool-processes-"))
    place.chmod(0o755)
    thread = EngineThread(place / "state", place / "run")
    try:
        yield thread
    finally:
        thread.close()
        shutil.rmtree(place)


@pytest.fixture(scope="module")
def box(host: EngineThread) -> Sandbox:
    """One sandbox for all of them; it ends with the engine."""
    return host.sandbox()


async def rest(process: Process) -> bytes:
    """All that is still to be read."""
    found = b""
    while (item := await process.read()) is not None:
        found += item[1]
    return found


@pytest.mark.parametrize(
    "run", [Command(argv=("cat",)), CodeRun("import sys\nfor line in sys.stdin: print(line, end='')")]
)
def test_what_is_written_is_read_back_and_the_end_of_input_is_seen(
    host: EngineThread, box: Sandbox, run: Command | CodeRun
) -> None:
    async def talk() -> None:
        process = await box.open(run)
        assert (box.busy, process.over) == (1, False)
        for line in (b"one\n", b"two\n"):
            await process.write(line)
            assert await process.read() == ("stdout", line)
        process.close_stdin()
        assert await process.read() is None
        assert await process.read() is None
        result = await process.wait()
        assert (result.exit_code, result.verdict, result.stdout) == (0, Verdict.EXITED, b"one\ntwo\n")
        assert (box.busy, process.over) == (0, True)
        with pytest.raises(BrokenPipeError):
            await process.write(b"three\n")

    host.run(talk())


def test_an_interrupt_reaches_the_whole_group(host: EngineThread, box: Sandbox) -> None:
    async def talk() -> None:
        process = await box.open(Command(shell="trap 'echo parent' INT; sleep 60; echo after"))
        await asyncio.sleep(0.3)
        await process.interrupt()
        assert await rest(process) == b"parent\nafter\n"
        assert (await process.wait()).exit_code == 0
        await process.interrupt()  # it has ended: nothing to be done, and no error

    host.run(talk())


def test_a_kill_ends_the_tree_and_what_was_not_read_is_dropped(host: EngineThread, box: Sandbox) -> None:
    async def talk() -> None:
        process = await box.open(Command(shell="sleep 1234 & yes"))
        await process.read()
        result = await process.kill()
        assert (result.exit_code, result.verdict) == (137, Verdict.SIGNALED)
        assert await process.read() is None
        assert b"1234" not in (await box.exec(Command(shell="cat /proc/[0-9]*/cmdline"))).stdout
        assert (await process.kill()).exit_code == 137  # once more is no error

    host.run(talk())


def test_a_reader_that_waits_stops_the_process_and_misses_nothing(host: EngineThread, box: Sandbox) -> None:
    async def talk() -> None:
        process = await box.open(Command(shell="head -c 30000000 /dev/zero; echo end"))
        await asyncio.sleep(0.5)
        assert not process.over
        assert await rest(process) == bytes(30_000_000) + b"end\n"
        assert len((await process.wait()).stdout) < 2 * KEPT_BYTES

    host.run(talk())


@pytest.mark.parametrize("size", [5_000_000, 5_200_000, 5_300_000, 5_600_000])
def test_a_slow_reader_of_a_stream_misses_nothing(host: EngineThread, box: Sandbox, size: int) -> None:
    async def read() -> int:
        found = 0
        async for item in box.stream(Command(shell=f"head -c {size} /dev/zero")):
            if isinstance(item, tuple):
                await asyncio.sleep(0 if found else 0.4)
                found += len(item[1])
        return found

    assert host.run(read()) == size


def test_a_writer_waits_for_a_process_that_does_not_read(host: EngineThread, box: Sandbox) -> None:
    async def talk() -> None:
        process = await box.open(Command(shell="sleep 0.4; wc -c"))
        await process.write(bytes(1_000_000))
        process.close_stdin()
        assert await rest(process) == b"1000000\n"
        process = await box.open(Command(shell="sleep 0.3"))
        with pytest.raises(BrokenPipeError):
            await process.write(bytes(1_000_000))

    host.run(talk())


def test_a_report_comes_after_what_was_written_before_it(host: EngineThread, box: Sandbox) -> None:
    code = (
        "import os\nfor n in range(200):\n    os.write(1, b'x' * 5000); os.write(2, b'y'); os.write(4, b'.')"
    )

    async def talk() -> None:
        process = await box.open(CodeRun(code))
        seen = {"stdout": 0, "stderr": 0, "report": 0}
        while (item := await process.read()) is not None:
            seen[item[0]] += len(item[1])
            assert seen["stdout"] >= 5000 * seen["report"]
            assert seen["stderr"] >= seen["report"]
        assert seen == {"stdout": 1_000_000, "stderr": 200, "report": 200}

    host.run(talk())


def test_a_sandbox_that_goes_takes_its_processes_along(host: EngineThread) -> None:
    async def talk() -> None:
        process = await box.open(Command(argv=("cat",)), counts=False)
        assert box.busy == 0
        await host.engine.delete(box)
        assert await process.read() is None
        assert (await process.wait()).verdict is Verdict.LOST
        with pytest.raises(WrongState):
            await box.open(Command(argv=("cat",)))

    box = host.sandbox()
    host.run(talk())
