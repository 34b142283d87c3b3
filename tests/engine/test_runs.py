"""Runs in a real sandbox: what basis they have, and that a program cannot tell."""

from collections.abc import Iterator

import pytest

from tests.security.conftest import EngineThread, own_engine
from tidepool.engine import CodeRun, Command, Sandbox, TestRun, Verdict

pytestmark = pytest.mark.needs("user_namespace", "overlayfs", "idmapped_mounts")


@pytest.fixture(scope="module")
def host() -> Iterator[EngineThread]:
    """An engine of this module's own."""
    with own_engine("tidepool-runs-") as thread:
        yield thread


@pytest.fixture(scope="module")
def box(host: EngineThread) -> Sandbox:
    """One sandbox for all of them; it ends with the engine."""
    return host.sandbox()


def test_a_python_text_is_forked_and_has_no_frame_of_ours_below_it(host: EngineThread, box: Sandbox) -> None:
    result = host.run(box.run_code(CodeRun("import traceback; traceback.print_stack()")))
    assert result.basis == "fork"
    assert result.stderr == b'  File "<stdin>", line 1, in <module>\n'


@pytest.mark.parametrize(("env", "basis"), [({}, "fork"), ({"PYTHONFOO": "1"}, "exec")])
def test_input_reaches_the_program_on_both_paths(
    host: EngineThread, box: Sandbox, env: dict[str, str], basis: str
) -> None:
    run = CodeRun("import sys; print(sys.stdin.read())", stdin=b"given", env=env)
    result = host.run(box.run_code(run))
    assert (result.basis, result.stdout) == (basis, b"given\n")


@pytest.mark.parametrize("path", ["m.py", "./m.py"])
def test_a_script_is_what_python_makes_of_it(host: EngineThread, box: Sandbox, path: str) -> None:
    host.run(box.files.write("m.py", b"import sys\nprint(sys.argv, __name__)\nsys.exit(4)\n"))
    forked = host.run(box.exec(Command(argv=("python", path, "a"))))
    executed = host.run(box.exec(Command(shell=f"python {path} a")))
    assert (forked.basis, executed.basis) == ("fork", "exec")
    assert (forked.exit_code, forked.output) == (executed.exit_code, executed.output)
    assert forked.exit_code == 4


def test_a_program_that_is_not_there_was_not_started(host: EngineThread, box: Sandbox) -> None:
    result = host.run(box.exec(Command(argv=("no-such-program",))))
    assert (result.verdict, result.exit_code) == (Verdict.NOT_STARTED, 127)
    shell = host.run(box.exec(Command(shell="no-such-program")))
    assert (shell.verdict, shell.exit_code) == (Verdict.EXITED, 127)


def test_a_stream_that_is_closed_kills_its_run(host: EngineThread, box: Sandbox) -> None:
    async def first_chunk() -> object:
        stream = box.stream(Command(shell="echo begun; sleep 300"))
        async for item in stream:
            await stream.aclose()  # type: ignore[attr-defined]
            return item
        return None

    assert host.run(first_chunk()) == ("stdout", b"begun\n")
    left = host.run(box.exec(Command(shell="ps -eo args | grep '[s]leep 300' | wc -l")))
    assert left.stdout == b"0\n"


@pytest.mark.thorough
def test_no_tests_is_no_success(host: EngineThread) -> None:
    sandbox = host.sandbox(dependencies=("pytest",))
    host.run(sandbox.files.write("test_none.py", b"x = 1\n"))
    report = host.run(sandbox.run_tests(TestRun(paths=("test_none.py",))))
    assert (report.success, report.reason) == (False, "no tests found")
    host.run(sandbox.files.write("test_exit.py", b"import os\ndef test_a():\n    os._exit(0)\n"))
    report = host.run(sandbox.run_tests(TestRun(paths=("test_exit.py",))))
    assert not report.success
    assert not report.complete
