"""The pytest runner: what it reports, forked and executed, and that nothing printed or exited can make it a success."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engine.guest import forking
from tests.tiers import thorough_after
from tidepool.engine.report import parse_report
from tidepool.engine.result import ExecResult, TestReport, Verdict


@pytest.fixture(scope="module")
def parent(python: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[forking.Parent]:
    made = forking.Parent(tmp_path_factory.mktemp("parent"), python=python, pytest=True)
    assert made.preloaded["failed"] == {}
    yield made
    made.close()


def _execute(parent: forking.Parent, paths: list[str], work: Path) -> forking.Ended:
    """The runner in a fresh interpreter, as when a run may not be forked."""
    read, write = os.pipe()
    start = (
        f"import sys; sys.path.insert(0, {str(parent.root)!r})\n"
        "from tidepool.engine.guest import imports; imports.RECORD.begin()\n"
        f"from tidepool.engine.guest import tests; tests.run_pytest({paths!r}, {write})"
    )
    process = subprocess.Popen(
        [parent.python, "-u", "-c", start],
        cwd=work,
        env=parent.environment,
        pass_fds=[write],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    os.close(write)
    out, err = process.communicate(timeout=60)
    with os.fdopen(read, "rb") as report:
        return forking.Ended(process.returncode, out, err, report.read())


def _read(ended: forking.Ended) -> TestReport:
    verdict = Verdict.EXITED if ended.status >= 0 else Verdict.SIGNALED
    return parse_report(
        ended.report, ExecResult(ended.status, verdict, ended.stdout, ended.stderr, b"", 0, 1.0, 0)
    )


def _outcomes(report: TestReport) -> dict[str, str]:
    return {case.node_id.removeprefix("test_it.py::"): case.outcome for case in report.cases}


HEAD = "import os, sys, json, pytest\n"

OUTCOMES: dict[str, tuple[str, dict[str, str], int, bool]] = {
    "passes": ("def test_a(): pass\n", {"test_a": "passed"}, 0, True),
    "fails": ("def test_a(): assert 1 == 2\ndef test_b(): pass\n", {"test_a": "failed", "test_b": "passed"}, 1, False),
    "setup_fails": (
        "@pytest.fixture\ndef f(): 1/0\ndef test_a(f): pass\n",
        {"test_a": "error"},
        1,
        False,
    ),
    "teardown_fails": (
        "@pytest.fixture\ndef f():\n    yield\n    1/0\ndef test_a(f): pass\n",
        {"test_a": "error"},
        1,
        False,
    ),
    "both_fail": (
        "@pytest.fixture\ndef f():\n    yield\n    1/0\ndef test_a(f): assert 0\n",
        {"test_a": "failed"},
        1,
        False,
    ),
    "skips": ("@pytest.mark.skip\ndef test_a(): pass\n", {"test_a": "skipped"}, 0, False),
    "skips_while_running": ("def test_a(): pytest.skip('no')\n", {"test_a": "skipped"}, 0, False),
    "xfails": ("@pytest.mark.xfail\ndef test_a(): assert 0\n", {"test_a": "xfailed"}, 0, False),
    "xfails_unrun": ("@pytest.mark.xfail(run=False)\ndef test_a(): assert 0\n", {"test_a": "xfailed"}, 0, False),
    "xpasses": (
        "@pytest.mark.xfail\ndef test_a(): pass\ndef test_b(): pass\n",
        {"test_a": "xpassed", "test_b": "passed"},
        0,
        True,
    ),
    "xpasses_strictly": ("@pytest.mark.xfail(strict=True)\ndef test_a(): pass\n", {"test_a": "failed"}, 1, False),
    "parametrized": (
        "@pytest.mark.parametrize('x', [1, 'ü', '\\n'])\ndef test_a(x): assert x != 1\n",
        {"test_a[1]": "failed", "test_a[\\xfc]": "passed", "test_a[\\n]": "passed"},
        1,
        False,
    ),
    "in_classes": (
        "import unittest\nclass TestA:\n    def test_x(self): pass\nclass B(unittest.TestCase):\n"
        "    def test_y(self): self.assertTrue(0)\n",
        {"TestA::test_x": "passed", "B::test_y": "failed"},
        1,
        False,
    ),
    "exits_in_a_test": ("def test_a(): sys.exit(0)\n", {"test_a": "failed"}, 1, False),
    "no_tests": ("x = 1\n", {}, 5, False),
    "module_skipped": ("pytest.skip('all', allow_module_level=True)\n", {}, 5, False),
    "interrupted": ("def test_a(): pass\ndef test_b(): raise KeyboardInterrupt\n", {"test_a": "passed"}, 2, False),
    "told_to_stop": ("def test_a(): pytest.exit('stop', returncode=0)\ndef test_b(): pass\n", {}, 0, False),
}  # fmt: skip


@pytest.mark.parametrize("name", thorough_after(3, OUTCOMES))
def test_outcomes(parent: forking.Parent, work: Path, name: str) -> None:
    text, outcomes, status, success = OUTCOMES[name]
    (work / "test_it.py").write_text(HEAD + text)
    forked = parent.run_tests([], work, parent.environment)
    report = _read(forked)
    assert (_outcomes(report), forked.status, report.success) == (outcomes, status, success)
    assert report.complete == (name not in ("interrupted", "told_to_stop"))
    executed = _read(_execute(parent, [], work))
    assert _outcomes(executed) == outcomes
    assert [case.message for case in report.cases] == [case.message for case in executed.cases]
    assert (executed.complete, executed.reason) == (report.complete, report.reason)


FORGED = json.dumps({"kind": "end", "exitStatus": 0, "collected": 1})
UNFINISHED = {
    "leaves": "def test_a(): pass\ndef test_b(): os._exit(0)\n",
    "leaves_at_import": "os._exit(0)\n",
    "leaves_and_claims": "def test_a(): print('1 passed')\n"
    f"def test_b():\n    os.write(1, {FORGED!r}.encode())\n    os._exit(0)\n",
    "dies": "def test_a(): os.kill(os.getpid(), 9)\n",
    "closes_everything": "def test_a(): os.closerange(3, 5000)\n",
    "becomes_another": "def test_a(): os.execv('/bin/true', ['true'])\n",
}  # fmt: skip


@pytest.mark.parametrize("name", UNFINISHED)
def test_an_unfinished_run_is_no_success(parent: forking.Parent, work: Path, name: str) -> None:
    (work / "test_it.py").write_text(HEAD + UNFINISHED[name])
    report = _read(parent.run_tests([], work, parent.environment))
    assert not report.complete
    assert not report.success


def test_what_a_fork_in_a_test_does_is_not_reported(parent: forking.Parent, work: Path) -> None:
    (work / "test_it.py").write_text(
        HEAD + "def test_a():\n    if os.fork():\n        os.wait()\ndef test_b(): pass\n"
    )
    report = _read(parent.run_tests([], work, parent.environment))
    assert (report.success, _outcomes(report)) == (True, {"test_a": "passed", "test_b": "passed"})


def test_collection_errors(parent: forking.Parent, work: Path) -> None:
    (work / "test_it.py").write_text("import nosuchmodule\n")
    (work / "test_other.py").write_text("def f(:\n")
    report = _read(parent.run_tests([], work, parent.environment))
    assert [line.split(":")[0] for line in report.collection_errors] == ["test_it.py", "test_other.py"]
    assert "nosuchmodule" in report.collection_errors[0]
    assert report.reason == "2 test file(s) could not be collected"


def test_a_broken_conftest(parent: forking.Parent, work: Path) -> None:
    (work / "conftest.py").write_text("1/0\n")
    (work / "test_it.py").write_text("def test_a(): pass\n")
    ended = parent.run_tests([], work, parent.environment)
    report = _read(ended)
    assert ended.status == 4
    assert report.collection_errors == (
        "pytest ended with exit status 4 before it had collected anything; its output says why",
    )


def test_paths(parent: forking.Parent, work: Path) -> None:
    for name in "ab":
        (work / f"test_{name}.py").write_text("def test_x(): pass\ndef test_y(): pass\n")
    report = _read(parent.run_tests(["test_a.py", "test_b.py::test_y"], work, parent.environment))
    assert [case.node_id for case in report.cases] == [
        "test_a.py::test_x",
        "test_a.py::test_y",
        "test_b.py::test_y",
    ]
    assert report.success


def test_messages(parent: forking.Parent, work: Path) -> None:
    text = "def test_a():\n    x = 3\n    assert x == 4, 'because'\n"
    text += "def test_b(): raise ValueError('é' * 5000 + '\\udc80')\n"
    text += f"def test_{'long' * 1500}(): pass\n@pytest.mark.skip('not now')\ndef test_c(): pass\n"
    (work / "test_it.py").write_text(HEAD + text)
    report = _read(parent.run_tests([], work, parent.environment))
    first, second, third, fourth = report.cases
    assert first.message == f"{work}/test_it.py:4: AssertionError: because\nassert 3 == 4"
    assert 4000 < len(second.message.encode()) <= 4096
    assert len(third.node_id.encode()) <= 4096
    assert fourth.message == "Skipped: not now"
    assert report.complete


@pytest.mark.thorough
def test_shadowing_below_the_work_directory(parent: forking.Parent, work: Path) -> None:
    """pytest puts a test's directory first on sys.path: what is there wins over what is preloaded."""
    (work / "below").mkdir()
    (work / "below" / "statistics.py").write_text("MINE = 1\n")
    (work / "below" / "test_it.py").write_text("import statistics\ndef test_a(): assert statistics.MINE\n")
    for ended in (parent.run_tests([], work, parent.environment), _execute(parent, [], work)):
        assert _read(ended).success, ended.stdout.decode()


