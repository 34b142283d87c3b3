"""Sandboxes of every isolation: the same behaviours, files that are the same from both sides, an honest report."""

import io
import os
import platform
import re
import shutil
import socket
import stat
import struct
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.directories import open_directory
from tests.egress.index import IndexServer, listen, make_wheel
from tests.security.conftest import MIB, EngineThread, own_engine
from tests.selfcheck import BEHAVIOURS
from tidepool.engine import CodeRun, Command, Limits, Sandbox, SandboxSpec, images
from tidepool.engine.errors import InvalidSpec
from tidepool.engine.guest import oci
from tidepool.engine.isolation import INNER_WALLS, ISOLATIONS, VIRTUAL_MACHINES
from tidepool.engine.kernel import caps
from tidepool.engine.lifecycle import State

pytestmark = [pytest.mark.thorough, pytest.mark.needs("user_namespace", "overlayfs", "idmapped_mounts")]
INNER = [pytest.param(name, marks=pytest.mark.needs(name)) for name in oci.RUNTIMES]
EACH = ["namespaces", *INNER]
Make = Callable[..., Sandbox]


@pytest.fixture(scope="module")
def host() -> Iterator[EngineThread]:
    with own_engine("tidepool-isolation-", pool_size=0) as thread:
        yield thread


@pytest.fixture(scope="module")
def boxes(host: EngineThread) -> Iterator[Callable[[str], Sandbox]]:
    """One sandbox of each isolation, made when it is first asked for."""
    made: dict[str, Sandbox] = {}

    def of(isolation: str) -> Sandbox:
        if isolation not in made:
            made[isolation] = host.sandbox(isolation=isolation)
        return made[isolation]

    yield of
    for box in made.values():
        host.run(host.engine.delete(box))


@pytest.fixture
def make(host: EngineThread) -> Iterator[Make]:
    made: list[Sandbox] = []

    def one(**spec: object) -> Sandbox:
        made.append(host.sandbox(**spec))
        return made[-1]

    yield one
    for box in made:
        host.run(host.engine.delete(box))


@pytest.mark.parametrize("isolation", EACH)
@pytest.mark.parametrize("name", BEHAVIOURS)
def test_behaviour(host: EngineThread, boxes: Callable[[str], Sandbox], isolation: str, name: str) -> None:
    behaviour = BEHAVIOURS[name]
    result = host.shell(boxes(isolation), behaviour.script, behaviour.timeout_s)
    assert behaviour.holds(result), result


@pytest.mark.parametrize("isolation", INNER)
def test_files_are_the_same_from_both_sides(
    host: EngineThread, boxes: Callable[[str], Sandbox], isolation: str
) -> None:
    box = boxes(isolation)
    assert box.files is not None
    host.run(box.files.write("from-outside/a", b"x" * 300_000))
    assert host.shell(box, "wc -c < from-outside/a; echo inside > /tmp/b").stdout == b"300000\n"
    assert host.run(box.files.read("/tmp/b")) == b"inside\n"
    assert host.run(box.files.info("/tmp/b")).uid == 1000


@pytest.mark.parametrize("isolation", INNER)
def test_a_python_text_its_input_and_its_environment(
    host: EngineThread, boxes: Callable[[str], Sandbox], isolation: str
) -> None:
    code = "import os, sys; print(sys.argv[1:], os.environ['MARK'], sys.stdin.read())"
    run = CodeRun(code, argv=("a",), env={"MARK": "m"}, stdin=b"in", timeout_s=20)
    result = host.run(boxes(isolation).run_code(run))
    assert (result.exit_code, result.stdout, result.basis) == (0, b"['a'] m in\n", "exec")


@pytest.mark.parametrize("isolation", INNER)
def test_its_memory_is_bounded_and_the_reason_is_told(host: EngineThread, make: Make, isolation: str) -> None:
    box = make(isolation=isolation, limits=Limits(memory_bytes=400 * MIB, disk_bytes=64 * MIB))
    result = host.python(box, "x = bytearray(900 << 20)\nx[::4096] = b'1' * len(x[::4096])")
    assert result.verdict == "out_of_memory", result


@pytest.mark.parametrize("isolation", INNER)
def test_its_disk_is_bounded(host: EngineThread, make: Make, isolation: str) -> None:
    box = make(isolation=isolation, limits=Limits(disk_bytes=8 * MIB))
    result = host.shell(
        box, "head -c 20000000 /dev/zero > big; echo $?; rm big; echo again > small && cat small"
    )
    assert result.stdout == b"1\nagain\n", result


@pytest.mark.parametrize("isolation", INNER)
def test_a_fork_bomb_harms_only_itself(host: EngineThread, make: Make, isolation: str) -> None:
    box, sibling = make(isolation=isolation, limits=Limits(pids=200)), make()
    bomb = "import os, time\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        time.sleep(0.01)"
    assert host.python(box, bomb, 2.0).verdict in ("timed_out", "lost", "exited", "signaled")
    assert host.shell(sibling, "echo fine").stdout == b"fine\n"


