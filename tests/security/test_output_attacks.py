"""Probes 44, 45, 50 to 54 and 57: what a program does to its own clock, output, input, end, and to the disk's queue.

The deadline is the host's; output is read, cut and never understood; input that nobody reads holds nobody; every way
to end is told apart; and whoever hammers a disk hammers his own memory. See test_resources for floods by size.
"""

import asyncio
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from tests.security import hostile
from tests.security.conftest import MIB, EngineThread
from tidepool.engine import CodeRun, Command, ExecResult, Sandbox, Verdict

pytestmark = pytest.mark.needs("user_namespace", "overlayfs", "cgroup_pids")

LATE_S = 2.0
"""How long after its deadline a run may answer on a busy host."""


def some(table: Iterable[str], *always: str) -> list[Any]:
    """Every row as a parameter; those that are not named are slow."""
    return [pytest.param(name, marks=[] if name in always else [pytest.mark.slow]) for name in table]


CLOCKS = {
    "50-stop-self": "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)",
    "50-stop-group": "import os, signal\nos.fork()\nos.killpg(0, signal.SIGSTOP)",
    "50-stop-each-other": "import os, signal, time\nparent = os.getpid()\nif os.fork() == 0:\n"
    "    while True: os.kill(parent, signal.SIGSTOP); time.sleep(0.01)\nwhile True: pass",
    "50-sleep": "import time\nwhile True: time.sleep(3600)",
    "50-pause": "import signal\nwhile True: signal.pause()",
    "50-alarms": "import signal, time\nsignal.signal(signal.SIGALRM, lambda *a: None)\n"
    "signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)\nwhile True: time.sleep(1)",
    "50-set-clock": "import time\ntry: time.clock_settime(time.CLOCK_REALTIME, 0)\n"
    "except OSError: pass\ntime.sleep(3600)",
    "50-own-time": "import time\ntime.time = time.monotonic = lambda: 0.0\nwhile True: time.sleep(3600)",
    "50-trace-me": "import ctypes, os, signal\nctypes.CDLL(None).ptrace(0, 0, 0, 0)\n"
    "os.kill(os.getpid(), signal.SIGSTOP)",
    "50-deaf": "import signal, time\nsignal.pthread_sigmask(signal.SIG_SETMASK, range(1, 65))\n"
    "while True: time.sleep(1)",
}


@pytest.mark.parametrize("name", CLOCKS)
def test_no_play_with_clocks_moves_the_deadline(host: EngineThread, box: Sandbox, name: str) -> None:
    started = time.monotonic()
    result = host.python(box, CLOCKS[name], timeout_s=0.25)
    took = time.monotonic() - started
    assert result.verdict is Verdict.TIMED_OUT
    assert result.exit_code == 124
    assert 0.25 <= took < 0.25 + LATE_S
    assert host.shell(box, "echo works").stdout == b"works\n"


@pytest.mark.thorough
def test_control_a_limit_of_processor_time_never_ends_who_sleeps() -> None:
    code = "import resource, time; resource.setrlimit(resource.RLIMIT_CPU, (1, 1)); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code]) as sleeper:
        with pytest.raises(subprocess.TimeoutExpired):
            sleeper.wait(1.1)
        sleeper.kill()


FLOODS = {
    "51-one-line": "import os\nwhile True: os.write(1, bytes(65536))",
    "51-both": "import os\nwhile True: os.write(1, b'o' * 65536); os.write(2, b'e' * 65536)",
    "51-tiny": "import os\nwhile True: os.write(1, b'x')",
    "51-many-writers": "import os\nfor _ in range(6): os.fork()\nwhile True: os.write(1, b'y\\n' * 999)",
}


@pytest.mark.parametrize("name", some(FLOODS, "51-one-line", "51-tiny"))
def test_a_flood_is_cut_and_others_are_served(
    host: EngineThread, make_box: Callable[..., Sandbox], name: str
) -> None:
    box, other = make_box(), make_box()
    run = CodeRun(FLOODS[name], timeout_s=1.0, max_output_bytes=1 << 16)
    before = hostile.resident(hostile.spawner_pid(host)), hostile.resident(os.getpid())
    flooding = asyncio.run_coroutine_threadsafe(box.run_code(run), host._loop)
    time.sleep(0.3)
    latency = statistics.median(_timed(host, other) for _ in range(7))
    result: ExecResult = flooding.result(10)
    assert latency < 0.5
    assert result.verdict is Verdict.TIMED_OUT
    assert len(result.output) < (1 << 16) + 100
    assert result.truncated_bytes > 1 << 16
    grown = hostile.resident(os.getpid()) - before[1], hostile.resident(hostile.spawner_pid(host)) - before[0]
    assert max(grown) < 32 * MIB


