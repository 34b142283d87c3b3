"""Attacks on what serves the code inside, on what siblings share, and on names: probes 92 to 98.

Code may harm the helpers that run beside it: then its own sandbox suffers, and the host says so. Nothing that one
sandbox had, said or locked is seen by another; what is shared by design is named in docs/isolation.md.
Another tenant's objects are attacked in tests/server/test_tenants.py (probe 94).
"""

import asyncio
import contextlib
import json
import os
import secrets
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from tests.conftest import Server
from tests.security.conftest import EngineThread
from tests.server.client import Api
from tests.tiers import thorough_after
from tidepool.engine import CodeRun, Sandbox, Verdict
from tidepool.engine.errors import TidepoolError

pytestmark = pytest.mark.needs("user_namespace", "overlayfs", "idmapped_mounts")

PROMPT_S = 8.0
SABOTAGE = {
    "92-exit": "import os; os._exit(0)",
    "92-kill-init": "import os, signal\nfor s in range(1, 32):\n    try: os.kill(1, s)\n    except OSError: pass",
    "92-kill-all": "import os, signal; os.kill(-1, signal.SIGKILL)",
    "92-stop-all": "import os, signal; os.kill(-1, signal.SIGSTOP)",
    "92-close-all": "import os; os.closerange(0, 1 << 16)",
    "92-modules": "import sys\nfor name in list(sys.modules): sys.modules[name] = None",
    "92-builtins": "import builtins\nfor name in list(vars(builtins)): setattr(builtins, name, None)",
    "92-signals": "import signal, time\nfor s in range(1, 32):\n    try: signal.signal(s, signal.SIG_IGN)\n"
    "    except OSError: pass\ntime.sleep(60)",
    "92-gc": "import gc\nfor x in gc.get_objects():\n    try: x.clear()\n    except Exception: pass",
    "92-segfault": "import ctypes; ctypes.string_at(1)",
    "92-scribble": "import ctypes\nfor at in range(id(None) - 4096, id(None) + 4096, 8):\n"
    "    ctypes.c_long.from_address(at).value = 1",
    "92-recursion": "import sys; sys.setrecursionlimit(1 << 30)\ndef f(): f()\nf()",
    "92-trace": "import sys, threading; sys.settrace(lambda *a: 1 / 0); sys.excepthook = None; 1 / 0",
    "92-descriptors": "import os\nfor fd in range(3, 64):\n    try: os.write(fd, bytes(99))\n    except OSError: pass",
}


@pytest.mark.parametrize("name", thorough_after(1, SABOTAGE))
def test_sabotage_harms_only_its_own_run(
    host: EngineThread, box: Sandbox, make_box: Callable[..., Sandbox], name: str
) -> None:
    other, started = make_box(), time.monotonic()
    result = host.python(box, SABOTAGE[name], timeout_s=2.0)
    assert isinstance(result.verdict, Verdict)
    assert time.monotonic() - started < PROMPT_S
    with contextlib.suppress(TidepoolError):  # one that was harmed beyond that says so
        assert host.shell(box, "echo works").stdout == b"works\n"
    assert host.shell(other, "echo works").stdout == b"works\n"


TAKE_CONTROL = """
import ctypes, os, socket
libc = ctypes.CDLL(None, use_errno=True)
got = []
for pid in [p for p in os.listdir("/proc") if p.isdigit()]:
    for place in ("fd", "mem", "root", "cwd", "environ"):
        try:
            if place == "fd":
                got += [os.readlink(f"/proc/1/fd/{fd}") for fd in os.listdir("/proc/1/fd")] if pid == "1" else []
            elif pid == "1":
                os.close(os.open(f"/proc/{pid}/{place}", os.O_RDONLY)); got.append((pid, place))
        except OSError:
            pass
pidfd = libc.syscall(434, 1, 0)
if pidfd >= 0:
    for fd in range(8):
        if libc.syscall(438, pidfd, fd, 0) >= 0:
            got.append(("pidfd_getfd", fd))
if libc.ptrace(16, 1, 0, 0) == 0:
    got.append("ptrace")
print(got)
"""


