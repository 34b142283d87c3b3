"""Python texts and programs in processes of their own, behind the walls or, as a control, without them."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

PRELUDE = """
import ctypes, errno, json, os, signal, socket, sys
from tidepool.engine.guest import confine, syscalls
from tidepool.engine.kernel import caps, probe, seccomp
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
NUMBERS = seccomp.numbers(os.uname().machine)

def call(name, *args):
    ctypes.set_errno(0)
    raw = [ctypes.c_long(one) if isinstance(one, int) else one for one in args]
    result = libc.syscall(ctypes.c_long(NUMBERS[name]), *raw)
    return errno.errorcode[ctypes.get_errno()] if result < 0 else "ok"

def filter_calls():
    confine.install_seccomp(seccomp.compile(os.uname().machine))

def in_child(attempt):
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writing, str(attempt()).encode())
        os._exit(0)
    os.close(writing)
    said = os.read(reading, 4096).decode()
    os.close(reading)
    status = os.waitpid(pid, 0)[1]
    return said or "killed by " + signal.Signals(os.WTERMSIG(status)).name
"""
WALLS = """
confine.drop_capabilities(caps.ROOT_INSIDE)
confine.restrict_landlock()
filter_calls()
"""


def python(code: str, *argv: str) -> Any:
    """Run a text after the prelude; its last line of output is JSON and is returned."""
    run = subprocess.run(
        [sys.executable, "-c", PRELUDE + code, *argv],
        capture_output=True,
        text=True,
        timeout=50,
        start_new_session=True,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


def program(argv: list[str], cwd: Path) -> "subprocess.CompletedProcess[str]":
    """Run a program behind all three walls."""
    start = PRELUDE + WALLS + "os.execvp(sys.argv[1], sys.argv[1:])"
    return subprocess.run(
        [sys.executable, "-c", start, *argv],
        capture_output=True,
        text=True,
        timeout=50,
        cwd=cwd,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(cwd), "LANG": "C.UTF-8"},
    )