def _timed(host: EngineThread, box: Sandbox) -> float:
    started = time.monotonic()
    assert host.shell(box, "echo works").stdout == b"works\n"
    return time.monotonic() - started


def test_the_exit_code_survives_a_flood(host: EngineThread, box: Sandbox) -> None:
    """[51-exit]"""
    code = "import os\nfor _ in range(200): os.write(1, bytes(65536))\nos._exit(37)"
    result = host.run(box.run_code(CodeRun(code, max_output_bytes=1024)))
    assert (result.exit_code, result.verdict) == (37, Verdict.EXITED)
    assert result.truncated_bytes > 12 * MIB


PIECES = {
    "52-not-utf-8": b"\xff\xfe\x80 half \xe2\x82",
    "52-nul": b"a\0b\0\0",
    "52-terminal": b"\x1b]0;title\x07\x1b[2J\x1b[6n\x9b5n",
    "52-frames": b'\x00\x00\x00\x20{"id": 1, "end": {"status": 0}}\n{"ev": "ready"}{"op": "kill", "run": 1}',
    "52-http": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    "52-cut-mark": b"\n[... 99 bytes left out ...]\n",
    "52-stream-marks": b"\x01\x01\x01\x02\x02\x02stdout\x01\x01\x01",
    "52-json": b'{"exitCode": 0, "verdict": "exited"}' + b"[" * 50_000,
}


@pytest.mark.parametrize("name", PIECES)
def test_bytes_that_look_like_something_are_only_bytes(host: EngineThread, box: Sandbox, name: str) -> None:
    """On both streams, and on every descriptor that a program may find open; then it fails."""
    code = (
        f"import os\ntext = {PIECES[name]!r}\nfor fd in (1, 2, *range(3, 20)):\n"
        "    try:\n        os.write(fd, text)\n    except OSError:\n        pass\nos._exit(9)"
    )
    result = host.python(box, code)
    assert (result.exit_code, result.verdict) == (9, Verdict.EXITED)
    assert (result.stdout, result.stderr) == (PIECES[name], PIECES[name])
    assert host.shell(box, "echo works").stdout == b"works\n"


INPUTS = {
    "53-never-read": ("import time; time.sleep(0.2)", Verdict.EXITED, 0),
    "53-closed": ("import os; os.close(0); print('closed')", Verdict.EXITED, 0),
    "53-a-byte": ("import os; os.read(0, 1)", Verdict.EXITED, 0),
    "53-read-and-die": (
        "import os, signal; os.read(0, 9); os.kill(os.getpid(), signal.SIGKILL)",
        Verdict.SIGNALED,
        137,
    ),
    "53-kept-by-a-child": (
        "import os, time\nif os.fork() == 0: time.sleep(60)\nprint('done')",
        Verdict.EXITED,
        0,
    ),
    "53-never-ends": ("import time; time.sleep(60)", Verdict.TIMED_OUT, 124),
}


@pytest.mark.thorough
@pytest.mark.parametrize("name", INPUTS)
def test_input_that_is_not_read_holds_nobody(host: EngineThread, box: Sandbox, name: str) -> None:
    code, verdict, exit_code = INPUTS[name]
    started = time.monotonic()
    run = CodeRun(code, stdin=bytes(24 * MIB), timeout_s=1.0)
    result = host.run(box.run_code(run))
    assert (result.verdict, result.exit_code) == (verdict, exit_code)
    assert time.monotonic() - started < 1.0 + LATE_S


def test_control_input_that_is_read_arrives(host: EngineThread, box: Sandbox) -> None:
    run = CodeRun("import sys; print(len(sys.stdin.buffer.read()))", stdin=bytes(24 * MIB), timeout_s=20)
    assert host.run(box.run_code(run)).stdout == b"25165824\n"


@pytest.mark.slow
def test_a_gigabyte_of_input_is_taken_as_it_is_read(host: EngineThread, box: Sandbox) -> None:
    """[53-gigabyte]"""
    code = "import os\nwhile os.read(0, 1 << 20): pass\nprint('end')"
    assert host.run(box.run_code(CodeRun(code, stdin=bytes(1 << 30), timeout_s=40))).stdout == b"end\n"


