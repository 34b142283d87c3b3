"""What people run goes on working behind all walls: capabilities dropped, Landlock, seccomp."""

import shutil
import sys
from pathlib import Path

import pytest

from tests.engine.kernel import confined

pytestmark = [pytest.mark.thorough, pytest.mark.needs("seccomp", "landlock")]

PYTHON = {
    "asyncio": """
import asyncio
async def main():
    server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    assert await reader.read() == b""
    process = await asyncio.create_subprocess_exec("echo", "done", stdout=-1)
    assert (await process.communicate())[0] == b"done\\n"
    writer.close(); server.close()
asyncio.run(main())
""",
    "threads": """
import threading, queue, signal, time
found = queue.Queue()
for number in range(20):
    threading.Thread(target=found.put, args=(number,)).start()
assert sorted(found.get() for _ in range(20)) == list(range(20))
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
signal.setitimer(signal.ITIMER_REAL, 0.01)
signal.sigwait([signal.SIGALRM])
""",
    "subprocess": """
import subprocess
assert subprocess.run("echo $((6*7)) | cat", shell=True, capture_output=True).stdout == b"42\\n"
process = subprocess.Popen(["sleep", "60"])
process.terminate()
assert process.wait() == -15
""",
    "sqlite3": """
import sqlite3
with sqlite3.connect("a.db") as db:
    db.execute("pragma journal_mode=wal")
    db.execute("create table t (a)")
    db.executemany("insert into t values (?)", ((n,) for n in range(100)))
    assert db.execute("select sum(a) from t").fetchone() == (4950,)
""",
    "files": """
import fcntl, mmap, os, shutil, tempfile
with tempfile.TemporaryDirectory() as place:
    path = os.path.join(place, "a")
    with open(path, "w+b") as file:
        file.truncate(8192)
        fcntl.flock(file, fcntl.LOCK_EX)
        fcntl.lockf(file, fcntl.LOCK_EX)
        mmap.mmap(file.fileno(), 8192)[0:1] = b"x"
    os.setxattr(path, "user.a", b"b")
    shutil.copy2(path, "copy"); os.rename("copy", "moved"); os.link("moved", "linked"); os.symlink("moved", "soft")
    os.chmod("moved", 0o600); os.utime("moved"); os.mkfifo("pipe")
    a = os.open(path, os.O_RDONLY)
    assert os.sendfile(os.open("sent", os.O_CREAT | os.O_WRONLY), a, 0, 10) == 10
    assert os.copy_file_range(a, os.open("ranged", os.O_CREAT | os.O_WRONLY), 10) == 10
    os.sync(); os.fdatasync(os.open("moved", os.O_RDWR)); os.posix_fadvise(a, 0, 0, os.POSIX_FADV_DONTNEED)
""",
    "descriptors": """
import os, select, signal, socket
poller = select.epoll(); read, write = os.pipe2(os.O_NONBLOCK); poller.register(read, select.EPOLLIN)
os.write(write, b"x"); assert poller.poll(1)
if hasattr(os, "eventfd"): os.eventfd_write(os.eventfd(1), 1)
memory = os.memfd_create("m"); os.write(memory, b"1")
a, b = socket.socketpair(); socket.send_fds(a, [b"x"], [memory]); assert len(socket.recv_fds(b, 1, 1)[1]) == 1
os.kill(os.getpid(), 0); signal.pidfd_send_signal(os.pidfd_open(os.getpid()), 0)
s = socket.socket(socket.AF_UNIX); s.bind("sock")
s = socket.socket(socket.AF_UNIX); s.bind("\\0name"); s.listen(); socket.socket(socket.AF_UNIX).connect("\\0name")
os.sched_setaffinity(0, os.sched_getaffinity(0)); os.nice(1); os.getrandom(8); os.getloadavg()
master, slave = os.openpty(); assert os.isatty(slave); os.ttyname(slave); open("/dev/null", "w").write("x")
assert socket.if_nameindex()
""",
}
MULTIPROCESSING = """
import multiprocessing, sys
from multiprocessing import shared_memory
def double(n): return 2 * n
if __name__ == "__main__":
    for method in ("fork", "spawn", "forkserver"):
        with multiprocessing.get_context(method).Pool(2) as pool:
            assert pool.map(double, range(10)) == list(range(0, 20, 2))
    lock = multiprocessing.Lock()
    with lock:
        memory = shared_memory.SharedMemory(create=True, size=100)
        memory.buf[0] = 1
        memory.close()
        memory.unlink()
"""
IPC = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
memory = libc.shmget(0, 4096, 0o1600); assert memory >= 0
assert libc.shmctl(memory, 0, None) == 0
semaphore = libc.semget(0, 1, 0o1600); assert semaphore >= 0
assert libc.semctl(semaphore, 0, 0) == 0
queue = libc.msgget(0, 0o1600); assert queue >= 0
assert libc.msgctl(queue, 0, None) == 0
"""
GIT = """
set -e
git init -q repository && cd repository
git config user.email a@example.org && git config user.name a
echo one > file && git add file && git commit -qm one && git checkout -qb other && git gc -q
git clone -q . ../clone && test "$(cat ../clone/file)" = one
"""
SHELL = {
    "tar": "mkdir d && seq 1000 > d/a && ln -s a d/b && tar czf d.tgz d && rm -r d && tar xzf d.tgz && wc -l < d/b",
    "sort": "seq 200000 | sort -rn --parallel=2 -S 1M | tail -1",
    "git": GIT,
    "find": "find /usr/bin -maxdepth 1 -name 'ls' | xargs ls -l && df . && ps",
    "redirections": "echo a > /dev/stdout; echo b > /dev/stderr; echo c > /dev/null; (sleep 60 & kill $!; wait)",
}


def ran(argv: list[str], cwd: Path) -> str:
    """Its output, when it succeeded."""
    run = confined.program(argv, cwd)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


@pytest.mark.parametrize("name", PYTHON)
def test_python(name: str, tmp_path: Path) -> None:
    ran([sys.executable, "-c", PYTHON[name]], tmp_path)


def test_python_multiprocessing(tmp_path: Path) -> None:
    (tmp_path / "many.py").write_text(MULTIPROCESSING)
    ran([sys.executable, "many.py"], tmp_path)


def test_sysv_ipc(tmp_path: Path) -> None:
    ran([sys.executable, "-c", IPC], tmp_path)


def test_pytest_itself(tmp_path: Path) -> None:
    (tmp_path / "test_a.py").write_text("def test_a(tmp_path, capfd): (tmp_path / 'a').write_text('b')")
    assert "1 passed" in ran(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "test_a.py"], tmp_path
    )


@pytest.mark.parametrize("name", SHELL)
def test_shell(name: str, tmp_path: Path) -> None:
    if name == "git" and shutil.which("git") is None:
        pytest.skip("git is not installed")
    ran(["sh", "-c", SHELL[name]], tmp_path)


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_node(tmp_path: Path) -> None:
    code = """
const { Worker } = require("worker_threads"), fs = require("fs"), child = require("child_process");
fs.writeFileSync("a", "b"); fs.watch(".").close();
const server = require("net").createServer(s => s.end("hi")).listen(0, "127.0.0.1", () => {
  require("net").connect(server.address().port).on("data", d => {
    console.log(String(d) + child.execSync("echo done")); server.close();
    new Worker("require('worker_threads').parentPort.postMessage(1)", { eval: true }).on("message", console.log);
  });
});
"""
    assert ran(["node", "-e", code], tmp_path).split() == ["hidone", "1"]


@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")
def test_gcc(tmp_path: Path) -> None:
    (tmp_path / "a.c").write_text('#include <stdio.h>\nint main() { puts("hello"); return 0; }\n')
    assert ran(["sh", "-c", "gcc -O2 -o a a.c && ./a"], tmp_path) == "hello\n"
