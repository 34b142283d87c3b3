"""Attacks on the files API: probes 78 to 82, 87 and 88; what the host does with whole trees is in test_tree_attacks.

The sandbox arranges paths, links and special files, also while the host is at work; the host must answer promptly and
touch nothing outside. The API takes no archives: they are parsed for layers (tests/engine/test_archive.py), images
(tests/images/test_layers.py) and contexts, all of them fuzzed in tests/fuzz/test_archives.py.
"""

import asyncio
import contextlib
import errno
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Server
from tests.security import hostile
from tests.security.conftest import EngineThread
from tests.security.outcomes import SECRET, background, outcome
from tests.server.client import Api
from tidepool.engine import Sandbox
from tidepool.engine.errors import Refused, SandboxLost, TidepoolError

pytestmark = pytest.mark.needs("user_namespace", "overlayfs", "idmapped_mounts")

PROMPT_S = 5.0

SPELLINGS = {
    "78-up": "../../../../../..{canary}",
    "78-up-from-a-file": "file/../..{canary}",
    "78-absolute": "{canary}",
    "78-slashes": "////{canary}//",
    "78-dots": "/./././{canary}/.",
    "78-empty": "",
    "78-nul": "file\0/../{canary}",
    "78-4096": "a/" * 2100 + "x",
    "78-one-long-name": "x" * 300,
    "78-not-utf-8": "file\udcff",
    "78-half-a-character": "\ud800",
    "78-line-ends": "a\nb\r\nc",
    "78-proc-root": "/proc/1/root{canary}",
    "78-proc-cwd": "/proc/1/cwd/../../..{canary}",
    "78-fd": "/proc/self/fd/3",
    "78-link-to-canary": "planted",
    "78-link-through": "top/../..{canary}",
    "78-own-host-name": "~root/x",
    "78-percent": "%2e%2e/%2e%2e{canary}",
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_no_spelling_of_a_path_leaves_the_sandbox(
    host: EngineThread, box: Sandbox, tmp_path: Path, name: str
) -> None:
    canary = tmp_path / "canary"
    path = SPELLINGS[name].format(canary=canary)
    assert host.shell(box, f"ln -s {canary} planted; ln -s / top; echo inside > file").exit_code == 0
    files = box.files
    found = host.run(outcome(files.read(path)))
    assert not isinstance(found, bytes) or SECRET not in found
    for asked in (
        files.info(path),
        files.list(path),
        files.write(path, b"overwritten"),
        files.move(path, "moved"),
        files.move("file", path),
        files.set_permissions(path, 0o777),
        files.make_folder(path),
        files.delete(path, recursive=True),
    ):
        host.run(outcome(asked))
    assert canary.read_bytes() == SECRET
    assert host.shell(box, "echo works").stdout == b"works\n"


@pytest.mark.parametrize("name", SPELLINGS)
def test_no_spelling_leaves_it_over_http(server: Server, tmp_path: Path, name: str) -> None:
    canary = tmp_path / "canary"
    path = SPELLINGS[name].format(canary=canary).encode("utf-8", "surrogatepass")
    api = Api(server.url, server.key)
    made = api.call("POST", "/sandbox", {"networkBlockAll": True}).json["id"]
    toolbox = api.at(f"/toolbox/{made}")
    calls: list[tuple[str, str, dict[str, Any]]] = [
        ("GET", "/files/download", {"path": path}),
        ("GET", "/files/info", {"path": path}),
        ("GET", "/files", {"path": path}),
        ("GET", "/files/find", {"path": path, "pattern": "unharmed"}),
        ("GET", "/files/search", {"path": path, "pattern": "*"}),
        ("POST", "/files/folder", {"path": path, "mode": "777"}),
        ("POST", "/files/permissions", {"path": path, "mode": "777"}),
        ("POST", "/files/move", {"source": path, "destination": "moved"}),
        ("DELETE", "/files", {"path": path, "recursive": "true"}),
    ]
    for method, where, query in calls:
        answer = toolbox.call(method, where, **query)
        assert answer.status < 500, (where, answer.body)
        assert SECRET not in answer.body.replace(b'"unharmed"', b"")
    answer = toolbox.upload("/files/upload", ("file", "x", b"overwritten"), path=path)
    assert answer.status < 500
    assert canary.read_bytes() == SECRET
    api.call("DELETE", f"/sandbox/{made}")
    api.close()


SWAPPER = """
import os, sys
canary = {canary!r}
os.makedirs("real", exist_ok=True)
open("real/spot", "w").write("inside")
turn = 0
targets = [canary, "/etc/shadow", "/proc/1/environ", "/proc/self/mem", "/dev/zero", os.path.dirname(canary), "loop"]
while True:
    target = targets[turn % len(targets)]
    turn += 1
    try:
        os.symlink(target, "new"); os.rename("new", "real/spot")
        os.unlink("real/spot")
        open("real/spot", "w").write("inside")
        os.rename("real", "away"); os.symlink(os.path.dirname(target) or ".", "real")
        os.unlink("real"); os.rename("away", "real")
    except OSError:
        for name in ("new", "real/spot"):
            try: os.unlink(name)
            except OSError: pass
        try:
            if os.path.islink("real"): os.unlink("real")
            if not os.path.isdir("real"): os.rename("away", "real") if os.path.isdir("away") else os.mkdir("real")
        except OSError: pass
"""


@pytest.mark.parametrize(
    "operations",
    [
        pytest.param(3_000, id="79-swap-3000"),
        pytest.param(100_000, id="79-swap-100000", marks=[pytest.mark.slow, pytest.mark.timeout(900)]),
    ],
)
def test_a_racing_swapper_of_links_wins_nothing(
    host: EngineThread, box: Sandbox, tmp_path: Path, operations: int
) -> None:
    canary = tmp_path / "canary"
    host.shell(box, "printf 'import time\\n' > x")
    swapper = asyncio.run_coroutine_threadsafe(
        box.exec(background(SWAPPER.format(canary=str(canary)))), host._loop
    )
    seen: set[bytes] = set()

    async def work() -> int:
        files, done = box.files, 0
        while done < operations:
            reads = await asyncio.gather(*(outcome(files.read("real/spot")) for _ in range(4)))
            seen.update(found for found in reads if isinstance(found, bytes))
            await asyncio.gather(
                outcome(files.info("real/spot")),
                outcome(files.list("real")),
                outcome(files.write("real/spot", b"written")),
                outcome(files.set_permissions("real/spot", 0o600)),
                outcome(files.move("real/spot", "real/other")),
                outcome(files.delete("real/other")),
            )
            done += 10
        return done

    try:
        assert host.run(work(), 850) >= operations
    finally:
        swapper.cancel()
    assert not any(SECRET in found for found in seen)
    assert seen <= {b"inside", b"written", b""} | {found for found in seen if b"inside".startswith(found)}
    assert b"inside" in seen, "the swapper left the file alone"
    assert canary.read_bytes() == SECRET
    assert host.shell(box, "echo works").stdout == b"works\n"


def test_control_a_host_that_resolves_the_path_itself_loses_the_race(tmp_path: Path) -> None:
    place, stop = tmp_path / "real", threading.Event()
    place.write_text("inside")

    def swap() -> None:
        while not stop.is_set():
            with contextlib.suppress(OSError):
                os.symlink(tmp_path / "canary", tmp_path / "new")
                os.rename(tmp_path / "new", place)
            (tmp_path / "other").write_text("inside")
            os.rename(tmp_path / "other", place)

    thread = threading.Thread(target=swap)
    thread.start()
    read = set()
    deadline = time.monotonic() + 20
    while SECRET not in read and time.monotonic() < deadline:
        if not place.is_symlink():  # checked, and then used: too late
            read.add(place.read_bytes())
    stop.set()
    thread.join()
    assert SECRET in read


SPECIAL = """
import os, socket
os.mkfifo("fifo")
sock = socket.socket(socket.AF_UNIX); sock.bind("socket")
os.mkdir("directory")
os.symlink("fifo", "link-to-fifo"); os.symlink("loop", "loop")
"""
SPECIALS = [
    "fifo",
    "socket",
    "directory",
    "link-to-fifo",
    "loop",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/tty",
    "/dev/ptmx",
    "/dev/stdin",
    "/dev/fd/0",
    "/proc/self/mem",
    "/proc/self/environ",
    "/proc/1/maps",
    "/proc/kmsg",
    "/proc/self/pagemap",
    "/proc/self/attr/current",
]


@pytest.mark.parametrize("path", [pytest.param(path, id=f"80-{path.strip('/')}") for path in SPECIALS])
def test_what_is_no_file_is_refused_at_once(host: EngineThread, box: Sandbox, path: str) -> None:
    assert host.python(box, SPECIAL).exit_code == 0
    started = time.monotonic()
    assert isinstance(host.run(outcome(box.files.read(path))), TidepoolError)
    assert isinstance(host.run(outcome(box.files.write(path, b"x"))), TidepoolError)
    host.run(outcome(box.files.set_permissions(path, owner="nobody")))
    host.run(outcome(box.files.move(path, "/dev/shm/x")))
    assert time.monotonic() - started < PROMPT_S
    left = host.shell(box, "test -f /dev/shm/x -a ! -L /dev/shm/x -a -s /dev/shm/x; echo $?").stdout
    assert left == b"1\n", "what is no file was copied"


@pytest.mark.parametrize("kind", ["mkfifo /etc/{0}", "ln -s /dev/zero /etc/{0}", "mkdir /etc/{0}"])
def test_tables_of_names_that_are_no_files_keep_nobody(
    host: EngineThread, make_box: Callable[..., Sandbox], kind: str
) -> None:
    """[80-passwd] Root inside replaces what names are looked up in."""
    box = make_box(user="root")
    assert (
        host.shell(
            box, "; ".join(("rm -f /etc/{0}; " + kind).format(x) for x in ("passwd", "group"))
        ).exit_code
        == 0
    )
    host.run(box.files.write("file", b"x"))
    started = time.monotonic()
    assert isinstance(host.run(outcome(box.files.set_permissions("file", owner="daytona"))), Refused)
    assert time.monotonic() - started < PROMPT_S
    assert host.run(box.files.read("file")) == b"x"


def test_hard_links_out_of_the_sandbox_s_own_disk_are_refused(host: EngineThread, box: Sandbox) -> None:
    """[81-hard-link] To a file of the shared image it is a copy of one's own; elsewhere it crosses a mount."""
    code = """
import os
for path in ("/usr/bin/env", "/usr/local/bin/python3", "/etc/passwd", "/proc/1/status", "/dev/null"):
    try:
        os.link(path, "linked")
        print("linked", path)
    except OSError as error:
        print(error.errno)
"""
    said = host.python(box, code).stdout.decode().split("\n")[:-1]
    assert said == [str(errno.EXDEV)] * 2 + [said[2]] + [str(errno.EXDEV)] * 2
    assert said[2] in (str(errno.EPERM), str(errno.EXDEV), "linked /etc/passwd")
    assert host.shell(box, "echo evil >> linked").exit_code != 0 or said[2] != "linked /etc/passwd"


CHANGING = """
import os, time
fd = os.open("changing", os.O_RDWR | os.O_CREAT)
while True:
    os.ftruncate(fd, 0); os.pwrite(fd, b"x" * 600_000, 0); os.ftruncate(fd, 2_000_000)
"""


def test_a_file_that_changes_while_it_is_read_is_whole_or_an_error(host: EngineThread, box: Sandbox) -> None:
    """[82-changing]"""
    swapper = asyncio.run_coroutine_threadsafe(box.exec(background(CHANGING)), host._loop)
    lengths: set[int] = set()

    async def work() -> None:
        for _ in range(150):
            with contextlib.suppress(Refused, SandboxLost):
                async with box.files.open_read("changing") as download:
                    got = 0
                    async for chunk in download.chunks():
                        got += len(chunk)
                    assert got == download.size
                    lengths.add(got)

    try:
        host.run(work())
    finally:
        swapper.cancel()
    assert lengths <= {0, 600_000, 2_000_000} | {length for length in lengths if length <= 600_000}


HOOKS = """
mkdir repo && cd repo && git init -q . && echo a > a
printf '#!/bin/sh\\necho "$PPID" > {marker}\\n' > /tmp/run && chmod +x /tmp/run
git config core.fsmonitor /tmp/run; git config core.pager /tmp/run; git config diff.external /tmp/run
git config filter.x.clean /tmp/run; git config core.sshCommand /tmp/run; git config credential.helper /tmp/run
echo '* filter=x' > .gitattributes
for hook in pre-commit post-checkout post-commit reference-transaction; do cp /tmp/run .git/hooks/$hook; done
printf 'open("{marker}", "w").write("py")' > sitecustomize.py; cp sitecustomize.py conftest.py
"""


def test_hooks_and_helpers_of_a_repository_run_inside_only(server: Server) -> None:
    """[87-hooks]"""
    marker = f"/tmp/tidepool-hook-{os.urandom(8).hex()}"
    api = Api(server.url, server.key)
    made = api.call("POST", "/sandbox", {"networkBlockAll": True}).json["id"]
    toolbox = api.at(f"/toolbox/{made}")
    prepared = toolbox.call("POST", "/process/execute", {"command": f"sh -c '{HOOKS.format(marker=marker)}'"})
    script = HOOKS.format(marker=marker).encode()
    assert toolbox.upload("/files/upload", ("file", "x", script), path="prepare").status < 300
    prepared = toolbox.call("POST", "/process/execute", {"command": "sh prepare"})
    assert prepared.json["exitCode"] == 0, prepared.body
    for method, path, body in (
        ("GET", "/git/status", None),
        ("GET", "/git/branches", None),
        ("GET", "/git/history", None),
        ("POST", "/git/add", {"path": "repo", "files": ["."]}),
        ("POST", "/git/commit", {"path": "repo", "message": "m", "author": "a", "email": "a@b"}),
    ):
        answer = toolbox.call(method, path, body) if body else toolbox.call(method, path, path="repo")
        assert answer.status < 500, answer.body
    inside = toolbox.call("POST", "/process/execute", {"command": f"cat {marker}"})
    assert inside.json["exitCode"] == 0, "control: they do run, where they belong"
    assert not os.path.exists(marker)
    api.call("DELETE", f"/sandbox/{made}")
    api.close()


def test_a_poisoned_layer_reaches_only_who_asked_and_cannot_be_changed(
    host: EngineThread, box: Sandbox
) -> None:
    """[88-layer]"""
    code = """
import os, poison
place = poison.__file__
for attempt in (lambda: open(place, "a").close(), lambda: os.unlink(place),
                lambda: os.rename(os.path.dirname(place), "/tmp/x"), lambda: os.chmod(place, 0o777),
                lambda: open(os.path.dirname(place) + "/sitecustomize.py", "w")):
    try:
        attempt()
        print("done")
    except OSError as error:
        print(error.strerror)
"""
    with hostile.init(host, "poison", "X = 1") as sandbox:
        layer = host.state_dir / "layers" / "poison"
        before = {path: path.stat().st_mtime_ns for path in layer.rglob("*")}
        assert b"done" not in host.python(sandbox, code).stdout
        assert host.python(sandbox, "import poison; print(poison.X)").stdout == b"1\n"
        assert {path: path.stat().st_mtime_ns for path in layer.rglob("*")} == before
        assert b"ModuleNotFoundError" in host.python(box, "import poison").stderr
