"""What may be imported where, as far as import-linter cannot say it; and what a package gives away."""

import ast
import importlib
import re
import sys
import tomllib
from pathlib import Path

import pytest

from tests.style.source import ROOT, parsed, python_files

ENGINE_NAMES = 25


def imported(file: Path) -> set[str]:
    """Full names of the modules that a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(parsed(file)):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{name.name}" for name in node.names} | {node.module}
    return found


@pytest.mark.parametrize("file", python_files("src/tidepool/engine/guest"), ids=lambda file: file.name)
def test_the_guest_needs_nothing_but_the_standard_library(file: Path) -> None:
    inside = "tidepool.engine.guest"
    # pytest is there when the sandbox's user asked for tests; the room must load without it.
    allowed = {*sys.stdlib_module_names, "pytest", "_pytest"}
    strange = {
        name
        for name in imported(file)
        if name.partition(".")[0] not in allowed
        and not f"{name}.".startswith(f"{inside}.")
        and not inside.startswith(f"{name}.")
        and name != inside
    }
    assert strange == set()


@pytest.mark.parametrize("file", python_files("src/tidepool/engine/guest"), ids=lambda file: file.name)
def test_the_guest_imports_pytest_only_when_tests_run(file: Path) -> None:
    top = [node for node in parsed(file).body if isinstance(node, ast.Import | ast.ImportFrom)]
    text = "\n".join(ast.unparse(node) for node in top)
    assert "pytest" not in text


@pytest.mark.thorough
def test_no_test_stands_on_a_mock() -> None:
    users = [file for file in python_files("src", "tests") if any("mock" in name for name in imported(file))]
    assert users == []


@pytest.mark.parametrize(
    "package",
    ["daytona_sdk", "daytona_sdk.common", "sea", "tidepool.engine", "tidepool.wire", "tidepool.egress"],
)
def test_what_a_package_exports_exists(package: str) -> None:
    module = importlib.import_module(package)
    names = getattr(module, "__all__", [])
    assert sorted(set(names)) == sorted(names), "a name is exported twice"
    assert [name for name in names if not hasattr(module, name)] == []


def test_the_engine_spells_out_its_public_names() -> None:
    engine = importlib.import_module("tidepool.engine")
    assert 0 < len(engine.__all__) <= ENGINE_NAMES


def test_the_sdk_spells_out_its_public_names() -> None:
    sdk = importlib.import_module("daytona_sdk")
    assert {"Daytona", "AsyncDaytona", "DaytonaConfig", "DaytonaError", "__version__"} <= set(sdk.__all__)


@pytest.mark.thorough
def test_nothing_is_exported_by_star() -> None:
    stars = [
        str(file.relative_to(ROOT))
        for file in python_files("src")
        for node in ast.walk(parsed(file))
        if isinstance(node, ast.ImportFrom) and any(name.name == "*" for name in node.names)
    ]
    assert stars == []


def test_what_the_source_imports_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [
        *project["dependencies"],
        *(line for group in project["optional-dependencies"].values() for line in group),
    ]
    declared = {re.split(r"[^A-Za-z0-9_.-]", line)[0].lower().replace("-", "_") for line in lines}
    ours = {"tidepool", "daytona_sdk", "sea"}
    names = {name.partition(".")[0] for file in python_files("src") for name in imported(file)}
    modules = {
        "multipart": "python_multipart",
        "socketio": "python_socketio",
        "opentelemetry": "opentelemetry_api",
        "_pytest": "pytest",
    }
    foreign = {modules.get(name, name) for name in names - ours - set(sys.stdlib_module_names)}
    assert foreign - declared == set()
