"""Reaching the host: its files, environment, kernel knobs, network, and the image that all sandboxes share."""

import contextlib
import errno
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.security.conftest import EngineThread
from tidepool.engine import Sandbox
from tidepool.engine.errors import AccessDenied, InvalidSpec, NotFound
from tidepool.engine.guest import syscalls
from tidepool.engine.kernel import idmap, mounts

pytestmark = pytest.mark.needs("user_namespace", "overlayfs", "idmapped_mounts")
ROOT = Path(__file__).parents[2]

FIND_CANARY = """
import os, sys
name = sys.argv[1] if len(sys.argv) > 1 else {name!r}
found = []
for path in ({path!r}, "/proc/1/root" + {path!r}, "/proc/self/root/../../.." + {path!r}):
    try:
        found.append(open(path).read())
    except OSError as error:
        print(type(error).__name__)
print("FOUND" if found else "absent")
"""
ENVIRONMENT = """
import os
seen = [str(dict(os.environ))]
for pid in os.listdir("/proc"):
    if pid.isdigit():
        try:
            seen.append(open(f"/proc/{pid}/environ", "rb").read().decode())
        except OSError:
            pass
print("FOUND" if any("tide-secret-value" in text for text in seen) else "absent")
"""


def test_host_files_are_not_there(host: EngineThread, box: Sandbox, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    result = host.python(box, FIND_CANARY.format(path=str(canary), name="canary"))
    assert result.stdout.endswith(b"absent\n")


def test_control_without_the_sandbox_the_canary_is_read(tmp_path: Path) -> None:
    code = FIND_CANARY.format(path=str(tmp_path / "canary"), name="canary")
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert run.stdout.endswith(b"FOUND\n")


def test_host_environment_is_not_there(
    host: EngineThread, box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIDE_SECRET", "tide-secret-value")
    fresh = host.sandbox()
    try:
        assert host.python(fresh, ENVIRONMENT).stdout == b"absent\n"
        assert host.python(box, ENVIRONMENT).stdout == b"absent\n"
    finally:
        host.run(host.engine.delete(fresh))


def test_control_a_plain_child_has_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDE_SECRET", "tide-secret-value")
    run = subprocess.run([sys.executable, "-c", ENVIRONMENT], capture_output=True, check=True)
    assert run.stdout == b"FOUND\n"


def test_no_path_of_the_host_is_shown_in_mountinfo(host: EngineThread, box: Sandbox) -> None:
    table = host.shell(box, "cat /proc/self/mountinfo").stdout.decode()
    assert str(host.state_dir) not in table
    if sys.base_prefix != "/usr":  # then it is a path that every sandbox has
        assert sys.base_prefix not in table
    assert "/root" not in table


@pytest.mark.parametrize("user", ["daytona", "root"])
def test_kernel_knobs_are_read_only(host: EngineThread, user: str) -> None:
    box = host.sandbox(user=user)
    code = """
import os
opened = []
for top in ("/proc/sys", "/proc"):
    for where, folders, files in os.walk(top):
        if top == "/proc":
            folders[:] = []
        for name in files:
            path = os.path.join(where, name)
            if os.path.islink(path):
                continue  # into /proc/self, which is the process's own
            try:
                os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
                opened.append(path)
            except OSError:
                pass
print(sorted(set(opened)))
"""
    try:
        # /dev/null stands over what is masked, and may be written by anyone.
        opened = json.loads(host.python(box, code).stdout.decode().replace("'", '"'))
        masked = [path for path in opened if not _is_null(host, box, path)]
        assert masked == []
    finally:
        host.run(host.engine.delete(box))


def _is_null(host: EngineThread, box: Sandbox, path: str) -> bool:
    return host.shell(box, f"stat -c '%t:%T' {path}").stdout == b"1:3\n"


def test_control_root_outside_may_write_kernel_knobs() -> None:
    assert os.access("/proc/sys/kernel/core_pattern", os.W_OK)


@contextlib.contextmanager
def listening() -> Iterator[int]:
    """A listener on the host's loopback that answers one line."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(5)

        def answer() -> None:
            with contextlib.suppress(OSError):
                connection, _ = server.accept()
                connection.sendall(b"host\n")
                connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        yield server.getsockname()[1]
    thread.join(6)


CONNECT = """
import socket
try:
    with socket.create_connection((({address!r}), {port}), timeout=2) as connection:
        print(connection.recv(10))
except OSError as error:
    print(type(error).__name__, error.strerror)
"""


def test_host_loopback_is_unreachable(host: EngineThread, box: Sandbox) -> None:
    with listening() as port:
        result = host.python(box, CONNECT.format(address="127.0.0.1", port=port))
        assert b"Connection refused" in result.stdout
        # so that the listener's thread ends
        socket.create_connection(("127.0.0.1", port)).close()


def test_control_host_loopback_is_reachable_from_the_host() -> None:
    with listening() as port:
        code = CONNECT.format(address="127.0.0.1", port=port)
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
        assert run.stdout == b"b'host\\n'\n"


@pytest.mark.parametrize("address", ["192.0.2.1", "169.254.169.254", "10.0.0.1", "2001:db8::1"])
def test_other_addresses_are_unreachable(host: EngineThread, box: Sandbox, address: str) -> None:
    result = host.python(box, CONNECT.format(address=address, port=80))
    assert b"Network is unreachable" in result.stdout


def test_abstract_sockets_of_the_host_are_unreachable(host: EngineThread, box: Sandbox) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("\0tidepool-attack-canary")
        server.listen()
        code = "import socket; s = socket.socket(socket.AF_UNIX); s.connect('\\0tidepool-attack-canary')"
        assert b"ConnectionRefusedError" in host.python(box, code).stderr
        with socket.socket(socket.AF_UNIX) as control:
            control.connect("\0tidepool-attack-canary")  # from the host it is there


def test_links_planted_inside_lead_nowhere_outside(host: EngineThread, box: Sandbox, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    script = f"ln -s {canary} link; ln -s / top; ln -s /proc/1/root again; ln -s loop loop; mkfifo pipe"
    assert host.shell(box, script).exit_code == 0
    for path in ("link", f"top{canary}", f"../../../..{canary}", f"/proc/self/root{canary}"):
        with pytest.raises((NotFound, AccessDenied)):
            host.run(box.files.read(path))
    for path in (f"again{canary}", "loop", "pipe", "/dev/zero", "/proc/self/mem", "/proc/uptime"):
        with pytest.raises((NotFound, AccessDenied, InvalidSpec)):
            host.run(box.files.read(path))
    with pytest.raises((NotFound, AccessDenied)):
        host.run(box.files.write("link", b"overwritten"))


def test_control_a_host_that_follows_the_link_reads_the_canary(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(tmp_path / "canary")
    assert (root / "link").read_text() == "unharmed"


EVIL_ZYGOTE = '''
"""Runs in the zygote, as root of its user namespace with every capability there."""
import json, os
from tidepool.engine.guest import syscalls

cleared, wrote, refused = [], [], []
for top in ("/", "/usr", "/usr/local"):
    try:
        syscalls.mount_setattr(syscalls.open_tree(top, 0), 0, syscalls.MOUNT_ATTR_RDONLY)
        cleared.append(top)
    except OSError:
        pass
    for flags in (syscalls.MS_REMOUNT, syscalls.MS_REMOUNT | syscalls.MS_BIND):
        try:
            syscalls.mount("", top, "", flags)
        except OSError:
            pass
for path in ("/usr/local/bin/python3", "/usr/bin/true", "/etc/passwd", "/dev/null2", "/usr/evil"):
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT))
        wrote.append(path)
    except OSError as error:
        refused.append(error.errno)
raise ImportError(json.dumps([cleared, wrote, refused]))
'''


def test_a_zygote_that_makes_its_image_writable_again_still_cannot_write(host: EngineThread) -> None:
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    site = host.state_dir / "layers" / "evil" / "lib" / version / "site-packages"
    site.mkdir(parents=True)
    (site / "evil.py").write_text(EVIL_ZYGOTE)
    backend = host.engine._backend
    number, report = host.run(backend.start_zygote(["evil"], ["evil"], False))
    host.run(backend.end_zygote(number))
    cleared, wrote, refused = json.loads(report["failed"]["evil"].partition(": ")[2])
    assert cleared == ["/", "/usr", "/usr/local"]  # the flag of a mount is the zygote's to clear
    assert wrote == []
    assert refused == [errno.EROFS] * 5


def test_control_an_idmapped_clone_handed_out_would_be_written(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "file").write_text("untouched")
    # A program of its own: libraries that other tests have loaded start threads in every fork of this one, and a
    # process with threads may not have a user namespace made for it.
    code = f"from tests.security.test_host import _hand_out; _hand_out({str(victim)!r})"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, timeout=60)
    assert (victim / "file").read_text() == "overwritten"


def _hand_out(victim: str) -> None:
    """Give a clone of a tree to a program with a user namespace of its own."""
    userns = idmap.create([(0, 1_880_000_000, 1000)])
    clone = mounts.idmapped_clone(victim, userns)
    code = f"from tests.security.test_host import _write_through; _write_through({clone})"
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=[clone],
        cwd=ROOT,
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stdout.read(1) == b"m"
        idmap.write_maps(child.pid, [(0, 1_880_000_000, 1000)])
        child.stdin.write(b"k")
        child.stdin.close()


def _write_through(clone: int) -> None:
    """What a zygote could do with a clone of a host tree: clear its read-only flag and write."""
    syscalls.unshare(syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNS)
    os.write(1, b"m")
    os.read(0, 1)
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    syscalls.mount("t", "/mnt", "tmpfs")
    os.mkdir("/mnt/v")
    syscalls.move_mount(clone, "/mnt/v")
    syscalls.mount_setattr(clone, 0, syscalls.MOUNT_ATTR_RDONLY)
    with open("/mnt/v/file", "w") as file:
        file.write("overwritten")
