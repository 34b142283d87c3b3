"""What Landlock refuses inside a small root of our own, each with a control that it works without.

The text that runs has imported all it needs before: afterwards nothing outside of that root can be opened.
"""

import os
import textwrap
from pathlib import Path

import pytest

from tests.engine.kernel import confined

pytestmark = [
    pytest.mark.needs("landlock"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root may make device nodes for the attacks"),
]
MAKE_ROOT = """
import time
root = sys.argv[1]
for name in ("home", "tmp", "proc", "sys", "dev", "dev/shm", "dev/pts", "dev/mqueue"):
    os.mkdir(f"{root}/{name}")
for name, minor in (("null", 3), ("zero", 5), ("other", 5)):
    os.mknod(f"{root}/dev/{name}", 0o020666, os.makedev(1, minor))
for name in ("home/file", "sys/file", "proc/file", "dev/shm/file", "outside"):
    open(f"{root}/{name}", "w").close()
os.symlink(root + "/home", root + "/link")
parent = os.getppid()
listener = socket.socket(socket.AF_UNIX)
listener.bind("\\0tidepool-landlock-" + str(os.getpid()))
listener.listen()
def run(path, mode="w"):
    with open(f"{root}/{path}", mode) as file:
        return file.read(1) if mode == "r" else file.write("x")
def outcome(attempt):
    try:
        attempt()
    except OSError as error:
        return errno.errorcode[error.errno]
    return "ok"
"""
RESTRICT = "confine.restrict_landlock(root);"
ABI = confined.python(
    """
try:
    print(confine.landlock_abi())
except OSError:
    print(0)
"""
)

REFUSED = {
    "make a file in the root": ("open(root + '/new', 'w')", "EACCES", 1),
    "make a directory in the root": ("os.mkdir(root + '/new')", "EACCES", 1),
    "remove from the root": ("os.unlink(root + '/outside')", "EACCES", 1),
    "write a file of the root": ("run('outside')", "EACCES", 1),
    "truncate a file of the root": ("os.truncate(root + '/outside', 0)", "EACCES", 3),
    "write below /sys": ("run('sys/file')", "EACCES", 1),
    "make a file in /dev": ("open(root + '/dev/new', 'w')", "EACCES", 1),
    "write another device": ("run('dev/other')", "EACCES", 1),
    "control another device": (
        "os.isatty(os.open(root + '/dev/other', os.O_RDONLY)) or tty('dev/other')",
        "EACCES",
        5,
    ),
    "make a device": ("os.mknod(root + '/home/node', 0o020666, os.makedev(1, 3))", "EACCES", 1),
    "make a disk": ("os.mknod(root + '/home/disk', 0o060666, os.makedev(7, 0))", "EACCES", 1),
    "move a file into the root": ("os.rename(root + '/home/file', root + '/moved')", "EACCES", 1),
    "write through a link out": ("open('/proc/self/root' + root + '/outside', 'w')", "EACCES", 1),
    "read what is outside": ("open('/etc/passwd')", "EACCES", 1),
    "mount": ("syscalls.mount('x', root + '/home', 'tmpfs')", "EPERM", 1),
    "signal a process outside": ("os.kill(parent, 0)", "EPERM", 6),
    "reach an abstract socket outside": ("connect(name)", "EPERM", 6),
}
ALLOWED = {
    "write in home": "run('home/file')",
    "make and remove in home": "os.mkdir(root + '/home/d'); os.rmdir(root + '/home/d')",
    "move between tops": "os.rename(root + '/home/file', root + '/tmp/file')",
    "link between tops": "os.link(root + '/home/file', root + '/tmp/file')",
    "FIFO, socket, symlink": "os.mkfifo(root + '/home/p'); bind(root + '/home/s'); os.symlink('a', root + '/home/y')",
    "write through a link in": "run('link/file')",
    "truncate": "os.truncate(root + '/home/file', 5)",
    "read everything below the root": "run('outside', 'r'); os.listdir(root); run('sys/file', 'r')",
    "use /dev/null": "run('dev/null'); open(root + '/dev/null', 'w')",
    "use /dev/shm": "run('dev/shm/file'); run('dev/shm/new')",
    "write below /proc": "run('proc/file')",
    "signal a child": "os.kill(child(), 9)",
    "write to a pipe by its name": "open('/proc/self/fd/%d' % os.pipe()[1], 'w').write('x')",
    "reach an abstract socket inside": "bind('\\0' + name); connect(name)",
}
TOOLS = """
import fcntl
name = "tidepool-inside-" + str(os.getpid())
kept = []
def tty(path):
    fcntl.ioctl(os.open(f"{root}/{path}", os.O_RDONLY), 0x5401, bytes(64))
def bind(address):
    kept.append(socket.socket(socket.AF_UNIX)); kept[-1].bind(address); kept[-1].listen()
def connect(name):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect("\\0" + name)
def child():
    pid = os.fork()
    if pid == 0:
        time.sleep(10)
        os._exit(0)
    return pid
"""


def attempt(code: str, root: Path, restrict: bool = True) -> str:
    """How one attempt ends, in a process of its own."""
    outside = 'name = "tidepool-landlock-" + str(os.getpid());' if code == "connect(name)" else ""
    body = textwrap.dedent(f"def attempt():\n    {code}\nprint(json.dumps(outcome(attempt)))")
    where = "syscalls.unshare(syscalls.CLONE_NEWNS); syscalls.mount('', '/', '', 0x44000)\n"
    answer = confined.python(
        f"{where}{MAKE_ROOT}{TOOLS}{outside}{RESTRICT if restrict else ''}\n{body}", str(root)
    )
    return str(answer)


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, tmp_path: Path) -> None:
    code, errno_name, abi = REFUSED[name]
    if abi > ABI:
        pytest.skip(f"needs Landlock ABI {abi}; this kernel has {ABI}")
    assert attempt(code, tmp_path) == errno_name


