"""What programs at a terminal of a sandbox see of it: size, signals, jobs; and what they cannot do with it."""

import asyncio
import time
from collections.abc import Iterator

import pytest

from tests.security.conftest import EngineThread, own_engine
from tidepool.engine import Command, Sandbox
from tidepool.engine.process import Process

pytestmark = [pytest.mark.thorough, pytest.mark.needs("user_namespace", "overlayfs", "idmapped_mounts")]

INJECT = (
    "import fcntl, termios\n"
    "try: fcntl.ioctl(0, termios.TIOCSTI, b'x')\n"
    "except OSError as error: print('refused', error.errno)"
)


@pytest.fixture(scope="module")
def host() -> Iterator[EngineThread]:
    """An engine of this module's own."""
    with own_engine("tidepool-terminals-") as thread:
        yield thread


@pytest.fixture(scope="module")
def box(host: EngineThread) -> Sandbox:
    """One sandbox for all of them; it ends with the engine."""
    return host.sandbox()


async def until(process: Process, words: bytes) -> bytes:
    """What is shown until these words are."""
    shown = b""
    async with asyncio.timeout(15):
        while words not in shown:
            item = await process.read()
            assert item is not None, shown
            shown += item[1]
    return shown


def test_a_program_is_told_of_another_size(host: EngineThread, box: Sandbox) -> None:
    line = "trap 'echo now $(stty size)' WINCH; echo ready; while :; do sleep 0.05; done"

    async def talk() -> None:
        process = await box.open(Command(argv=("/bin/bash", "-c", line)), terminal=(80, 24))
        await until(process, b"ready")
        await process.resize(99, 33)
        await until(process, b"now 33 99\r\n")
        await process.kill()

    host.run(talk())


def test_a_shell_has_job_control(host: EngineThread, box: Sandbox) -> None:
    async def talk() -> None:
        process = await box.open(Command(argv=("/bin/bash", "--norc", "-i")), terminal=(80, 24))
        await process.write(b"echo be''gun; sleep 60\n")
        shown = await until(process, b"begun")
        await asyncio.sleep(0.2)
        await process.write(b"\x1a")  # Ctrl-Z
        shown += await until(process, b"Stopped")
        await process.write(b"echo ag''ain; fg\n")
        shown += await until(process, b"again\r\nsleep 60\r\n")
        await asyncio.sleep(0.2)
        await process.write(b"\x03")
        shown += await until(process, b"^C")
        await process.write(b"echo code-$?; exit\n")
        shown += await until(process, b"code-130")
        assert b"cannot set terminal process group" not in shown
        assert b"no job control" not in shown
        assert (await process.wait()).exit_code == 0

    host.run(talk())


def test_nothing_can_be_typed_by_a_program(host: EngineThread, box: Sandbox) -> None:
    async def talk() -> None:
        process = await box.open(Command(argv=("python3", "-c", INJECT)), terminal=(80, 24))
        await until(process, b"refused 1\r\n")
        await process.wait()

    host.run(talk())


def test_what_others_do_does_not_wait_for_a_terminal_that_nobody_reads(
    host: EngineThread, box: Sandbox
) -> None:
    async def talk() -> None:
        process = await box.open(Command(shell="yes"), terminal=(80, 24))
        await asyncio.sleep(0.5)
        started = time.monotonic()
        assert (await box.exec(Command(argv=("echo", "here")))).stdout == b"here\n"
        assert time.monotonic() - started < 2
        await process.kill()

    host.run(talk())


def test_an_exit_ends_the_terminal_although_a_job_goes_on(host: EngineThread, box: Sandbox) -> None:
    async def talk() -> None:
        process = await box.open(Command(shell="nohup sleep 3456 & exit 4"), terminal=(80, 24))
        async with asyncio.timeout(10):
            assert (await process.wait()).exit_code == 4

    host.run(talk())
