"""Running pytest in a fork of an interpreter that has run it before, and reporting out of band.

One JSON line per event goes to a descriptor of its own; what is printed decides nothing. The tests share this process
with the runner (verdict basis `in_process`): accidents, early exits and forged text are seen, an adversary who patches
pytest or finds the descriptor is not. The host reads the lines in `engine/report.py`.
"""

import atexit
import fcntl
import hashlib
import importlib.metadata
import inspect
import json
import os
import pathlib
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib.metadata import Distribution, PathDistribution
from types import ModuleType
from typing import Any, NoReturn

from tidepool.engine.guest import imports, run

MAX_TEXT = 4096
"""Bytes of one message or node id."""
OPTIONS = ("-p", "no:cacheprovider")
_LOWEST_FD = 400
_RANKS = ("skipped", "xfailed", "passed", "xpassed", "error", "failed")
"""Of several outcomes of one test (subtests, a failing teardown) the last in this order counts."""
_UNUSABLE = (3, 4)
"""pytest's exit statuses for an internal error and for wrong usage, such as a conftest that cannot be imported."""
_TRIVIAL = "def test_nothing() -> None:\n    assert True\n"


class Reporter:
    """The pytest plugin that writes the report."""

    def __init__(self, fd: int) -> None:
        # High and closed on exec: nothing finds it by accident. Only this process reports, nothing that it forks.
        self._fd = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _LOWEST_FD)
        os.close(fd)
        self._process = os.getpid()
        self._running: dict[str, dict[str, Any]] = {}
        self._collected = 0

    def _write(self, record: dict[str, Any]) -> None:
        if os.getpid() == self._process:
            record = {key: _clip(value) if isinstance(value, str) else value for key, value in record.items()}
            waiting = json.dumps(record).encode() + b"\n"
            while waiting:
                waiting = waiting[os.write(self._fd, waiting) :]

    def pytest_collection_finish(self, session: Any) -> None:
        """Called when it is known what will be run."""
        self._collected = len(session.items)

    def pytest_collectreport(self, report: Any) -> None:
        """Called for each file and class looked through."""
        if report.failed:
            self._write({"kind": "collectionError", "nodeId": report.nodeid, "message": _message(report)})

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Called after each phase of a test."""
        case = self._running.setdefault(report.nodeid, {"outcome": "", "duration": 0.0, "message": ""})
        case["duration"] += report.duration
        outcome = outcome_of(report)
        if outcome and (not case["outcome"] or _RANKS.index(outcome) > _RANKS.index(case["outcome"])):
            case.update(outcome=outcome, message=_message(report))

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Called after the last phase."""
        case = self._running.pop(nodeid, None)
        if case is not None and case["outcome"]:
            self._write({"kind": "case", "nodeId": nodeid, **case})

    def end(self, status: int) -> None:
        """The closing record."""
        if status in _UNUSABLE and not self._collected:
            why = f"pytest ended with exit status {status} before it had collected anything; its output says why"
            self._write({"kind": "collectionError", "nodeId": "", "message": why})
        self._write({"kind": "end", "exitStatus": status, "collected": self._collected})


def outcome_of(report: Any) -> str:
    """The outcome that one phase (setup, call, teardown) of a test stands for; empty if it decides nothing."""
    expected = hasattr(report, "wasxfail")
    if report.failed:
        return "failed" if report.when == "call" else "error"
    if report.skipped:
        return "xfailed" if expected else "skipped"
    if report.passed and report.when == "call":
        return "xpassed" if expected else "passed"
    return ""


def _message(report: Any) -> str:
    """What is worth knowing first: where and why."""
    details = report.longrepr
    crash = getattr(details, "reprcrash", None)
    if hasattr(report, "wasxfail"):
        text = str(report.wasxfail)
    elif crash is not None:
        text = f"{crash.path}:{crash.lineno}: {crash.message}"
    elif isinstance(details, tuple):
        text = str(details[-1])
    else:
        text = str(report.longreprtext)
    return text


def _clip(text: str) -> str:
    """At most MAX_TEXT bytes of UTF-8. Long texts that differ still differ: a node id may hold a long parameter."""
    data = text.encode("utf-8", "backslashreplace")
    if len(data) > MAX_TEXT:
        data = data[: MAX_TEXT - 40] + b" ..." + hashlib.sha256(data).hexdigest()[:32].encode()
    return data.decode("utf-8", "ignore")


def run_pytest(paths: list[str], report_fd: int) -> NoReturn:
    """Run pytest on `paths` (the working directory when empty) as `python -m pytest` would, and end with its status.

    Descriptors 0, 1, 2, the working directory, ids and os.environ are already the run's. The report goes to
    `report_fd`, which is moved away.
    """
    place = os.getcwd()
    reporter = Reporter(report_fd)
    run.prepare(["-m", "pytest", *paths], place)
    import pytest

    sys.argv[:] = [os.path.join(os.path.dirname(pytest.__file__), "__main__.py"), *paths]
    _warm.use()
    arguments = [*OPTIONS, f"--rootdir={place}", *paths]
    status = int(pytest.main(arguments, plugins=[reporter, _warm]))
    reporter.end(status)
    end(status)


