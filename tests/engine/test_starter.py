"""Programs that one process starts one after the other: each is as if it were the first, and ends as it ended."""

import asyncio
import time
from collections.abc import Iterator

import pytest

from tests.security.conftest import EngineThread, own_engine
from tidepool.engine import Command, Sandbox, Verdict

pytestmark = [pytest.mark.thorough, pytest.mark.needs("user_namespace", "overlayfs", "idmapped_mounts")]
_REST_S = 0.05
"""More than a sandbox needs to have a child ready again."""


@pytest.fixture(scope="module")
def host() -> Iterator[EngineThread]:
    """An engine of this module's own."""
    with own_engine("tidepool-starter-") as thread:
        yield thread


@pytest.fixture(params=["daytona", "root"])
def box(host: EngineThread, request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    """A sandbox whose programs are this user's."""
    made = host.sandbox(user=request.param)
    yield made
    host.run(host.engine.delete(made))


def sh(
    host: EngineThread, box: Sandbox, script: str, timeout_s: float = 10.0, **more: object
) -> tuple[int | None, str]:
    """Exit code and output; the code is None for a run that has not ended by itself."""
    result = host.run(box.exec(Command(shell=script, timeout_s=timeout_s, **more)))  # type: ignore[arg-type]
    return (result.exit_code if result.verdict is Verdict.EXITED else None), result.output.decode()


def test_one_process_starts_what_comes_one_after_the_other(host: EngineThread, box: Sandbox) -> None:
    parents = [sh(host, box, "echo $PPID")[1] for _ in range(3)]
    assert len(set(parents)) == 1
    assert parents[0] != "1\n"


def test_two_at_once_have_one_each(host: EngineThread, box: Sandbox) -> None:
    async def both() -> list[bytes]:
        command = Command(shell="echo $PPID; sleep 0.2", timeout_s=10.0)
        return [result.output for result in await asyncio.gather(box.exec(command), box.exec(command))]

    one, other = host.run(both())
    assert one != other
    assert sh(host, box, "echo $PPID")[1].encode() in (one, other)


@pytest.mark.parametrize(
    ("change", "look"),
    [
        ("cd /tmp", "pwd"),
        ("umask 077", "umask"),
        ("ulimit -n 100", "ulimit -n"),
        ("export LATER=1", "echo $LATER"),
        ("trap '' INT TERM PIPE HUP", "grep -E 'Sig(Ign|Blk)' /proc/self/status"),
        ("renice -n 5 $PPID", "ps -o ni= -p $$"),
        ("prlimit --pid $PPID --nofile=100:100", "ulimit -n"),
        ("taskset -p 1 $PPID", "taskset -p $$ | sed 's/.*: //'"),
        ("exec 7</etc/passwd", "ls /proc/self/fd"),
    ],
)
def test_a_program_changes_nothing_for_the_next(
    host: EngineThread, box: Sandbox, change: str, look: str
) -> None:
    before = sh(host, box, look)
    assert before[0] == 0
    sh(host, box, change)
    assert sh(host, box, look) == before


def test_it_cannot_be_looked_into(host: EngineThread, box: Sandbox) -> None:
    if box.spec.user == "root":
        pytest.skip("root inside may look at what is root's")
    for name in ("environ", "mem", "fd/3", "maps"):
        code, said = sh(host, box, f"head -c1 /proc/$PPID/{name}")
        assert code == 1, name
        assert "Permission denied" in said


def test_what_is_left_behind_goes_on_and_is_not_the_next_runs(host: EngineThread, box: Sandbox) -> None:
    code, first = sh(host, box, "sleep 300 >/dev/null 2>&1 & echo $! $PPID")
    assert code == 0
    left, parent = first.split()
    assert sh(host, box, "sleep 30", timeout_s=0.2)[0] is None
    assert sh(host, box, f"kill -0 {left} && cat /proc/{left}/status | grep PPid") == (0, "PPid:\t1\n")
    assert sh(host, box, "echo $PPID")[1].split() != [parent]


@pytest.mark.parametrize("killing", ["kill -9 -1", "kill -9 $PPID", "kill -TERM $PPID", "kill -INT $PPID"])
def test_a_run_whose_starter_is_killed_ends_as_its_program_does(
    host: EngineThread, box: Sandbox, killing: str
) -> None:
    sh(host, box, "true")
    assert sh(host, box, f"{killing}; sleep 0.1; echo on; exit 6") == (6, "on\n")
    assert sh(host, box, "echo next") == (0, "next\n")


def test_a_starter_that_is_stopped_ends_at_the_deadline(host: EngineThread, box: Sandbox) -> None:
    assert sh(host, box, "kill -STOP $PPID", timeout_s=0.5)[0] is None
    assert sh(host, box, "echo next") == (0, "next\n")


def test_all_of_it_ends_at_the_deadline(host: EngineThread, box: Sandbox) -> None:
    sh(host, box, "true")
    assert sh(host, box, "setsid sleep 123 & (sleep 124 &) ; sleep 125", timeout_s=0.3)[0] is None
    assert sh(host, box, "pgrep -f 'sleep 12[345]'") == (1, "")


def test_it_lets_go_of_the_directory_and_its_descriptors(host: EngineThread, box: Sandbox) -> None:
    sh(host, box, "mkdir gone")
    _, parent = sh(host, box, "echo $PPID", cwd="gone")
    for _ in range(5):
        sh(host, box, "cat", stdin=b"given")
    code, text = sh(host, box, "rmdir gone; echo $PPID")
    assert (code, text) == (0, parent)
    inside = host.run(
        box.exec(Command(argv=("python3", "-c", "import os; print(os.getppid())"), timeout_s=10))
    )
    assert inside.output == parent.encode()


@pytest.mark.parametrize(("argv", "code"), [(("no-such",), 127), (("/etc/passwd",), 126), (("/tmp",), 126)])
def test_what_cannot_be_started_is_told_as_ever(
    host: EngineThread, box: Sandbox, argv: tuple[str, ...], code: int
) -> None:
    for _ in range(2):
        result = host.run(box.exec(Command(argv=argv)))
        assert (result.verdict, result.exit_code) == (Verdict.NOT_STARTED, code)
    assert sh(host, box, "echo next") == (0, "next\n")


def test_it_ends_when_nothing_is_run_for_long(host: EngineThread, box: Sandbox) -> None:
    sh(host, box, "true")
    time.sleep(_REST_S)
    waiting = sh(host, box, "ls /proc | grep -c '^[0-9]'")
    assert int(waiting[1]) <= 7  # init, this shell, its two, and what waits: one that starts, one ahead


def test_what_is_killed_as_it_begins_is_dead_and_nothing_else(host: EngineThread, box: Sandbox) -> None:
    async def short(timeout_s: float) -> Verdict:
        await box.exec(Command(shell="true"))
        return (await box.exec(Command(shell="sleep 20", timeout_s=timeout_s))).verdict

    for number in range(40):
        assert host.run(short(0.0003 * (1 + number % 10))) is Verdict.TIMED_OUT
    assert sh(host, box, "pgrep -c sleep") == (1, "0\n")


def test_who_waits_for_a_child_in_vfork_is_ended_in_time(host: EngineThread, box: Sandbox) -> None:
    code = "import ctypes, time; ctypes.CDLL(None).vfork(); time.sleep(60)"
    result = host.run(box.exec(Command(argv=("python3", "-c", code), timeout_s=0.5)))
    assert result.verdict is Verdict.TIMED_OUT
    assert result.duration_s < 1.4  # 1.2 s would be the most that is waited for a tree to stand still
