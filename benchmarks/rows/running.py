"""Running things in sandboxes that live already, and whole test runs with cached dependencies.

Both sides of the test runs have the same packages and load the same plugins of pytest.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from measure import progress, serving, timed
from outcome import Outcome, Terms, times_faster
from peers import line_program
from wire import Raw

from daytona_sdk import CreateSandboxFromSnapshotParams, Daytona
from sea.daytona_manager import DaytonaManager

PACKAGES = ("pytest", "langchain-core")
CODE = "def double(x):\n    return 2 * x\n\n\ndef test_double():\n    assert double(2) == 4\n"
NO_PLUGINS = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
_WITH, _WITHOUT = "third-party plugins", "no third-party plugins"


def warm_exec(terms: Terms) -> Outcome:
    """`true`, a line in the shared interpreter, and a fresh Python line, in one living sandbox."""
    found = Outcome(
        "one living sandbox, its interpreter context started; the raw client's connection is open"
    )
    with serving(2) as server, Raw(server.config) as raw:
        box = raw.create()
        ways: dict[str, Callable[[], str]] = {
            "exec of true": lambda: str(raw.run(box, "true")["exitCode"]),
            "line in a context": lambda: raw.in_context(box, "print(1)"),
            "code_run of a line": lambda: raw.line(box, "print(1)"),
        }
        expected = dict(zip(ways, ("0", "1\n", "1\n"), strict=True))
        rounds = terms.rounds(300)
        for number in range(rounds + 3):
            for name, run in ways.items():
                found.attempt(lambda: _checked(found, name, run, expected[name], number >= 3))  # noqa: B023
            if number >= 3:
                found.note("line in a context, without the handshake", raw.run_ms)
            if number % 3 == 0:  # an interpreter's start is slow beside these
                found.note(
                    "python3 -c",
                    timed(lambda: subprocess.run(line_program(), check=True, capture_output=True)),
                )
            progress(f"{number + 1}/{rounds + 3}")
        raw.delete(box)
    found.limits("exec of true", 2.5)
    found.limits("line in a context", 1)
    found.facts["a line in a context"] = (
        "is one WebSocket, handshake and all, as the protocol wants it for every run"
    )
    return found


def _checked(found: Outcome, name: str, run: Callable[[], str], expected: str, counts: bool) -> None:
    begin = time.perf_counter()
    seen = run()
    took = (time.perf_counter() - begin) * 1000
    if seen != expected:
        raise RuntimeError(f"{name} gave {seen[:100]!r}")
    if counts:
        found.note(name, took)


def make_environment(place: Path, packages: tuple[str, ...]) -> str:
    """A virtual environment with the packages, of the interpreter that sandboxes use; its interpreter."""
    uv = [sys.executable, "-m", "uv"]
    subprocess.run([*uv, "venv", "--quiet", "--python", sys.executable, str(place)], check=True)
    python = str(place / "bin" / "python")
    subprocess.run([*uv, "pip", "install", "--quiet", "--python", python, *packages], check=True)
    return python


def tests(terms: Terms) -> Outcome:
    """The whole call, beside `python -m pytest` of the same file; each with and without third-party plugins."""
    found = Outcome(
        "the dependency layer, its zygote with pytest loaded, a pool of 2; the peer's files are cached"
    )
    with tempfile.TemporaryDirectory(prefix="tidepool-bench-") as name, serving(2) as server:
        place = Path(name)
        python = make_environment(place / "venv", PACKAGES)
        (place / "test_double.py").write_text(CODE)
        with Daytona(server.config) as daytona:
            ways = _test_ways(daytona, python, place)
            first = timed(ways[f"run_code_with_tests, {_WITH}"])
            found.facts["first call, layer built, ms"] = round(first)
            rounds = terms.rounds(15)
            for number in range(rounds + 2):
                for way, run in ways.items():
                    time.sleep(0.1)
                    found.attempt(lambda: _timed_way(found, way, run, number >= 2))  # noqa: B023
                progress(f"{number + 1}/{rounds + 2}")
    for plugins in (_WITH, _WITHOUT):
        ours, theirs = f"run_code_with_tests, {plugins}", f"python -m pytest, {plugins}"
        found.limits(ours, 35)
        found.checks.append(times_faster(f"than {theirs}", found.ratio(theirs, ours), 20))
    return found


def _timed_way(found: Outcome, way: str, run: Callable[[], None], counts: bool) -> None:
    took = timed(run)
    if counts:
        found.note(way, took)


def _test_ways(daytona: Daytona, python: str, place: Path) -> dict[str, Callable[[], None]]:
    manager = DaytonaManager(daytona)

    def managed() -> None:
        result = manager.run_code_with_tests(CODE, list(PACKAGES))
        if not result["success"]:
            raise RuntimeError(f"the tests did not succeed: {result['error'] or result['output']}")

    def by_hand() -> None:
        params = CreateSandboxFromSnapshotParams(dependencies=PACKAGES, network="none")
        with daytona.create(params) as sandbox:
            sandbox.fs.upload_file(CODE.encode(), "tool.py")
            report = sandbox.process.run_tests("tool.py", env=NO_PLUGINS, timeout=60)
            if not report.success:
                raise RuntimeError(f"the tests did not succeed: {report.reason}")

    def plain(**environment: str) -> None:
        command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_double.py"]
        subprocess.run(
            command,
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=place,
            env={"PATH": "/usr/bin:/bin", **environment},
        )

    return {
        f"python -m pytest, {_WITH}": plain,
        f"run_code_with_tests, {_WITH}": managed,
        f"python -m pytest, {_WITHOUT}": lambda: plain(**NO_PLUGINS),
        f"run_code_with_tests, {_WITHOUT}": by_hand,
    }