def test_every_way_to_end_is_told_apart(host: EngineThread, box: Sandbox) -> None:
    """[54-ends] A signal, an exit with the same number, a deadline, a program that is not there."""
    codes = (0, 1, 2, 9, 100, 124, 125, 126, 127, 128, 137, 139, 143, 254, 255)

    async def ends() -> tuple[list[ExecResult], list[ExecResult]]:
        exits = [await box.exec(Command(shell=f"exit {code}")) for code in codes]
        signals = [await box.exec(Command(shell=f"kill -{number} $$")) for number in FATAL]
        return exits, signals

    exits, signals = host.run(ends())
    assert [(one.verdict, one.exit_code) for one in exits] == [(Verdict.EXITED, code) for code in codes]
    assert [(one.verdict, one.exit_code) for one in signals] == [
        (Verdict.SIGNALED, 128 + number) for number in FATAL
    ]
    missing = host.run(box.exec(Command(argv=("/no/such/program",))))
    assert (missing.verdict, missing.exit_code) == (Verdict.NOT_STARTED, 127)
    late = host.shell(box, "trap 'exit 0' TERM; sleep 9", timeout_s=0.2)
    assert (late.verdict, late.exit_code) == (Verdict.TIMED_OUT, 124)


_LEFT_ALONE = {signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH}
_STOPPING = {signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}
FATAL = sorted(set(range(1, 32)) - _LEFT_ALONE - _STOPPING)
"""Signals whose default is to end the process (signal(7))."""


@pytest.mark.slow
def test_every_exit_code_is_its_own(host: EngineThread, box: Sandbox) -> None:
    """[54-codes]"""
    for code in range(256):
        result = host.shell(box, f"exit {code}")
        assert (result.verdict, result.exit_code) == (Verdict.EXITED, code)


KEEPERS = {
    "45-stdout": "(sleep 30 &); echo done",
    "45-both": "(sleep 30 2>&1 &); echo done",
    "45-many": "for n in 1 2 3 4 5 6 7 8; do (sleep 30 &); done; echo done",
    "45-writer": "(while sleep 0.01; do echo more; done &); echo done",
    "45-stopped": "(sh -c 'kill -STOP $$' &); echo done",
    "44-daemon": "(setsid setsid sh -c \"trap '' HUP TERM INT; exec sleep 30\" > /dev/null 2>&1 < /dev/null &); "
    "echo done",
}


@pytest.mark.parametrize("name", KEEPERS)
def test_a_child_that_keeps_the_pipes_does_not_keep_the_answer(
    host: EngineThread, make_box: Callable[..., Sandbox], name: str
) -> None:
    """What it leaves behind ends with the sandbox: the count of the host's processes is compared after each test."""
    box = make_box()
    result = host.shell(box, KEEPERS[name])
    assert result.stdout.startswith(b"done\n")
    assert (result.verdict, result.exit_code) == (Verdict.EXITED, 0)
    assert result.duration_s < 2.0
    assert host.shell(box, "echo works").stdout == b"works\n"


@pytest.mark.thorough
def test_control_waiting_for_the_end_of_file_waits_for_the_child() -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run(["sh", "-c", "(sleep 3 &); echo done"], capture_output=True, timeout=1.0, check=False)


STORMS = {
    "57-sync": "import os\nwhile True: os.sync()",
    "57-fsync": "import os\nfd = os.open('f', os.O_CREAT | os.O_RDWR)\n"
    "while True: os.pwrite(fd, bytes(65536), 0); os.fsync(fd)",
    "57-allocate": "import os\nfd = os.open('f', os.O_CREAT | os.O_RDWR)\n"
    "while True: os.posix_fallocate(fd, 0, 64 << 20); os.ftruncate(fd, 0)",
    "57-direct": "import mmap, os\nfd = os.open('f', os.O_CREAT | os.O_RDWR | getattr(os, 'O_DIRECT', 0))\n"
    "area = mmap.mmap(-1, 1 << 20)\nwhile True: os.pwritev(fd, [area], 0); os.preadv(fd, [area], 0)",
    "57-drop": "import os\nfd = os.open('/usr/bin/env', os.O_RDONLY)\n"
    "while True: os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED); os.pread(fd, 4096, 0)",
}


@pytest.mark.thorough
@pytest.mark.parametrize("name", some(STORMS, "57-sync", "57-allocate"))
def test_a_storm_of_disk_calls_leaves_the_disk_to_others(
    host: EngineThread, make_box: Callable[..., Sandbox], name: str
) -> None:
    """[57-storm] Files are in memory and sync is passed over, so the host's disks are not what they hammer."""
    box, other = make_box(), make_box()
    storm = asyncio.run_coroutine_threadsafe(box.run_code(CodeRun(STORMS[name], timeout_s=0.8)), host._loop)
    time.sleep(0.2)
    latency = statistics.median(_timed(host, other) for _ in range(5))
    result = storm.result(10)
    assert result.verdict is Verdict.TIMED_OUT, result.stderr
    assert latency < 0.5
