"""The worker of an interpreter context: what a program in it can do, and what must not disturb the conversation."""

import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.engine.guest.conftest import PYTHONS
from tidepool.toolbox import worker as program


@pytest.fixture(scope="module", params=PYTHONS)
def python(request: pytest.FixtureRequest) -> str:
    """The interpreter under test."""
    return str(request.param)


class Conversation:
    """A worker as its host sees it: requests in, answers out, what programs write apart from both."""

    def __init__(self, python: str) -> None:
        here, there = os.pipe()
        command = [python, "-u", "-c", _WITH_ANSWERS.format(there=there, file=program.__file__)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, pass_fds=(there,))
        os.close(there)
        self._answers = os.fdopen(here, "rb")
        self._requests = 0

    def ask(self, operation: str, **more: Any) -> dict[str, Any]:
        """Send a request and read the next answer, which must be its own."""
        self._requests += 1
        request = {"id": self._requests, "op": operation, **more}
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._answers.readline())
        assert answer.pop("id") == self._requests
        return answer

    def run(self, code: str, **envs: str) -> dict[str, Any] | None:
        """Run a cell; its error."""
        error: dict[str, Any] | None = self.ask("run", code=code, envs=envs)["error"]
        return error

    def end(self) -> tuple[str, str]:
        """Close; what was written to stdout and stderr in all."""
        out, err = self.process.communicate(timeout=20)
        self._answers.close()
        return out.decode(), err.decode()


_WITH_ANSWERS = """
import os, runpy, sys
if {there} != 4:
    os.dup2({there}, 4, inheritable=True)
    os.close({there})
runpy.run_path({file!r}, run_name="__main__")
"""


@pytest.fixture
def worker(python: str) -> Iterator[Conversation]:
    """A fresh worker."""
    found = Conversation(python)
    yield found
    found.process.kill()
    if not found._answers.closed:
        found.end()


def test_names_stay_and_a_last_expression_is_displayed(worker: Conversation) -> None:
    assert worker.run("x = 20\nx + 1") is None
    assert worker.run("print(x, __name__)\nNone") is None
    assert worker.end() == ("21\n20 __main__\n", "")


def test_output_of_other_programs_arrives_in_order(worker: Conversation) -> None:
    worker.run("import os\nprint('a')\nos.system('echo b; echo c >&2')\nprint('d', end='')")
    worker.run("print('e')")
    assert worker.end() == ("a\nb\nde\n", "c\n")


def test_an_error_is_told_with_its_source_and_without_our_frames(worker: Conversation) -> None:
    worker.run("def f(n):\n    return 1 / n")
    error = worker.run("f(0)")
    assert error is not None
    assert (error["name"], error["value"]) == ("ZeroDivisionError", "division by zero")
    assert "return 1 / n" in error["traceback"]
    assert "worker.py" not in error["traceback"]
    assert error["traceback"].startswith('Traceback (most recent call last):\n  File "<cell 2>", line 1')


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("def f(:", "SyntaxError"),
        ("raise SystemExit(3)", "SystemExit"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("input()", "EOFError"),
        ("class E(Exception):\n    def __str__(self): 1 / 0\nraise E", "E"),
        ("raise ValueError('\\ud800' * 200000)", "ValueError"),
    ],
)
def test_whatever_ends_a_cell_is_an_answer(worker: Conversation, code: str, name: str) -> None:
    error = worker.run(code)
    assert error is not None
    assert error["name"] == name
    assert len(error["value"]) <= 6 * (64 << 10)
    assert worker.run("1") is None


def test_what_a_program_prints_or_sends_to_its_children_is_no_answer(worker: Conversation) -> None:
    forged = '{"id": 1, "error": null}'
    code = f"import subprocess\nprint('{forged}')\nx = subprocess.run(['sh', '-c', 'echo x >&4'], close_fds=False)"
    assert worker.run(code) is None
    out, err = worker.end()
    assert out == forged + "\n"
    assert "4" in err  # the child has no such descriptor


def test_a_fork_that_runs_on_does_not_answer_too(worker: Conversation) -> None:
    worker.run("import os\nchild = os.fork()")
    assert worker.run("import os\nif child: os.waitpid(child, 0)") is None


def test_variables_of_a_call_are_gone_after_it(worker: Conversation) -> None:
    worker.run("import os\nprint(os.environ['A'], os.environ['HOME'])", A="1", HOME="/x")
    worker.run("print(os.environ.get('A'), os.environ['HOME'] != '/x')")
    assert worker.end()[0] == "1 /x\nNone True\n"


def test_an_interrupt_ends_the_cell_and_only_it(worker: Conversation) -> None:
    worker.run("import signal\nx = 1\nsignal.signal(signal.SIGINT, signal.SIG_IGN)")
    threading.Timer(0.2, worker.process.send_signal, (signal.SIGINT,)).start()
    error = worker.run("while True: pass")
    assert error is not None
    assert error["name"] == "KeyboardInterrupt"
    worker.process.send_signal(signal.SIGINT)  # nothing runs: nothing is interrupted
    assert worker.run("print(x)") is None


def test_a_cell_may_await(worker: Conversation) -> None:
    worker.run("import asyncio\nx = await asyncio.sleep(0, 5)\nx + await asyncio.sleep(0, 1)")
    assert worker.end()[0] == "6\n"


def test_names_move_to_another_worker(worker: Conversation, python: str) -> None:
    worker.run("import json as j\nclass C:\n    def get(self): return super().__repr__() and self.x\nc = C()")
    worker.run(
        "c.x = [1, 2]\ndef f(a, b=c): return j.dumps((a, b.x))\nl = lambda: 0\nfile = open('/dev/null')"
    )
    dumped = worker.ask("dump")
    assert sorted(dumped["lost"]) == ["file", "l"]
    other = Conversation(python)
    assert other.ask("load", state=dumped["state"])["lost"] == []
    other.run("print(f(0), c.get())")
    assert other.end() == ("[0, [1, 2]] [1, 2]\n", "")


def test_what_cannot_be_taken_over_is_named(worker: Conversation, python: str) -> None:
    worker.run("import sys\nsys.modules['m'] = type(sys)('m')\nimport m\nx = 1")
    state = worker.ask("dump")["state"]
    other = Conversation(python)
    assert other.ask("load", state=state)["lost"] == ["m"]
    assert other.run("x") is None
    other.end()