@pytest.mark.parametrize("user", ["daytona", "root"])
def test_the_control_socket_is_out_of_reach(
    host: EngineThread, make_box: Callable[..., Sandbox], user: str
) -> None:
    """[92-take]"""
    assert host.python(make_box(user=user), TAKE_CONTROL).stdout == b"[]\n"


HEAP = """
import ctypes, os
wanted = {wanted!r}  # in halves, so that nothing of ours holds a whole one
found = set()
with open("/proc/self/maps") as maps:
    ranges = [line.split()[:2] for line in maps]
for place, rights in ranges:
    first, last = (int(part, 16) for part in place.split("-"))
    if rights.startswith("r") and last - first < 1 << 28 and first < 1 << 47:
        try:
            with open("/proc/self/mem", "rb") as memory:
                memory.seek(first)
                data = memory.read(last - first)
        except OSError:
            continue
        for number, (first, second) in enumerate(wanted):
            at = data.find(first)
            while at >= 0:
                if data.startswith(second, at + len(first)):
                    found.add(number)
                at = data.find(first, at + 1)
print(sorted(found))
"""


def test_no_sandbox_has_what_the_host_or_a_sibling_has_in_memory(
    host: EngineThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    """[93-heap] The last is the control: what a sandbox itself has is found."""
    secret, sibling, own = (secrets.token_bytes(24).hex() for _ in range(3))
    monkeypatch.setenv("TIDE_HEAP_SECRET", secret)
    keep = f"import time\nkept = {sibling!r}\ntime.sleep(0.1)\nprint(len(kept))"
    first = host.sandbox(env={"SIBLING": sibling})
    assert host.python(first, keep).stdout == b"48\n"
    second = host.sandbox(env={"OWN": own})
    wanted = [(text[:24].encode(), text[24:].encode()) for text in (secret, sibling, own)]
    assert host.python(second, HEAP.format(wanted=wanted)).stdout == b"[2]\n"
    for made in (first, second):
        host.run(host.engine.delete(made))


RANDOM = """
import json, os, random, secrets, ssl, tempfile, uuid
seen = {"random": random.random(), "choices": random.choices(range(1000), k=9), "uuid4": str(uuid.uuid4()),
        "secrets": secrets.token_hex(), "urandom": os.urandom(16).hex(), "ssl": ssl.RAND_bytes(16).hex(),
        "temporary": next(tempfile._get_candidate_names()), "system": random.SystemRandom().random()}
try:
    import numpy
    seen["numpy"] = [float(numpy.random.rand()), float(numpy.random.default_rng().random())]
except ImportError:
    pass
print(json.dumps(seen))
"""


def test_siblings_and_runs_draw_different_numbers(
    host: EngineThread, make_box: Callable[..., Sandbox]
) -> None:
    """[93-random]"""
    boxes = [make_box(), make_box(), make_box()]
    drawn: list[dict[str, Any]] = [json.loads(host.python(box, RANDOM).stdout) for box in (*boxes, boxes[0])]
    for kind in drawn[0]:
        values = [json.dumps(one[kind]) for one in drawn]
        assert len(set(values)) == len(values), kind


EVIL = {
    "line-end": "a\nb: c\r\nd",
    "shell": "$(touch /tmp/{0}); `touch /tmp/{0}`; touch /tmp/{0} && ../../../{0}",
    "template": "{{{{7*7}}}}${{7*7}}%s%n{{0.__class__}}",
    "ansi": "\x1b[2J\x1b]0;{0}\x07",
    "nul": "a\0b",
    "path": "../../../../../tmp/{0}",
    "megabyte": "x" * (1 << 20),
    "half": "\ud800",
    "rtl": "\u202e{0}\u2066",
    "equals": "a=b=c;d",
}
FIELDS: dict[str, Callable[[str], dict[str, Any]]] = {
    "name": lambda text: {"name": text},
    "label": lambda text: {"labels": {"key": text}},
    "label-key": lambda text: {"labels": {text: "x"}},
    "env": lambda text: {"env": {"KEY": text}},
    "env-key": lambda text: {"env": {text: "x"}},
    "user": lambda text: {"user": text},
    "snapshot": lambda text: {"snapshot": text},
    "target": lambda text: {"target": text},
    "allow": lambda text: {"networkAllowList": text},
    "volume": lambda text: {"volumes": [{"volumeId": text, "mountPath": "/mnt/x"}]},
    "mount": lambda text: {"volumes": [{"volumeId": "x", "mountPath": text}]},
    "build": lambda text: {"buildInfo": {"dockerfileContent": text}},
}


@pytest.mark.parametrize("field", FIELDS)
def test_texts_in_a_request_are_refused_or_only_texts(server: Server, field: str) -> None:
    """[95-field]"""
    mark = f"tidepool-evil-{secrets.token_hex(6)}"
    api = Api(server.url, server.key)
    for kind, text in EVIL.items():
        asked = {"networkBlockAll": True, **FIELDS[field](text.format(mark) if "{" in text else text)}
        answer = api.call("POST", "/sandbox", asked)
        assert answer.status < 500, (kind, answer.body[:300])
        for value in answer.headers.values():
            assert mark not in value
        if answer.status == 200:
            made = answer.json["id"]
            told = api.at(f"/toolbox/{made}").call("POST", "/process/execute", {"command": f"ls /tmp/{mark}"})
            assert told.status != 200 or told.json["exitCode"] != 0, kind
            assert api.call("DELETE", f"/sandbox/{made}").status == 200
    assert not os.path.exists(f"/tmp/{mark}")
    api.close()


@pytest.mark.parametrize("kind", EVIL)
def test_texts_in_addresses_are_refused_or_only_texts(server: Server, kind: str) -> None:
    """[95-address]"""
    api = Api(server.url, server.key)
    text = quote(EVIL[kind][:4000].encode("utf-8", "surrogatepass"), safe="")
    made = api.call("POST", "/sandbox", {"networkBlockAll": True}).json["id"]
    key = {"Authorization": f"Bearer {server.key}"}
    for method, target in (
        ("GET", f"/api/sandbox/{text}"),
        ("POST", f"/api/sandbox/{text}/start"),
        ("GET", f"/api/snapshots/{text}"),
        ("GET", f"/api/volumes/{text}"),
        ("GET", f"/api/volumes/by-name/{text}"),
        ("DELETE", f"/api/api-keys/{text}"),
        ("GET", f"/toolbox/{text}/files"),
        ("GET", f"/toolbox/{made}/process/session/{text}"),
        ("GET", f"/toolbox/{made}/process/session/x/command/{text}/logs"),
        ("GET", f"/toolbox/{made}/process/pty/{text}"),
        ("GET", f"/toolbox/{made}/files?path={text}"),
    ):
        answer = api.send(method, target, None, key)
        assert answer.status < 500, (target[:80], answer.body[:300])
    api.call("DELETE", f"/sandbox/{made}")
    api.close()


LOCKED = """
import fcntl, json, os, struct, sys
paths = ["/", "/usr", "/usr/bin/env", "/usr/local/bin/python3", "/etc/passwd", "/dev", "/dev/null", "/dev/zero",
         "/dev/urandom", "/dev/full", "/dev/shm", "/tmp", "/proc", "/proc/self/status", "/proc/sys/kernel/hostname"]
fds, felt = [], []
for path in paths:
    try:
        fd = os.open(path, os.O_RDONLY)
    except OSError:
        continue
    fds.append(fd)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        felt.append(["flock", path])
    except OSError:
        pass
    try:
        writable = os.open(path, os.O_RDWR)
        fds.append(writable)
        fcntl.fcntl(writable, 37, struct.pack("hhqqi4x", 1, 0, 0, 0, 0))  # F_OFD_SETLK
    except BlockingIOError:
        felt.append(["record", path])
    except OSError:
        pass
    try:
        fcntl.fcntl(fd, 1024, fcntl.F_RDLCK)
    except OSError as error:
        if error.errno == 11:
            felt.append(["lease", path])
print(json.dumps(felt), flush=True)
sys.stdin.readline()
"""


@pytest.mark.thorough
def test_locks_of_one_sandbox_are_not_felt_by_another(
    host: EngineThread, make_box: Callable[..., Sandbox]
) -> None:
    """[96-locks] The control is a second process of the same sandbox, which does feel them."""
    first, second = make_box(), make_box()
    held = asyncio.run_coroutine_threadsafe(
        first.run_code(CodeRun(LOCKED.replace("sys.stdin.readline()", "__import__('time').sleep(6)"))),
        host._loop,
    )
    time.sleep(2.0)
    assert json.loads(host.python(second, LOCKED).stdout) == []
    assert json.loads(host.python(first, LOCKED).stdout) != []
    held.result(20)


HOST_STATE = """
import os
print(open("/proc/locks").read().strip() if os.path.exists("/proc/locks") else "")
for path in ("/proc/loadavg", "/proc/stat", "/proc/vmstat", "/proc/interrupts", "/proc/schedstat"):
    try:
        print(path, len(open(path).read().strip()))
    except OSError as error:
        print(path, "refused")
"""


def test_tables_of_the_host_say_nothing_of_others(host: EngineThread, box: Sandbox) -> None:
    """[96-tables] /proc/locks lists what others hold; the load of the host is a channel."""
    said = host.python(box, HOST_STATE).stdout.decode().splitlines()
    assert said[0] == "", "other sandboxes' locks are listed"


LEAVE = """
import os, socket, subprocess, sys
for place in ("/tmp", "/var/tmp", "/dev/shm", "/home/daytona", "/run", "/var/spool", "/usr/local", "/etc"):
    try:
        open(place + "/left-{mark}", "w").write("left")
    except OSError:
        pass
subprocess.Popen(["sleep", "300"], start_new_session=True, env={{"LEFT": "{mark}"}})
sock = socket.create_server(("127.0.0.1", 4321))
if os.fork() == 0:
    os.setsid()
    import time
    time.sleep(300)
abstract = socket.socket(socket.AF_UNIX)
try: abstract.bind("\\0left-{mark}"); abstract.listen()
except OSError: pass
"""
FOUND = """
import os, socket
found = []
for place, folders, files in os.walk("/"):
    if place.startswith("/proc"):
        folders[:] = []
        continue
    found += [place + "/" + name for name in folders + files if "left-{mark}" in name]
for pid in os.listdir("/proc"):
    if pid.isdigit():
        try:
            if b"{mark}" in open(f"/proc/{pid}/environ", "rb").read(): found.append(pid)
        except OSError:
            pass
with socket.socket() as sock:
    if sock.connect_ex(("127.0.0.1", 4321)) == 0: found.append("port")
with socket.socket(socket.AF_UNIX) as sock:
    if sock.connect_ex("\\0left-{mark}") == 0: found.append("abstract")
print(found)
"""


@pytest.mark.thorough
def test_nothing_that_was_left_reaches_the_next(host: EngineThread, make_box: Callable[..., Sandbox]) -> None:
    """[98-reuse] Boxes are never used twice: of those that come after, none has a trace."""
    mark = secrets.token_hex(8)
    search = FOUND.replace("{mark}", mark)
    for _ in range(2):
        used = host.sandbox()
        host.python(used, LEAVE.format(mark=mark))
        assert host.python(used, search).stdout != b"[]\n", (
            "control: what was left is found where it was left"
        )
        host.run(host.engine.delete(used))
        for _ in range(3):
            assert host.python(make_box(), search).stdout == b"[]\n"
