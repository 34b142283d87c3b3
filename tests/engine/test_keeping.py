"""Files that outlive processes: stop and start, images, forks, volumes, and what comes back after the engine ended."""

import gc
import io
import os
import shutil
import signal
import tarfile
import time
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.directories import open_directory
from tests.security.conftest import EngineThread
from tidepool.engine import CodeRun, Limits, SandboxSpec, State, Volume
from tidepool.engine.errors import Conflict, InvalidSpec, SetupFailed, WrongState

pytestmark = [pytest.mark.thorough, pytest.mark.needs("user_namespace", "overlayfs", "idmapped_mounts")]
MIB = 1 << 20


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """State for the engines of this module."""
    with open_directory("tidepool-keeping-") as path:
        yield path


@pytest.fixture(scope="module")
def host(place: Path) -> Iterator[EngineThread]:
    """An engine of this module's own."""
    thread = EngineThread(place / "state", place / "run")
    try:
        yield thread
    finally:
        thread.close()


def test_stopped_files_come_back_as_they_were(host: EngineThread) -> None:
    box = host.sandbox(user="root")
    script = """
        mkdir -p d/deep; echo text > d/deep/file; ln -s file d/deep/link; ln d/deep/file d/hard; mkfifo d/fifo
        chmod 0750 d; chown 1000:1000 d/deep/file; touch -d 2001-02-03T04:05:06Z d/deep/file
        rm -r /usr/share/misc; rm -r /usr/share/common-licenses; mkdir /usr/share/common-licenses
        truncate -s 1T sparse; printf tail >> sparse
    """
    assert host.shell(box, script).exit_code == 0
    look = """
        stat -c '%n %a %u %h %Y %F' d d/deep d/deep/file d/deep/link d/hard d/fifo; cat d/deep/link; tail -c 4 sparse
        stat -c %s sparse; ls /usr/share/misc 2>&1; ls -A /usr/share/common-licenses
    """
    before = host.shell(box, look)
    host.run(host.engine.stop(box))
    assert box.state is State.STOPPED
    with pytest.raises(WrongState, match="stopped"):
        host.shell(box, "true")
    host.run(host.engine.start_again(box))
    after = host.shell(box, look)
    assert before.output == after.output
    assert b"No such file" in after.output
    host.run(host.engine.delete(box))
    assert box.id not in host.run(_stored(host, "saved"))


def test_a_deleted_sandbox_is_remembered_without_its_channel(host: EngineThread) -> None:
    box = host.sandbox()
    channel = weakref.ref(box._channel)
    host.run(host.engine.delete(box))
    assert host.engine.get(box.id, box.spec.tenant).state is State.DESTROYED
    gc.collect()
    assert channel() is None


async def _stored(host: EngineThread, kind: str) -> tuple[str, ...]:
    return await host.engine.stored(kind)


def test_an_image_holds_the_files_of_the_one_below_and_outlives_its_sandbox(host: EngineThread) -> None:
    first = host.sandbox(user="root")
    host.shell(first, "echo one > /srv/one; echo gone > /srv/gone; mkdir /srv/dir; echo a > /srv/dir/a")
    host.run(host.engine.freeze(first, "first"))
    host.run(host.engine.delete(first))
    second = host.sandbox(image="first", user="root")
    host.shell(
        second, "rm /srv/gone; rm -r /srv/dir; mkdir /srv/dir; echo b > /srv/dir/b; echo two > /srv/two"
    )
    host.run(host.engine.freeze(second, "second"))
    host.run(host.engine.delete(second))
    host.run(host.engine.delete_image("first"))
    third = host.sandbox(image="second")
    assert (
        host.shell(third, "cd /srv; ls . dir; cat one two").stdout
        == b".:\ndir\none\ntwo\n\ndir:\nb\none\ntwo\n"
    )
    assert host.run(third.run_code(CodeRun("print(open('/srv/two').read())"))).basis == "fork"
    with pytest.raises(Conflict, match="in use"):
        host.run(host.engine.delete_image("second"))
    host.run(host.engine.delete(third))
    host.run(host.engine.delete_image("second"))
    assert host.run(_stored(host, "images")) == ()