def end(status: int) -> NoReturn:
    """The visible part of an interpreter's end (threads, exit functions, output), then leave with `status`."""
    threading: Any = sys.modules.get("threading")
    if threading is not None:
        threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and not stream.closed:
            stream.flush()
    run.leaver()(status)
    raise AssertionError("a process goes on after its end")


class _Warm:
    """The part of pytest's start that is the same each time, done once while preloading.

    Three things: all installed packages' metadata, which pytest reads to find its plugins; a configuration with
    pytest's own plugins registered, before any argument, file or variable is looked at; and the names in modules of
    plugins that may be fixtures: pytest looks at every one, over two thousand. As a plugin it ends the first pretences
    before any code of the tests is imported, the last when all plugins have been looked at.
    """

    def __init__(self) -> None:
        self._packages: list[_ReadPackage] = []
        self._config: Any = None
        self._genuine: Callable[..., Any] = importlib.metadata.distributions
        self._modules: dict[ModuleType, tuple[int, list[str]]] = {}
        """Of plugins: how many names each has, and which of them may be fixtures."""

    def make(self) -> None:
        """After pytest has run once."""
        import _pytest.config

        found = importlib.metadata.distributions(path=imports.RECORD.path)
        self._packages = [_ReadPackage(package) for package in found if isinstance(package, PathDistribution)]
        make = _pytest.config.get_config
        more = {"prog": "pytest.main()"} if "prog" in inspect.signature(make).parameters else {}
        self._config = make(list(OPTIONS), None, **more)

    def use(self) -> None:
        """Let the next `pytest.main` find what was made; nothing if nothing was."""
        if self._config is None or "PYTEST_DEBUG" in os.environ:
            return
        import _pytest.config

        config, genuine = self._config, _pytest.config.get_config

        def get_config(args: Any = None, plugins: Any = None, **_: Any) -> Any:
            _pytest.config.get_config = genuine
            parameters = type(config.invocation_params)
            config.invocation_params = parameters(args=args or (), plugins=plugins, dir=pathlib.Path.cwd())
            return config

        _pytest.config.get_config = get_config
        importlib.metadata.distributions = self._distributions
        vars(sys.modules["_pytest.fixtures"])["dir"] = self._dir

    def _distributions(self, **context: Any) -> Iterator[Distribution]:
        if context:
            return iter(self._genuine(**context))
        unread = [entry for entry in sys.path if entry not in imports.RECORD.path]
        return iter([*self._genuine(path=unread), *self._packages])

    def pytest_sessionfinish(self, session: Any) -> None:
        """Called at the end; while preloading, with all plugins there are."""
        if self._config is None:
            modules = [
                one for one in session.config.pluginmanager.get_plugins() if isinstance(one, ModuleType)
            ]
            self._modules = {one: (len(vars(one)), _maybe_fixtures(one)) for one in modules}

    def _dir(self, holder: object) -> list[str]:
        if isinstance(holder, ModuleType) and holder in self._modules:
            count, names = self._modules[holder]
            if count == len(vars(holder)):
                return names
        return dir(holder)

    def pytest_collection(self) -> None:
        """Called when all plugins have been looked at for fixtures."""
        vars(sys.modules["_pytest.fixtures"]).pop("dir", None)

    def pytest_load_initial_conftests(self) -> None:
        """Called when all plugins are loaded, before the first conftest is."""
        importlib.metadata.distributions = self._genuine


def _maybe_fixtures(module: ModuleType) -> list[str]:
    """Its names but those of what is no fixture, nor a function that some decorator hides one in."""
    marks = (
        "_pytestfixturefunction",
        "__wrapped__",
    )  # the first until pytest 8.3, which had no type for them
    values = ((name, getattr(module, name, None)) for name in dir(module))
    return [
        name
        for name, value in values
        if type(value).__module__.startswith("_pytest.") or any(hasattr(value, mark) for mark in marks)
    ]


class _ReadPackage(PathDistribution):
    """A package whose metadata has been read."""

    def __init__(self, package: PathDistribution) -> None:
        vars(self).update(vars(package))
        self._read: dict[str, Any] = {
            "entry_points": package.entry_points,
            "metadata": package.metadata,
            # As plain text: pytest only asks for names, and 1,000 path objects are 1,000 pages after a fork.
            "files": [str(file) for file in package.files or ()],
        }

    entry_points = property(lambda self: self._read["entry_points"])
    metadata = property(lambda self: self._read["metadata"])
    files = property(lambda self: self._read["files"])


_warm = _Warm()


def preload() -> None:
    """Import pytest and its plugins by running it once on a trivial test, silently.

    Raises:
        ImportError: There is no pytest here.
        RuntimeError: The trivial test did not pass.
    """
    import pytest

    before = os.getcwd()
    with tempfile.TemporaryDirectory() as place, open(os.path.join(place, "output"), "w") as output:
        pathlib.Path(place, "test_nothing.py").write_text(_TRIVIAL)
        os.chdir(place)
        streams = sys.stdout, sys.stderr
        sys.stdout = sys.stderr = output
        try:
            status = pytest.main([*OPTIONS, f"--rootdir={place}", "test_nothing.py"], plugins=[_warm])
        finally:
            sys.stdout, sys.stderr = streams
            os.chdir(before)
    tempfile.tempdir = None
    imports.RECORD.forget("test_nothing")
    if status != 0:
        raise RuntimeError(f"pytest ended with status {int(status)} on a trivial test")
    _warm.make()
