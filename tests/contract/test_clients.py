"""Official clients, unmodified, from the package index, against a real server over TCP: a test per client and check.

Each client is installed into an environment of its own (they share module names with this project) and runs all checks
once, in a process that knows nothing of the server but DAYTONA_API_URL and DAYTONA_API_KEY.
"""

import ast
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Server

HERE = Path(__file__).parent
PLACE = HERE.parents[1] / ".venv" / "clients"
"""Environments are kept there between runs."""
pytestmark = [pytest.mark.needs("user_namespace", "overlayfs"), pytest.mark.timeout(600)]

# Per generation of the protocol one version (section 10.3); the newest and the oldest, blocking, run always.
CLIENTS = {
    "0.226.1": ("daytona==0.226.1", ("sync", "async")),
    "0.110.1": ("daytona-sdk==0.110.1", ("sync",)),
    "0.140.0": ("daytona==0.140.0", ("sync", "async")),
    "0.160.0": ("daytona==0.160.0", ("sync", "async")),
    "0.170.0": ("daytona==0.170.0", ("sync", "async")),
    "0.190.0": ("daytona==0.190.0", ("sync", "async")),
}
ALWAYS = (("0.226.1", "sync"), ("0.110.1", "sync"))
PACKAGES = {"@daytona/sdk": "0.216.0", "@daytonaio/sdk": "0.218.0"}
"""Official TypeScript clients; the second name is the older one."""


@dataclass
class Ran:
    """All checks of one client and mode."""

    results: dict[str, dict[str, Any]] = field(default_factory=dict)
    trouble: str = ""
    """What the client's process wrote to stderr, when it did not come to its end."""


def _names() -> list[str]:
    found = []
    tree = ast.parse((HERE / "client.py").read_text())
    areas = next(
        node.value for node in tree.body if isinstance(node, ast.Assign) and _target(node) == "AREAS"
    )
    for area in ast.literal_eval(areas):
        module = ast.parse((HERE / f"checks_{area}.py").read_text())
        functions = [node.name for node in module.body if isinstance(node, ast.AsyncFunctionDef)]
        found += [f"{area}.{name[6:]}" for name in functions if name.startswith("check_")]
    return found


def _target(node: ast.Assign) -> str:
    return node.targets[0].id if isinstance(node.targets[0], ast.Name) else ""


def environment(version: str) -> Path:
    """The interpreter of a client's own environment, made when it is missing."""
    requirement = CLIENTS[version][0]
    place = PLACE / version
    stamp = place / "installed"
    if not stamp.exists() or stamp.read_text() != requirement:
        uv = shutil.which("uv", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
        assert uv, "uv, a dependency of the project, is missing"
        shutil.rmtree(place, ignore_errors=True)
        for command in (
            [uv, "venv", "-q", "--python", sys.executable, str(place)],
            [uv, "pip", "install", "-q", "--python", str(place / "bin/python"), requirement],
        ):
            done = subprocess.run(command, capture_output=True, text=True)
            assert done.returncode == 0, f"{requirement} could not be installed: {done.stderr[-2000:]}"
        stamp.write_text(requirement)
    return place / "bin" / "python"


def node_environment(package: str) -> Path:
    """A directory with a TypeScript client in it, made when it is missing."""
    place = PLACE / package.strip("@").replace("/", "-")
    stamp = place / "installed"
    if not stamp.exists() or stamp.read_text() != PACKAGES[package]:
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        (place / "package.json").write_text('{"private": true}')
        command = ["npm", "install", "--no-audit", "--no-fund", "--silent", f"{package}@{PACKAGES[package]}"]
        done = subprocess.run(command, cwd=place, capture_output=True, text=True)
        assert done.returncode == 0, f"{package} could not be installed: {done.stderr[-2000:]}"
        stamp.write_text(PACKAGES[package])
    return place


@pytest.fixture(scope="session")
def run_of(server: Server) -> Callable[[str, str], Ran]:
    """Runs all checks with a client once, and remembers how they ended."""
    known: dict[tuple[str, str], Ran] = {}

    def run(version: str, mode: str) -> Ran:
        if (version, mode) not in known:
            known[version, mode] = _run(environment(version), mode, server)
        return known[version, mode]

    return run


def _run(python: Path, mode: str, server: Server) -> Ran:
    return _results([str(python), "client.py", mode], HERE, server)


def _results(command: list[str], place: Path, server: Server) -> Ran:
    done = subprocess.run(
        command,
        cwd=place,
        env=server.environment | {"PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=500,
    )
    ran = Ran(trouble=done.stderr[-3000:] if done.returncode else "")
    for line in done.stdout.splitlines():
        if line.startswith("RESULT "):
            result = json.loads(line.removeprefix("RESULT "))
            ran.results[result.pop("check")] = result
    return ran


def _cases() -> list[Any]:
    found = []
    for version, (_, modes) in CLIENTS.items():
        for mode in modes:
            marks = [] if (version, mode) in ALWAYS else [pytest.mark.slow]
            found += [pytest.param(version, mode, name, marks=marks) for name in _names()]
    return found


@pytest.mark.thorough
@pytest.mark.parametrize(("version", "mode", "check"), _cases())
def test_the_client_cannot_tell_the_difference(
    run_of: Callable[[str, str], Ran], version: str, mode: str, check: str
) -> None:
    ran = run_of(version, mode)
    assert check in ran.results, f"the client did not come that far: {ran.trouble}"
    result = ran.results[check]
    if result["outcome"] == "skipped":
        pytest.skip(result["why"])
    assert result["outcome"] == "passed", result["why"]


@pytest.mark.thorough
@pytest.mark.skipif(shutil.which("node") is None, reason="node (Debian: nodejs) is not installed")
@pytest.mark.skipif(shutil.which("npm") is None, reason="npm (Debian: npm) is not installed")
@pytest.mark.parametrize(
    "package",
    [pytest.param(name, marks=[] if name == "@daytona/sdk" else [pytest.mark.slow]) for name in PACKAGES],
)
def test_the_typescript_client_cannot_either(server: Server, package: str) -> None:
    ran = _results(["node", str(HERE / "client.mjs"), package], node_environment(package), server)
    failed = {check: result["why"] for check, result in ran.results.items() if result["outcome"] != "passed"}
    assert not failed
    assert len(ran.results) >= 54, f"the client did not come to its end: {ran.trouble}"
