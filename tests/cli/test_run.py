"""`tidepool run` and `exec` as a user meets them: real server, real sandboxes, real signals."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from daytona_sdk import CreateSandboxFromSnapshotParams, Daytona, DaytonaConfig, DaytonaError, Sandbox
from tests.conftest import Server, StateDirs
from tests.sdk.conftest import LocalPlace

pytestmark = pytest.mark.needs("user_namespace", "overlayfs")
TIDEPOOL = (sys.executable, "-m", "tidepool.cli")


@pytest.fixture(scope="module")
def daytona(server: Server) -> Iterator[Daytona]:
    """A client of the session's server."""
    with Daytona(DaytonaConfig(api_url=server.url, api_key=server.key)) as client:
        yield client


@pytest.fixture
def box(daytona: Daytona) -> Iterator[Sandbox]:
    """A sandbox that was not made by the command line."""
    with daytona.create(CreateSandboxFromSnapshotParams(network="none")) as sandbox:
        yield sandbox


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """Where a test writes its program."""
    return tmp_path / "program.py"


def tidepool(
    server: Server, *arguments: str | Path, stdin: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """Run the command line to its end."""
    return subprocess.run(
        [*TIDEPOOL, *arguments], input=stdin, capture_output=True, timeout=50, env=server.environment
    )


@contextlib.contextmanager
def started(server: Server, *arguments: str | Path) -> Iterator[subprocess.Popen[bytes]]:
    """The command line, running; killed at the end of the block if it still does."""
    with subprocess.Popen(
        [*TIDEPOOL, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=server.environment,
    ) as running:
        try:
            yield running
        finally:
            running.kill()


def test_output_arguments_and_exit_code_pass_through(server: Server, daytona: Daytona, program: Path) -> None:
    program.write_text("import sys\nprint(sys.argv)\nprint('oops', file=sys.stderr)\nsys.exit(3)\n")
    result = tidepool(server, "run", program, "one", "--", "--two")
    assert result.returncode == 3
    assert result.stdout == b"['program.py', 'one', '--two']\n"
    assert result.stderr == b"oops\n"
    assert daytona.list() == []


def test_stdin_passes_through(server: Server, program: Path) -> None:
    program.write_text("import sys\nsys.stdout.buffer.write(sys.stdin.buffer.read()[::-1])\n")
    assert tidepool(server, "run", program, stdin=b"\x00abc\xff").stdout == b"\xffcba\x00"


def test_a_program_can_come_from_stdin(server: Server) -> None:
    result = tidepool(server, "run", "-", "x", stdin=b"import sys; print(sys.argv[1:])")
    assert (result.returncode, result.stdout) == (0, b"['x']\n")


def test_a_traceback_is_the_programs_own(server: Server, program: Path) -> None:
    program.write_text("def f():\n    return 1 / 0\n\n\nf()\n")
    result = tidepool(server, "run", program)
    assert result.returncode == 1
    assert b'File "program.py", line 5, in <module>' in result.stderr.replace(b"/home/daytona/", b"")
    assert result.stderr.rstrip().endswith(b"ZeroDivisionError: division by zero")
    assert b"tidepool" not in result.stderr


def test_files_lie_beside_the_program(server: Server, program: Path) -> None:
    (program.parent / "table.csv").write_text("a,b\n")
    program.write_text("print(open('table.csv').read(), end='')\n")
    result = tidepool(server, "run", program, "--file", program.parent / "table.csv")
    assert (result.returncode, result.stdout) == (0, b"a,b\n")


def test_javascript_runs_by_its_suffix(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.js").write_text("console.log(process.argv.slice(2).join('+'))\n")
    result = tidepool(server, "run", tmp_path / "a.js", "1", "2")
    assert (result.returncode, result.stdout) == (0, b"1+2\n")


def test_output_comes_while_the_program_runs(server: Server, program: Path) -> None:
    program.write_text("import time\nprint('first', flush=True)\ntime.sleep(30)\n")
    with started(server, "run", program) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == b"first\n"
        running.send_signal(signal.SIGINT)
        assert running.wait(20) == 130


def test_a_timeout_is_exit_code_124_and_keeps_the_output(
    server: Server, daytona: Daytona, program: Path
) -> None:
    program.write_text("import time\nprint('so far', flush=True)\ntime.sleep(60)\n")
    begin = time.monotonic()
    result = tidepool(server, "run", program, "--timeout", "0.5")
    assert time.monotonic() - begin < 20
    assert (result.returncode, result.stdout) == (124, b"so far\n")
    assert b"--timeout 0.5" in result.stderr
    assert daytona.list() == []


def test_too_much_memory_is_said(server: Server, program: Path) -> None:
    program.write_text("x = bytearray(400 << 20)\nfor i in range(0, len(x), 4096): x[i] = 1\n")
    result = tidepool(server, "run", program, "--memory", "128")
    assert result.returncode == 137
    assert b"memory limit" in result.stderr


def test_there_is_no_network_unless_asked_for(server: Server, program: Path) -> None:
    program.write_text("import os\nprint(sorted(name for name in os.environ if 'INDEX' in name))\n")
    assert tidepool(server, "run", program).stdout == b"[]\n"
    assert b"PIP_INDEX_URL" in tidepool(server, "run", program, "--net", "packages").stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_deletes_the_sandbox_and_leaves_no_traceback(
    server: Server, daytona: Daytona, program: Path, number: signal.Signals
) -> None:
    program.write_text("import time\nprint('here', flush=True)\ntime.sleep(60)\n")
    with started(server, "run", program) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == b"here\n"
        assert len(daytona.list()) == 1
        running.send_signal(number)
        _, errors = running.communicate(timeout=20)
    assert running.returncode == 128 + number
    assert b"Traceback" not in errors
    assert daytona.list() == []


def test_ctrl_c_while_the_sandbox_is_being_made_leaves_none(
    server: Server, daytona: Daytona, program: Path
) -> None:
    program.write_text("")
    with started(server, "run", program, "--dep", "iniconfig==2.0.0") as running:
        while not daytona.list():
            assert running.poll() is None, running.communicate()
            time.sleep(0.01)
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate(timeout=30)
    assert running.returncode == 130
    assert b"Traceback" not in errors
    assert daytona.list() == []


@pytest.mark.thorough
def test_without_a_server_one_is_started(state_dirs: StateDirs, program: Path) -> None:
    program.write_text("print('hello')\n")
    place = LocalPlace(state_dirs.runtime.parent)
    try:
        result = subprocess.run(
            [*TIDEPOOL, "run", program], capture_output=True, timeout=50, env=place.environment
        )
        assert (result.returncode, result.stdout, result.stderr) == (0, b"hello\n", b"")
        assert place.hello()["sandboxes"] == 0
    finally:
        place.end()


def test_a_reader_that_goes_ends_it_quietly(server: Server, daytona: Daytona, program: Path) -> None:
    program.write_text("while True: print('y' * 1000)\n")
    with started(server, "run", program) as running:
        assert running.stdout is not None
        running.stdout.read(10)
        running.stdout.close()
        assert running.stderr is not None
        errors = running.stderr.read()
        assert running.wait(20) == 128 + signal.SIGPIPE
    assert errors == b""
    assert daytona.list() == []


def test_what_a_killed_run_left_is_pruned_and_nothing_else(
    server: Server, daytona: Daytona, box: Sandbox, program: Path
) -> None:
    program.write_text("import time\nprint('here', flush=True)\ntime.sleep(60)\n")
    with started(server, "run", program) as living, started(server, "run", program) as killed:
        for running in (living, killed):
            assert running.stdout is not None
            assert running.stdout.readline() == b"here\n"
        killed.kill()
        killed.wait()
        assert len(daytona.list()) == 3
        pruned = tidepool(server, "prune").stdout.split()
        assert len(pruned) == 1
        left = {one.id for one in daytona.list()}
        assert box.id in left
        assert len(left) == 2
        living.send_signal(signal.SIGINT)
        assert living.wait(20) == 130
    assert [one.id for one in daytona.list()] == [box.id]


def test_an_unknown_dependency_is_one_sentence(server: Server, daytona: Daytona, program: Path) -> None:
    program.write_text("")
    result = tidepool(server, "run", program, "--dep", "no-such-package-tidepool-test")
    assert result.returncode == 1
    assert b"no-such-package-tidepool-test" in result.stderr
    assert b"Traceback" not in result.stderr
    assert daytona.list() == []


def test_exec_passes_a_command_on(server: Server, box: Sandbox) -> None:
    result = tidepool(server, "exec", box.id, "--", "sh", "-c", "cat; echo >&2 err; exit 7", stdin=b"in")
    assert (result.returncode, result.stdout, result.stderr) == (7, b"in", b"err\n")


def test_exec_takes_options_of_the_command_without_dashes(server: Server, box: Sandbox) -> None:
    result = tidepool(server, "exec", box.id[:8], "printf", "%s", "-n")
    assert (result.returncode, result.stdout) == (0, b"-n")


def test_exec_of_what_is_not_there_is_127(server: Server, box: Sandbox) -> None:
    result = tidepool(server, "exec", box.id, "--", "no-such-program")
    assert result.returncode == 127
    assert b"no-such-program" in result.stderr


@pytest.mark.thorough
def test_exec_leaves_the_sandbox(server: Server, daytona: Daytona, box: Sandbox) -> None:
    assert tidepool(server, "exec", "--timeout", "0.5", box.id, "--", "sleep", "60").returncode == 124
    assert [one.id for one in daytona.list()] == [box.id]


def test_an_unknown_sandbox_is_one_sentence(server: Server) -> None:
    result = tidepool(server, "exec", "no-such-sandbox", "--", "true")
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.thorough
@pytest.mark.needs("gvisor")
def test_a_program_can_be_run_in_gvisor(server: Server, program: Path) -> None:
    program.write_text("import os; print(os.uname().release)")
    done = tidepool(server, "run", "--isolation", "gvisor", program)
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode().strip() != os.uname().release


@pytest.mark.thorough
@pytest.mark.needs("gvisor")
def test_a_sandbox_says_which_isolation_it_has(daytona: Daytona) -> None:
    with daytona.create(CreateSandboxFromSnapshotParams(isolation="gvisor", network="none")) as box:
        assert box.isolation is not None
        assert box.isolation.kind == "gvisor"
        assert "seccomp" not in box.isolation.enforced
        assert any("gVisor" in wall for wall in box.isolation.enforced)
        assert any("landlock" in what for what in box.isolation.not_enforced)
    with pytest.raises(
        DaytonaError, match="isolation is 'kata'; a virtual machine for each sandbox is not offered"
    ):
        daytona.create(CreateSandboxFromSnapshotParams(isolation="kata"))  # type: ignore[arg-type]
