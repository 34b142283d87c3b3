"""How the tests here run one program both ways: forked from a preloaded parent, and by the real interpreter."""

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tidepool.engine.guest
from tidepool.engine.guest import frames

GUEST = Path(tidepool.engine.guest.__file__).parent
_START = """\
import sys
sys.path.insert(0, {root!r})
from tidepool.engine.guest import imports
imports.RECORD.begin()
from tidepool.engine.guest import stage
from tidepool.engine.parent import main
{call}
"""
_CALLS = {True: "stage.enter(lambda: main({control}))", False: "main({control})"}


def plain_environment(home: Path) -> dict[str, str]:
    """Like a sandbox's: few variables, none of which rules the interpreter but the language."""
    return {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8", "USER": "daytona"}


@dataclass(frozen=True)
class Ended:
    """How a run ended; `status` is the exit code, or minus the signal."""

    status: int
    stdout: bytes
    stderr: bytes
    report: bytes = b""


def lay_out(root: Path) -> None:
    """The guest's modules where nothing else of ours stands, as in a sandbox."""
    engine = root / "tidepool" / "engine"
    engine.mkdir(parents=True)
    for package in (engine.parent, engine):
        (package / "__init__.py").touch()  # so that an installed tidepool does not win
    (engine / "guest").symlink_to(GUEST)
    shutil.copy(Path(__file__).with_name("parent.py"), engine / "parent.py")


class Parent:
    """A preloaded interpreter that forks runs."""

    def __init__(
        self,
        place: Path,
        modules: Sequence[str] = (),
        pytest: bool = False,
        python: str = sys.executable,
        environment: Mapping[str, str] | None = None,
        stage: bool = True,
    ) -> None:
        root = place / "root"
        if not root.exists():
            lay_out(root)
        self.environment = dict(environment or plain_environment(place))
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control = ours
        call = _CALLS[stage].format(control=theirs.fileno())
        start = _START.format(root=str(root), call=call)
        self.python = python
        self.root = root
        self._process = subprocess.Popen(
            [python, "-u", "-"],
            stdin=subprocess.PIPE,
            pass_fds=[theirs.fileno()],
            env=self.environment,
            cwd="/",
        )
        assert self._process.stdin is not None
        self._process.stdin.write(start.encode())
        self._process.stdin.close()
        theirs.close()
        self.preloaded = self._ask({"modules": list(modules), "pytest": pytest})

    def _ask(self, message: dict[str, Any], fds: tuple[int, ...] = ()) -> dict[str, Any]:
        frames.send(self._control, message, fds)
        answer = frames.receive(self._control)
        assert answer is not None, "the preloaded parent has died"
        return answer[0]

    def why_not_fork(self, env: Mapping[str, str], cwd: Path, uid: int = 1000) -> str:
        """What the preloaded interpreter answers."""
        return str(self._ask({"kind": "why_not_fork", "env": dict(env), "cwd": str(cwd), "uid": uid})["why"])

    def run(self, message: dict[str, Any], cwd: Path, env: Mapping[str, str], stdin: bytes = b"") -> Ended:
        """Fork one run and wait for it and for the end of its output."""
        pipes = [os.pipe() for _ in range(4 if message["kind"] == "tests" else 3)]
        os.write(pipes[0][1], stdin)
        os.close(pipes[0][1])
        fds = (pipes[0][0], *(write for _, write in pipes[1:]))
        with ThreadPoolExecutor(3) as readers:
            texts = [readers.submit(_read_all, read) for read, _ in pipes[1:]]
            answer = self._ask(message | {"cwd": str(cwd), "env": dict(env)}, fds)
            frames.close_all(list(fds))
            return Ended(int(answer["status"]), *(text.result() for text in texts))

    def run_source(
        self,
        source: bytes,
        cwd: Path,
        env: Mapping[str, str],
        argv: Sequence[str] = ("-",),
        stdin: bytes = b"",
    ) -> Ended:
        """A program text from nowhere, or the script `argv[0]`."""
        filename = "<stdin>" if argv[0] == "-" else argv[0]
        text = source.decode("utf-8", "surrogateescape")
        message = {"kind": "source", "source": text, "argv": list(argv), "filename": filename}
        return self.run(message, cwd, env, stdin)

    def run_tests(self, paths: Sequence[str], cwd: Path, env: Mapping[str, str]) -> Ended:
        """One pytest run."""
        return self.run({"kind": "tests", "paths": list(paths)}, cwd, env)

    def close(self) -> None:
        """End the parent; it must have nothing to complain about."""
        self._control.close()
        assert self._process.wait(10) == 0


def _read_all(fd: int) -> bytes:
    with os.fdopen(fd, "rb") as file:
        return file.read()


def execute(
    source: bytes,
    cwd: Path,
    env: Mapping[str, str],
    argv: Sequence[str] = ("-",),
    python: str = sys.executable,
) -> Ended:
    """The same run by the real interpreter: `python -u - argv…` or `python -u script argv…`."""
    done = subprocess.run(
        [python, "-u", *argv],
        input=source if argv[0] == "-" else b"",
        capture_output=True,
        cwd=cwd,
        env=dict(env),
        timeout=60,
        start_new_session=True,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def both_ways(
    parent: Parent,
    work: Path,
    source: str,
    argv: tuple[str, ...] = ("-",),
    env: Mapping[str, str] | None = None,
) -> tuple[tuple[object, ...], tuple[object, ...]]:
    """What a program shows and leaves behind when forked, and when executed, in the same empty directory."""
    data = source.encode("utf-8", "surrogateescape")
    env = env or parent.environment
    ends = []
    for fork in (True, False):
        shutil.rmtree(work)
        work.mkdir()
        if argv[0] != "-":
            (work / argv[0]).write_bytes(data)
            (work / "sibling.py").write_text("X = __file__\n")
        run = (
            parent.run_source(data, work, env, argv)
            if fork
            else execute(data, work, env, argv, parent.python)
        )
        ends.append((run.status, plain(run.stdout), plain(run.stderr), _left(work)))
    return ends[0], ends[1]


def plain(data: bytes) -> str:
    """Output without what differs between two runs of the same interpreter."""
    text = re.sub(r"\b0x[0-9a-f]{4,}", "0x", data.decode("utf-8", "backslashreplace"))
    text = re.sub(r"(MainThread|ForkPoolWorker|Thread-\d+)(, started) \d+", r"\1\2", text)
    text = re.sub(r"\(pid=\d+\)", "(pid)", text)
    text = re.sub(r"\bin \d+\.\d+s\b", "in 0.0s", text)
    # 3.11 counts a few of our calls into the limit; see run.DIFFERENCES.
    return re.sub(r"repeated 9\d\d more times", "repeated 9xx more times", text)


def _left(work: Path) -> dict[str, bytes]:
    found = (path for path in work.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {str(path.relative_to(work)): path.read_bytes() for path in found}