@pytest.mark.skipif(
    shutil.which("busybox") is None, reason="busybox (Debian: busybox-static) is not installed"
)
def test_an_imported_image_is_a_system_of_its_own_and_its_tar_writes_nowhere_else(
    host: EngineThread, place: Path
) -> None:
    busybox = Path(shutil.which("busybox") or "").read_bytes()
    with tarfile.open(place / "tiny.tar", "w") as tar:
        _add(tar, "bin/busybox", busybox, 0o4755)
        for name in ("sh", "id", "cat", "ls"):
            _add(tar, f"bin/{name}", link="busybox")
        _add(tar, "etc/os-release", b"ID=tiny")
        _add(tar, "out", link=str(place))
        _add(tar, "out/pwned", b"through a link")
        _add(tar, "../../../pwned", b"upwards")
    host.run(host.engine.import_image("tiny", place / "tiny.tar"))
    box = host.sandbox(image="tiny")
    shown = host.shell(box, "cat /etc/os-release; id -un; ls /usr/local/lib; echo x > f").output
    assert shown.startswith(b"ID=tinydaytona\n")
    assert b"No such file" in shown
    assert not list(place.rglob("pwned"))
    assert (host.state_dir / "storage/images/tiny/r/bin/busybox").stat().st_mode & 0o7777 == 0o755
    assert host.run(box.run_code(CodeRun("print(1)"))).exit_code == 127
    host.run(host.engine.freeze(box, "tiny-more"))
    more = host.sandbox(image="tiny-more")
    assert host.shell(more, "cat f /etc/os-release").output == b"x\nID=tiny"
    for one in (box, more):
        host.run(host.engine.delete(one))
    for image in ("tiny", "tiny-more"):
        host.run(host.engine.delete_image(image))


def _add(tar: tarfile.TarFile, name: str, data: bytes = b"", mode: int = 0o644, link: str = "") -> None:
    member = tarfile.TarInfo(name)
    member.mode, member.size = mode, len(data)
    if link:
        member.type, member.linkname = tarfile.SYMTYPE, link
    tar.addfile(member, io.BytesIO(data))


def test_a_fork_begins_with_the_files_of_that_moment_and_is_then_its_own(host: EngineThread) -> None:
    box = host.sandbox()
    host.shell(box, "echo shared > file; (while sleep 0.01; do date > changing; done) >/dev/null 2>&1 &")
    twin = host.run(host.engine.fork(box, SandboxSpec()))
    host.shell(twin, "echo twin > file")
    assert host.shell(box, "cat file").stdout == b"shared\n"
    before = host.shell(box, "stat -c %Y.%y changing").stdout
    time.sleep(0.1)
    assert host.shell(box, "stat -c %Y.%y changing").stdout != before, "what was held still goes on"
    host.run(host.engine.stop(twin))
    again = host.run(host.engine.fork(twin, SandboxSpec()))
    assert host.shell(again, "cat file").stdout == b"twin\n"
    for one in (box, twin, again):
        host.run(host.engine.delete(one))


def test_volumes_are_shared_have_posix_semantics_and_outlive_sandboxes(host: EngineThread) -> None:
    host.run(host.engine.make_volume("data"))
    one = host.sandbox(volumes=(Volume("data", "/data"), Volume("data", "/home/daytona/part", "a/b")))
    two = host.sandbox(volumes=(Volume("data", "/data"),), user="root")
    host.shell(one, "echo x > /data/old; mv /data/old /data/new; echo y > part/inner; chmod 600 /data/new")
    assert (
        host.shell(two, "cat /data/new /data/a/b/inner; stat -c %u:%a /data/new").stdout
        == b"x\ny\n1000:600\n"
    )
    lock = "import fcntl; f = open('/data/new', 'r+'); fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)"
    host.shell(
        two,
        f'python3 -c "{lock}; import time; print(1, flush=True); time.sleep(30)" >/data/o 2>&1 & sleep 0.5',
    )
    assert b"BlockingIOError" in host.python(one, lock).stderr, "locks reach from one sandbox to the other"
    assert host.run(one.files.read("/data/new")) == b"x\n"
    with pytest.raises(Conflict, match="in use"):
        host.run(host.engine.delete_volume("data"))
    host.run(host.engine.delete(one))
    host.run(host.engine.delete(two))
    three = host.sandbox(volumes=(Volume("data", "/data"),))
    assert host.shell(three, "cat /data/new").stdout == b"x\n"
    host.run(host.engine.delete(three))
    host.run(host.engine.delete_volume("data"))