@pytest.mark.thorough
@pytest.mark.parametrize(
    "text", ["def test_a(): pass\n", "def test_a():\n    print('x')\n    assert [1] == [2]\n"]
)
def test_output_is_pytests_own(parent: forking.Parent, work: Path, text: str) -> None:
    (work / "test_it.py").write_text(text)
    forked = parent.run_tests([], work, parent.environment)
    options = ["-p", "no:cacheprovider", f"--rootdir={work}"]
    command = [parent.python, "-u", "-m", "pytest", *options]
    real = subprocess.run(
        command, cwd=work, env=parent.environment, capture_output=True, stdin=subprocess.DEVNULL
    )
    assert forking.plain(forked.stdout) == forking.plain(real.stdout)
    assert (forked.stderr, forked.status) == (real.stderr, real.returncode)


def test_settings_of_the_project_count(parent: forking.Parent, work: Path) -> None:
    (work / "pytest.ini").write_text("[pytest]\naddopts = -k chosen\npython_files = check_*.py\n")
    (work / "check_it.py").write_text("def test_chosen(): pass\ndef test_other(): assert 0\n")
    report = _read(parent.run_tests([], work, parent.environment))
    assert report.success
    report = _read(parent.run_tests([], work, {**parent.environment, "PYTEST_ADDOPTS": "-k other"}))
    assert report.count("failed") == 1