@pytest.mark.parametrize("isolation", INNER)
def test_stop_and_start_keep_its_files_and_its_isolation(
    host: EngineThread, make: Make, isolation: str
) -> None:
    box = make(isolation=isolation)
    host.shell(box, "echo kept > note")
    host.run(host.engine.stop(box))
    host.run(host.engine.start_again(box))
    assert host.shell(box, "cat note").stdout == b"kept\n"
    assert box.spec.isolation == isolation


@pytest.mark.needs("gvisor")
def test_gvisor_shows_a_kernel_of_its_own(host: EngineThread, boxes: Callable[[str], Sandbox]) -> None:
    assert (
        host.shell(boxes("gvisor"), "uname -r").stdout != host.shell(boxes("namespaces"), "uname -r").stdout
    )


@pytest.mark.needs("gvisor")
def test_a_dead_gvisor_ends_the_sandbox(host: EngineThread, make: Make) -> None:
    box = make(isolation="gvisor", user="root")
    host.run(box.exec(Command(shell="kill -9 1; sleep 5", timeout_s=10)))
    assert box.state is not State.STARTED
    assert "ended" in (box.error_reason or "")


@pytest.mark.needs("crun")
def test_what_runs_in_crun_is_filtered_as_everywhere(
    host: EngineThread, boxes: Callable[[str], Sandbox]
) -> None:
    status = host.shell(boxes("crun"), "grep -E '^(Seccomp|NoNewPrivs):' /proc/self/status").stdout.decode()
    assert status.split() == ["NoNewPrivs:", "1", "Seccomp:", "2"]


def test_what_is_not_there_is_refused_and_never_weakened(
    host: EngineThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in VIRTUAL_MACHINES:
        with pytest.raises(InvalidSpec, match=f"isolation is '{name}'; a virtual machine .* gvisor"):
            SandboxSpec(isolation=name)  # type: ignore[arg-type]
    with pytest.raises(InvalidSpec, match="needs the host's own image"):
        SandboxSpec(isolation="gvisor", image="mine")
    monkeypatch.setattr(oci, "DIRECTORY", "/nowhere")
    with pytest.raises(oci.CannotStart, match="is not installed"):
        oci.find("gvisor")


@pytest.mark.needs("gvisor")
def test_a_runtime_that_does_not_start_is_refused_and_nothing_is_left(host: EngineThread, make: Make) -> None:
    before = host.engine.alive
    with pytest.raises(InvalidSpec, match="isolation gvisor cannot be had on this host: runsc: "):
        host.sandbox(isolation="gvisor", limits=Limits(pids=8))  # too few for its threads
    assert host.engine.alive == before
    assert host.shell(make(), "echo fine").stdout == b"fine\n"


def test_each_isolation_is_described_and_keeps_the_capabilities_of_init() -> None:
    assert set(ISOLATIONS) == {"namespaces", *oci.RUNTIMES} == set(INNER_WALLS)
    for runtime in oci.RUNTIMES.values():
        kept = oci.configuration(runtime, "/x")["process"]["capabilities"]["bounding"]
        gone_when_it_serves = {"SETPCAP", "SYS_CHROOT"}
        assert {name.removeprefix("CAP_") for name in kept} == {*caps.KEPT, *gone_when_it_serves}


def hanging() -> bytes:
    """A program that says one line on standard error, whatever its arguments, and then waits for ever (x86-64)."""
    words = b"waiting for a guest that never comes\n"
    stay = b"\xb8\x22\0\0\0\x0f\x05\xeb\xf7"  # pause(2), again and again
    length = struct.pack("<I", len(words))
    say = (
        b"\xb8\x01\0\0\0\xbf\x02\0\0\0\x48\x8d\x35"
        + struct.pack("<I", 7 + len(stay))
        + b"\xba"
        + length
        + b"\x0f\x05"
    )
    code = say + stay + words
    place = 0x400000
    header = b"\x7fELF\x02\x01\x01" + bytes(9)
    header += struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, place + 120, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    size = 120 + len(code)
    return header + struct.pack("<IIQQQQQQ", 1, 5, 0, place, place, size, size, 4096) + code


@contextmanager
def engine_whose(program: str, becomes: bytes | None) -> Iterator[EngineThread]:
    """An engine of its own on a host that has another program in that place, or none."""
    with open_directory("tidepool-runtime-") as place:
        there = images.compose(place / "state").usr[0] / "bin" / program
        there.parent.mkdir(exist_ok=True)
        if becomes is None:
            os.mknod(there, stat.S_IFCHR, 0)  # hides what is below it
        else:
            there.write_bytes(becomes)
            there.chmod(0o755)
        thread = EngineThread(place / "state", place / "run", pool_size=0)
        try:
            yield thread
        finally:
            thread.close()


def refusal(host: EngineThread, isolation: str) -> str:
    """Why a sandbox of that isolation is refused; the engine goes on, and nothing is left of the attempt."""
    with pytest.raises(InvalidSpec) as refused:
        host.sandbox(isolation=isolation)
    assert host.engine.alive == 0
    box = host.sandbox()
    assert host.shell(box, "echo fine").stdout == b"fine\n"
    host.run(host.engine.delete(box))
    return str(refused.value)


as_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root can hide a file of the host's from an image"
)