@pytest.mark.parametrize("name", REFUSED)
def test_control_without_landlock_it_works(name: str, tmp_path: Path) -> None:
    # A device that is no terminal answers ENOTTY: the request got to it.
    expected = "ENOTTY" if name == "control another device" else "ok"
    assert attempt(REFUSED[name][0], tmp_path, restrict=False) == expected


@pytest.mark.parametrize("name", ALLOWED)
def test_allowed(name: str, tmp_path: Path) -> None:
    assert attempt(ALLOWED[name], tmp_path) == "ok"


QUEUE = """
libc.mq_open.restype = ctypes.c_int
if libc.mq_open(b"/tidepool-test", os.O_CREAT | os.O_RDWR, 0o600, None) < 0:
    raise OSError(ctypes.get_errno(), "mq_open")
"""


@pytest.mark.parametrize(("mounted", "expected"), [(True, "ok"), (False, "EACCES")])
def test_message_queues_work_where_their_filesystem_is_mounted(
    mounted: bool, expected: str, tmp_path: Path
) -> None:
    mount = "syscalls.mount('mqueue', root + '/dev/mqueue', 'mqueue');" if mounted else ""
    alone = "syscalls.unshare(syscalls.CLONE_NEWNS | syscalls.CLONE_NEWIPC);syscalls.mount('', '/', '', 0x44000)\n"
    body = f"def attempt():\n{textwrap.indent(QUEUE, '    ')}\nprint(json.dumps(outcome(attempt)))"
    assert confined.python(f"{alone}{MAKE_ROOT}{mount}{RESTRICT}\n{body}", str(tmp_path)) == expected


def test_it_says_what_is_enforced(tmp_path: Path) -> None:
    answer = confined.python(f"{MAKE_ROOT}print(json.dumps(confine.restrict_landlock(root)))", str(tmp_path))
    assert answer == {"landlock": ABI}
    assert ABI >= 1


WITHOUT_LANDLOCK = """
import struct
number = syscalls.NUMBERS["landlock_create_ruleset"]
program = [(0x20, 0, 0, 0), (0x15, 0, 1, number), (6, 0, 0, seccomp.ENOSYS), (6, 0, 0, seccomp.ALLOW)]
confine.install_seccomp(b"".join(struct.pack("=HBBI", *one) for one in program))
print(json.dumps(outcome(lambda: confine.restrict_landlock(root))))
"""


def test_a_kernel_without_it_is_an_error_not_a_shrug(tmp_path: Path) -> None:
    assert confined.python(MAKE_ROOT + WITHOUT_LANDLOCK, str(tmp_path)) == "ENOSYS"