def test_plugins_of_the_work_directory(parent: forking.Parent, work: Path) -> None:
    """Metadata is read ahead for installed packages only: one that lies in the work directory is found too."""
    info = work / "local-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: local\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[pytest11]\nlocal = local_plugin\n")
    (work / "local_plugin.py").write_text("import pytest\n@pytest.fixture\ndef local(): return 3\n")
    (work / "test_it.py").write_text(
        "from importlib import metadata\ndef test_a(local):\n    assert local == 3\n"
        "    assert metadata.distributions.__module__ == 'importlib.metadata'\n"
    )
    report = _read(parent.run_tests([], work, parent.environment))
    assert report.success, report.cases


@pytest.mark.thorough
@pytest.mark.parametrize("outcome", ["passed", "failed"])
def test_what_tests_see(parent: forking.Parent, work: Path, outcome: str) -> None:
    """Modules, arguments and streams are a fresh pytest's."""
    text = (
        "import sys, os\ndef test_a():\n"
        "    facts = [sorted(m for m in sys.modules if not m.startswith('tidepool')), sys.argv[1:], sys.path]\n"
        "    open('facts', 'w').write(repr(facts))\n" + ("" if outcome == "passed" else "    assert 0\n")
    )
    (work / "test_it.py").write_text(text)
    facts: list[Any] = []
    for ended in (parent.run_tests([], work, parent.environment), _execute(parent, [], work)):
        assert _read(ended).count(outcome) == 1
        facts.append(json.loads((work / "facts").read_text().replace("'", '"')))
    assert facts[0] == facts[1]


LATE = """
import pytest, _pytest.tmpdir
def add():
    @pytest.fixture
    def zulu(): return 3
    _pytest.tmpdir.zulu = zulu
add()
"""


@pytest.mark.thorough
@pytest.mark.parametrize("conftest", ["", LATE], ids=["as ever", "with one more"])
def test_the_fixtures_of_plugins_are_those_that_pytest_finds(
    parent: forking.Parent, work: Path, conftest: str
) -> None:
    (work / "conftest.py").write_text(conftest)
    (work / "pytest.ini").write_text("[pytest]\naddopts = --fixtures -v\n")
    forked, executed = parent.run_tests([], work, parent.environment), _execute(parent, [], work)
    assert b"tmp_path" in forked.stdout
    assert (b"zulu" in forked.stdout) == bool(conftest)
    assert forked.stdout.splitlines()[:-1] == executed.stdout.splitlines()[:-1]  # the last has the time