@as_root
@pytest.mark.parametrize("isolation", oci.RUNTIMES)
def test_a_runtime_that_is_not_installed_is_refused_in_a_sentence(isolation: str) -> None:
    program = oci.RUNTIMES[isolation].program
    with engine_whose(program, None) as host:
        assert refusal(host, isolation) == (
            f"isolation {isolation} cannot be had on this host: /usr/bin/{program} is not installed on this host"
        )


@as_root
def test_a_program_that_is_no_runtime_is_refused_with_its_own_words() -> None:
    sleep = Path(shutil.which("sleep") or "").read_bytes()
    with engine_whose("runsc", sleep) as host:
        assert "cannot be had on this host: runsc: runsc: unrecognized option '--root'" in refusal(
            host, "gvisor"
        )


@as_root
@pytest.mark.slow
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the program that hangs is written for x86-64")
def test_a_runtime_that_hangs_is_ended_and_its_words_are_passed_on() -> None:
    with engine_whose("runsc", hanging()) as host:
        assert refusal(host, "gvisor").endswith("runsc: waiting for a guest that never comes")


def straw(*programs: str) -> bytes:
    """A package whose scripts are called like runtimes."""
    packed = io.BytesIO(make_wheel("tp_straw").body)
    with zipfile.ZipFile(packed, "a") as archive:
        for name in programs:
            entry = zipfile.ZipInfo(f"tp_straw-1.0.data/scripts/{name}")
            entry.external_attr = 0o100755 << 16
            archive.writestr(entry, Path(shutil.which("sleep") or "").read_bytes())
    return packed.getvalue()


UNDO = """import gc
for names in gc.get_objects():
    if type(names) is dict and names.get("__name__") == "tidepool.engine.guest.oci" and "RUNTIMES" in names:
        names["RUNTIMES"].clear()
"""


def undoing() -> bytes:
    """A package that makes whoever forks sandboxes forget that there are runtimes, when it is imported there."""
    plain, packed = zipfile.ZipFile(io.BytesIO(make_wheel("tp_straw").body)), io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in plain.namelist():
            text = UNDO if name == "tp_straw.py" else plain.read(name).decode()
            archive.writestr(name, re.sub(r",sha256=[^,]*,[0-9]+", ",,", text))
    return packed.getvalue()


@pytest.fixture(params=["scripts", "import"])
def index(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[IndexServer]:
    """An index with a package that would be, or undo, the further wall."""
    body = straw(*_PROGRAMS) if request.param == "scripts" else undoing()
    index = IndexServer(listen(socket.socket()))
    index.add_wheel("tp-straw", body, make_wheel("tp_straw").filename)
    for name, setting in (
        ("PIP_INDEX_URL", index.url),
        ("PIP_CONFIG_FILE", os.devnull),
        ("UV_NO_CONFIG", "1"),
    ):
        monkeypatch.setenv(name, setting)
    yield index
    index.close()


_PROGRAMS = [runtime.program for runtime in oci.RUNTIMES.values()]


@pytest.mark.needs("gvisor", "crun")
@pytest.mark.usefixtures("index")
def test_a_package_cannot_replace_the_wall() -> None:
    with own_engine("tidepool-straw-", pool_size=1) as host:
        for isolation in oci.RUNTIMES:
            box = host.sandbox(isolation=isolation, dependencies=("tp-straw",))
            found = host.shell(box, "tr '\\0' ' ' < /proc/1/cmdline; python3 -c 'import tp_straw; print(7)'")
            assert b"oci.inside()" in found.stdout, "it is in another wall than it was asked for"
            assert found.stdout.endswith(b"7\n"), found
            host.run(host.engine.delete(box))


@pytest.mark.parametrize("isolation", INNER)
def test_what_a_user_leaves_behind_is_not_run_by_the_server_inside(
    host: EngineThread, make: Make, isolation: str
) -> None:
    """An interpreter runs what is in a user's own site-packages as it starts; that one starts as root, unfiltered."""
    box = make(isolation=isolation)
    assert box.files is not None
    site = f".local/lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    trap = b"import os; print(os.getuid(), file=open('/tmp/seen', 'a'))\n"
    host.run(box.files.write(f"{site}/trap.pth", trap))
    sprung = host.shell(box, "python3 -c ''; cat /tmp/seen; rm /tmp/seen")
    assert sprung.stdout == b"1000\n", "the trap does not work"
    host.run(host.engine.stop(box))
    host.run(host.engine.start_again(box))
    assert host.shell(box, "cat /tmp/seen").stdout == b""