def test_a_volume_link_to_the_host_is_not_followed(host: EngineThread) -> None:
    host.run(host.engine.make_volume("evil"))
    box = host.sandbox(volumes=(Volume("evil", "/data"),), user="root")
    host.shell(box, "ln -s /etc /data/link")
    host.run(host.engine.delete(box))
    with pytest.raises(SetupFailed, match="mounts"):
        host.sandbox(volumes=(Volume("evil", "/data", "link/inner"),))
    with pytest.raises(InvalidSpec):
        Volume("evil", "/data", "../x")
    host.run(host.engine.delete_volume("evil"))


def test_links_in_a_sandbox_do_not_lead_a_copy_out_of_it(host: EngineThread) -> None:
    secret = host.state_dir / "secret"
    secret.write_text("host")
    box = host.sandbox(user="root")
    host.shell(box, f"ln -s / /srv/top; ln -s {secret} link; mkdir up; ln -s ../../../../../.. up/up")
    host.run(host.engine.stop(box))
    saved = host.state_dir / "storage" / "saved" / box.id / "r"
    assert os.readlink(saved / "srv" / "top") == "/"
    assert not any(path.is_file() and not path.is_symlink() for path in saved.rglob("secret"))
    assert (host.state_dir / "storage").stat().st_mode & 0o777 == 0o700
    host.run(host.engine.delete(box))


def test_a_killed_init_loses_no_file(host: EngineThread) -> None:
    box = host.sandbox()
    host.shell(box, "echo kept > file; sync")
    os.kill(_init_of(host, box.id), signal.SIGKILL)
    deadline = time.monotonic() + 5
    while box.state is not State.ERROR and time.monotonic() < deadline:
        time.sleep(0.01)
    assert box.error_reason is not None
    assert "its files were saved" in box.error_reason
    host.run(host.engine.start_again(box))
    assert host.shell(box, "cat file").stdout == b"kept\n"
    host.run(host.engine.delete(box))


def _init_of(host: EngineThread, number: str) -> int:
    """Host pid of a sandbox's init: the parent, seen from outside, of a process that names itself."""
    box = host.engine.get(number, "local")
    host.shell(box, f"sh -c 'sleep 20; :' mark-{number} >/dev/null 2>&1 &")
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and f"mark-{number}".encode() in _read(entry / "cmdline"):
            status = dict(line.split(":\t", 1) for line in _read(entry / "status").decode().splitlines())
            return int(status["PPid"])
    raise AssertionError("the marked process was not found")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_a_smaller_disk_than_its_files_is_refused(host: EngineThread) -> None:
    box = host.sandbox()
    host.shell(box, "head -c 20M /dev/urandom > file")
    with pytest.raises(InvalidSpec, match="cannot be resized"):
        host.run(host.engine.resize(box, Limits(disk_bytes=10 * MIB)))
    host.run(host.engine.resize(box, Limits(memory_bytes=2048 * MIB, disk_bytes=1024 * MIB)))
    assert host.shell(box, "df --output=size -m / | tail -1").stdout.strip() == b"1024"
    host.run(host.engine.delete(box))


def test_what_was_running_when_the_engine_ended_can_be_brought_back(place: Path) -> None:
    state = place / "other"
    first = EngineThread(state, place / "run2")
    kept, gone = first.sandbox(name="kept"), first.sandbox(ephemeral=True)
    for box in (kept, gone):
        first.shell(box, "echo text > file")
    first.close()
    second = EngineThread(state, place / "run3")
    try:
        assert second.run(_stored(second, "saved")) == (kept.id,)
        box = second.engine.adopt(kept.spec, kept.id, has_files=True)
        second.run(second.engine.start_again(box))
        assert second.shell(box, "cat file").stdout == b"text\n"
    finally:
        second.close()
