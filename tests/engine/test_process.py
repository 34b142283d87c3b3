"""Live processes of a real sandbox: what is written and read while they run, and how they end."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.security.conftest import EngineThread, own_engine
from tidepool.engine import CodeRun, Command, Sandbox, Verdict
from tidepool.engine.errors import InvalidSpec, WrongState
from tidepool.engine.process import KEPT_BYTES, Process

pytestmark = pytest.mark.needs("user_namespace", "overlayfs", "idmapped_mounts")


@pytest.fixture(scope="module")
def host() -> Iterator[EngineThread]:
    """An engine of this module's own."""
    with own_engine("tidepool-processes-") as thread:
        yield thread


@pytest.fixture(scope="module")
def box(host: EngineThread) -> Sandbox:
    """One sandbox for all of them; it ends with the engine."""
    return host.sandbox()


async def rest(process: Process) -> bytes:
    """All that is still to be read."""
    found = []
    while (item := await process.read()) is not None:
        found.append(item[1])
    return b"".join(found)


@pytest.mark.thorough
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


@pytest.mark.thorough
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


@pytest.mark.thorough
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


def test_a_terminal_is_one_and_belongs_to_the_sandbox(host: EngineThread, box: Sandbox) -> None:
    line = "tty; stty size; [ -t 2 ] && ps -o tty= -p $$ >/dev/tty; ls -l $(tty); stty -a | tr ';' '\\n' | grep intr"

    async def talk() -> None:
        process = await box.open(Command(shell=line), terminal=(100, 30))
        shown = (await rest(process)).decode().split("\r\n")
        assert shown[:2] == ["/dev/pts/0", "30 100"], shown
        assert "daytona" in shown[-3], shown
        assert "intr = ^C" in shown[-2], shown
        assert (await process.wait()).verdict is Verdict.EXITED

    host.run(talk())


def test_nothing_can_be_put_into_a_terminals_input_from_inside(host: EngineThread, box: Sandbox) -> None:
    code = "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSTI, b'x')"

    async def talk() -> None:
        process = await box.open(Command(shell=f'ls /dev/pts; python3 -c "{code}"'), terminal=(80, 24))
        shown = (await rest(process)).decode().split("\r\n")
        assert shown[0].split() == ["0", "ptmx"], shown
        assert shown[-2] == "PermissionError: [Errno 1] Operation not permitted", shown

    host.run(talk())


def test_a_terminal_is_typed_at_and_resized(host: EngineThread, box: Sandbox) -> None:
    async def talk() -> None:
        process = await box.open(Command(argv=("/bin/bash", "--norc", "-i")), terminal=(80, 24))
        await process.resize(133, 44)
        await process.write(b"stty size\n")
        await until(process, b"44 133\r\nbash")
        await process.write(b"echo first-$((1 + 1)); sleep 60\n")
        await until(process, b"first-2")
        await asyncio.sleep(0.1)
        await process.write(b"\x03")  # the terminal's own key; below the same by a signal
        await until(process, b"^C\r\nbash")
        await process.write(b"echo second-$?; sleep 60\n")
        await until(process, b"second-130")
        await asyncio.sleep(0.1)
        await process.interrupt()
        await until(process, b"bash")
        await process.write(b"echo third-$?; exit 7\n")
        assert b"third-130" in await rest(process)
        result = await process.wait()
        assert (result.exit_code, result.verdict) == (7, Verdict.EXITED)
        await process.resize(90, 20)  # it has ended: nothing happens

    host.run(talk())


async def until(process: Process, words: bytes) -> bytes:
    """What is shown until these words are."""
    shown = b""
    while words not in shown:
        item = await process.read()
        assert item is not None, shown
        shown += item[1]
    return shown


def test_a_terminal_that_nobody_reads_stops_its_program_and_loses_nothing(
    host: EngineThread, box: Sandbox
) -> None:
    async def talk() -> None:
        process = await box.open(Command(shell="stty -opost; head -c 9000000 /dev/zero; echo end"), (80, 24))
        await asyncio.sleep(0.4)
        assert not process.over
        assert await rest(process) == bytes(9_000_000) + b"end\n"

    host.run(talk())


@pytest.mark.parametrize(
    ("shell", "code"), [("kill -9 $$", 137), ("kill -TERM $$", 143), ("exec /no/such", 127), ("exit 3", 3)]
)
def test_a_run_with_a_terminal_ends_as_its_program_does(
    host: EngineThread, box: Sandbox, shell: str, code: int
) -> None:
    async def talk() -> None:
        process = await box.open(Command(shell=shell), terminal=(80, 24))
        assert (await process.wait()).exit_code == code
        await rest(process)

    host.run(talk())


def test_a_program_that_is_not_there_is_said_at_the_terminal(host: EngineThread, box: Sandbox) -> None:
    async def talk() -> None:
        process = await box.open(Command(argv=("/no/such",)), terminal=(80, 24))
        assert await rest(process) == b"/no/such: No such file or directory\r\n"
        assert (await process.wait()).verdict is Verdict.NOT_STARTED

    host.run(talk())


def test_the_kill_of_a_terminal_ends_all_that_was_started_at_it(host: EngineThread, box: Sandbox) -> None:
    async def talk() -> None:
        process = await box.open(Command(shell="setsid sleep 4321 & cat"), terminal=(80, 24))
        await process.write(b"here\n")
        await until(process, b"here\r\nhere")
        assert (await process.kill()).exit_code == 137
        assert b"4321" not in (await box.exec(Command(shell="cat /proc/[0-9]*/cmdline"))).stdout

    host.run(talk())


@pytest.mark.parametrize("size", [(0, 24), (80, 1001)])
def test_no_terminal_is_of_a_size_that_no_screen_has(
    host: EngineThread, box: Sandbox, size: tuple[int, int]
) -> None:
    async def talk() -> None:
        with pytest.raises(InvalidSpec, match="allowed is 1 to 1000"):
            await box.open(Command(argv=("cat",)), terminal=size)
        with pytest.raises(InvalidSpec, match="program text"):
            await box.open(CodeRun("1"), terminal=(80, 24))

    host.run(talk())
