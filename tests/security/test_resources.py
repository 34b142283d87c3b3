"""Taking more than one's share: processes, memory, disk, output, time. Each attack has its control."""

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from tests.security.conftest import EngineThread
from tidepool.engine import Sandbox, Verdict

pytestmark = pytest.mark.needs("user_namespace", "overlayfs", "cgroup_memory", "cgroup_pids")

SPAWN = """
import os, time
made = 0
try:
    for _ in range({count}):
        if os.fork() == 0:
            time.sleep(60); os._exit(0)
        made += 1
except OSError as error:
    print("stopped:", error.strerror)
print(made)
"""
FORK_BOMB = """
import os
while True:
    try:
        os.fork()
    except OSError:
        pass
"""
BALLOON = """
block = bytearray({mib} << 20)
for place in range(0, len(block), 4096):
    block[place] = 1
print("held", len(block) >> 20)
"""
FILL = "head -c {mib}M /dev/zero > big && echo wrote; rm -f big"
DAEMON = """
import os, sys, time, signal
if os.fork():
    time.sleep(60)
os.setsid()
if os.fork():
    os._exit(0)
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
open({mark!r}, "w").write(str(os.getpid()))
while True:
    time.sleep(1)
"""


def test_process_limit_stops_spawning(host: EngineThread, make_box: Callable[..., Sandbox]) -> None:
    result = host.python(make_box(pids=64), SPAWN.format(count=200))
    assert b"stopped: Resource temporarily unavailable" in result.stdout
    assert int(result.stdout.split()[-1]) < 64


def test_control_process_limit_is_what_stopped_it(
    host: EngineThread, make_box: Callable[..., Sandbox]
) -> None:
    result = host.python(make_box(pids=512), SPAWN.format(count=200))
    assert result.stdout == b"200\n"


def test_fork_bomb_ends_at_its_deadline_and_leaves_the_sandbox_usable(
    host: EngineThread, make_box: Callable[..., Sandbox]
) -> None:
    box = make_box(pids=256)
    started = time.monotonic()
    result = host.python(box, FORK_BOMB, timeout_s=1.0)
    assert result.verdict is Verdict.TIMED_OUT
    assert time.monotonic() - started < 3.0
    deadline = time.monotonic() + 5
    while (left := _processes(host, box)) > 5 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left <= 5  # init, this shell, ls and grep


def _processes(host: EngineThread, box: Sandbox) -> int:
    """How many there are inside; many when not even a shell can be started yet."""
    seen = host.shell(box, "ls /proc | grep -c '^[0-9]'")
    return int(seen.stdout) if seen.exit_code == 0 else 999


def test_memory_balloon_is_killed_and_named(host: EngineThread, make_box: Callable[..., Sandbox]) -> None:
    box = make_box(memory_mib=256, disk_mib=64)
    result = host.python(box, BALLOON.format(mib=600))
    assert result.verdict is Verdict.OUT_OF_MEMORY
    assert result.exit_code == 137
    assert b"held" not in result.stdout
    assert host.shell(box, "echo alive").stdout == b"alive\n"


def test_control_memory_limit_is_what_killed_it(host: EngineThread, make_box: Callable[..., Sandbox]) -> None:
    result = host.python(make_box(memory_mib=2048, disk_mib=64), BALLOON.format(mib=600))
    assert result.stdout == b"held 600\n"


def test_full_disk_is_enospc_inside_only(host: EngineThread, make_box: Callable[..., Sandbox]) -> None:
    result = host.shell(make_box(disk_mib=32), FILL.format(mib=100))
    assert b"No space left on device" in result.stderr
    assert b"wrote" not in result.stdout
    assert result.verdict is Verdict.EXITED


def test_control_disk_limit_is_what_stopped_it(host: EngineThread, make_box: Callable[..., Sandbox]) -> None:
    assert host.shell(make_box(disk_mib=256), FILL.format(mib=100)).stdout == b"wrote\n"


def test_endless_empty_files_run_out_of_inodes(host: EngineThread, make_box: Callable[..., Sandbox]) -> None:
    code = """
import os
os.mkdir("many")
try:
    for number in range(100_000):
        os.close(os.open(f"many/{number}", os.O_CREAT))
except OSError as error:
    print(error.strerror, number)
"""
    result = host.python(make_box(disk_mib=32), code)
    assert b"No space left on device" in result.stdout


def test_endless_output_is_cut_and_the_host_stays_small(host: EngineThread, box: Sandbox) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = host.shell(box, "head -c 400M /dev/zero | tr '\\0' x; echo the end")
    grown_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert result.exit_code == 0
    assert result.output.endswith(b"the end\n")
    assert result.truncated_bytes > 350 << 20
    assert grown_mib < 200


def test_control_a_plain_capture_keeps_all_of_it() -> None:
    captured = subprocess.run(["sh", "-c", "head -c 40M /dev/zero"], capture_output=True, check=True)
    assert len(captured.stdout) == 40 << 20


def test_ignored_sigterm_ends_at_the_deadline(host: EngineThread, box: Sandbox) -> None:
    result = host.shell(box, "trap '' TERM HUP INT; echo deaf; while true; do sleep 1; done", timeout_s=0.5)
    assert result.verdict is Verdict.TIMED_OUT
    assert result.stdout == b"deaf\n"
    assert result.duration_s < 2.0


def test_control_sigterm_alone_does_not_end_it() -> None:
    script = "trap '' TERM HUP INT; echo deaf; while true; do sleep 0.1; done"
    process = subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE)
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"deaf\n"
        process.terminate()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.3)
        process.kill()


def test_double_forked_daemon_dies_with_its_run(host: EngineThread, box: Sandbox) -> None:
    result = host.python(box, DAEMON.format(mark="mark"), timeout_s=1.0)
    assert result.verdict is Verdict.TIMED_OUT
    pid = host.run(box.files.read("mark")).decode()
    assert host.shell(box, f"test -d /proc/{pid} && cat /proc/{pid}/stat; true").stdout == b""


def test_control_killing_the_leader_alone_leaves_the_daemon(tmp_path: "os.PathLike[str]") -> None:
    mark = os.path.join(tmp_path, "mark")
    leader = subprocess.Popen([sys.executable, "-c", DAEMON.format(mark=mark)])
    deadline = time.monotonic() + 10
    while not (os.path.exists(mark) and os.path.getsize(mark)) and time.monotonic() < deadline:
        time.sleep(0.02)
    leader.kill()
    leader.wait()
    with open(mark) as file:
        pid = int(file.read())
    os.kill(pid, 0)  # raises if it were gone
    os.kill(pid, signal.SIGKILL)


def test_background_child_does_not_hold_the_answer(host: EngineThread, box: Sandbox) -> None:
    result = host.shell(box, "(sleep 20 &); echo done")
    assert result.stdout == b"done\n"
    assert result.duration_s < 2.0


def test_deadline_holds_when_the_guest_stops_itself(host: EngineThread, box: Sandbox) -> None:
    result = host.shell(box, "kill -STOP $$", timeout_s=0.5)
    assert result.verdict is Verdict.TIMED_OUT
