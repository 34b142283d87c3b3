"""Probe 47: files of every shape that fill a disk: huge, many, deep, sparse, hard links, allocated ahead.

Each is stopped in its own sandbox (ENOSPC); a sibling still writes, and the disk below the
host's state does not shrink. Control: with a larger disk the same program goes through.
"""

import contextlib
import os
from collections.abc import Callable

import pytest

from tests.security.conftest import MIB, EngineThread
from tidepool.engine import Sandbox, Verdict

pytestmark = pytest.mark.needs("user_namespace", "overlayfs", "cgroup_memory")

SMALL_MIB, LARGE_MIB = 8, 320
STATE_SLACK = 4 * MIB
"""Records of sandboxes, which the state has on the disk in any case."""

PREAMBLE = """
import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)
os.mkdir("shape")
os.chdir("shape")
try:
    fill()
    print("through")
except OSError as error:
    print(errno.errorcode[error.errno])
"""
SHAPES = {
    "huge": """
def fill():
    fd = os.open("huge", os.O_CREAT | os.O_WRONLY)
    for _ in range(64):
        written = 0
        while written < 1 << 20:
            written += os.write(fd, bytes((1 << 20) - written))
""",
    "many": """
def fill():
    for number in range(20_000):
        os.close(os.open(str(number), os.O_CREAT))
""",
    "deep": """
def fill():
    for _ in range(3_000):
        os.mkdir("d")
        os.chdir("d")
""",
    "allocated": """
def fill():
    fd = os.open("allocated", os.O_CREAT | os.O_WRONLY)
    os.posix_fallocate(fd, 0, 64 << 20)
""",
    "long_names": """
def fill():
    for number in range(20_000):
        os.symlink("t" * 4000, "n" * 240 + str(number))
""",
    "links": """
def fill():
    os.close(os.open("one", os.O_CREAT))
    for number in range(20_000):
        os.link("one", str(number))
""",
    "attributes": """
def fill():
    for number in range(150):
        os.close(os.open(str(number), os.O_CREAT))
        os.setxattr(str(number), "user.x", bytes(60_000))
""",
}


def fill(host: EngineThread, box: Sandbox, shape: str) -> str:
    """What became of it."""
    result = host.python(box, SHAPES[shape] + PREAMBLE)
    assert result.verdict is Verdict.EXITED, result
    return result.stdout.decode().strip()


def used_by_state(host: EngineThread) -> int:
    """Bytes of disk that the engine's state has; free space of the disk is everybody's."""
    found = 0
    for place, _, files in os.walk(host.state_dir):
        for name in files:
            with contextlib.suppress(FileNotFoundError):
                found += os.lstat(os.path.join(place, name)).st_blocks * 512
    return found


@pytest.mark.parametrize("shape", SHAPES)
def test_a_full_disk_is_full_for_itself_only(
    host: EngineThread, make_box: Callable[..., Sandbox], shape: str
) -> None:
    """[47-shape]"""
    box, sibling = make_box(disk_mib=SMALL_MIB), make_box(disk_mib=SMALL_MIB)
    before = used_by_state(host)
    said = fill(host, box, shape)
    assert said == "ENOSPC"
    assert host.shell(sibling, "head -c 4M /dev/zero > file && wc -c < file").stdout == b"4194304\n"
    assert used_by_state(host) - before < STATE_SLACK
    # What was full has room again as soon as something goes.
    assert host.shell(box, "rm -rf shape && echo x > file && cat file").stdout == b"x\n"


@pytest.mark.parametrize("shape", SHAPES)
def test_control_a_larger_disk_holds_it(
    host: EngineThread, make_box: Callable[..., Sandbox], shape: str
) -> None:
    assert fill(host, make_box(disk_mib=LARGE_MIB), shape) == "through"


SPARSE = """
import os
fd = os.open("sparse", os.O_CREAT | os.O_WRONLY)
os.ftruncate(fd, 1 << 42)
for number in range(200):
    os.pwrite(fd, b"x", number << 30)
print(os.fstat(fd).st_size, os.fstat(fd).st_blocks * 512)
"""


def test_a_sparse_file_costs_what_is_in_it(host: EngineThread, make_box: Callable[..., Sandbox]) -> None:
    """[47-sparse] Holes cost nothing, here or on the disk below the state when it is saved; see 82 for reading it."""
    box = make_box(disk_mib=SMALL_MIB)
    before = used_by_state(host)
    size, used = map(int, host.python(box, SPARSE).stdout.split())
    assert size == 1 << 42
    assert used < SMALL_MIB * MIB
    host.run(host.engine.stop(box))
    assert used_by_state(host) - before < STATE_SLACK
    host.run(host.engine.start_again(box))
    assert host.shell(box, "stat -c %s sparse").stdout == b"4398046511104\n"


@pytest.mark.slow
def test_a_million_empty_files_end_at_the_inodes(
    host: EngineThread, make_box: Callable[..., Sandbox]
) -> None:
    """[47-million]"""
    box = make_box(memory_mib=1024, disk_mib=256)
    code = SHAPES["many"].replace("20_000", "1_000_000") + PREAMBLE
    assert host.python(box, code, timeout_s=45).stdout == b"ENOSPC\n"
