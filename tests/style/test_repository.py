"""What may stand at the root, and what may stand in no file: places of one machine, and names of its services."""

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.style.source import ROOT

AT_THE_ROOT = {
    ".ci",
    ".gitignore",
    "CONTRIBUTING.md",
    "LICENSE",
    "README.md",
    "SECURITY.md",
    "SPECIFICATION.md",
    "benchmarks",
    "constraints.txt",
    "docs",
    "examples",
    "fuzz",
    "pyproject.toml",
    "scripts",
    "src",
    "tests",
}
_NOT_OURS = {".git", ".venv", "build", "dist"}
_CACHES = re.compile(r"__pycache__|\..*_cache|\.hypothesis|.*\.egg-info|\.env|.*\.part")
_TEXT = {
    ".py",
    ".md",
    ".toml",
    ".txt",
    ".json",
    ".jsonl",
    ".js",
    ".css",
    ".html",
    ".cfg",
    ".yaml",
    ".yml",
    "",
}


def project_files() -> Iterator[Path]:
    """Every file that belongs to the project, without caches and what is built."""
    for directory, names, files in os.walk(ROOT):
        if Path(directory) == ROOT:
            names[:] = [name for name in names if name not in _NOT_OURS]
        names[:] = [name for name in names if not _CACHES.fullmatch(name)]
        yield from (Path(directory) / name for name in files if not _CACHES.fullmatch(name))


def forbidden() -> re.Pattern[str]:
    """Words that tie a file to the machine it was written on; put together here so that this file has none of them."""
    places = [re.escape(f"{ROOT}/"), "(?<!\\w)/" + "root" + "/", "\\.py" + "env/"]
    hosts = ["py" + "pi\\.org", "python" + "hosted", "registry\\.npm" + "js", "deb\\.debi" + "an\\.org"]
    return re.compile("|".join([*places, *hosts]))


def test_only_known_things_stand_at_the_root() -> None:
    names = {name for name in os.listdir(ROOT) if name not in _NOT_OURS and not _CACHES.fullmatch(name)}
    assert names - AT_THE_ROOT == set()


def test_no_file_names_a_place_of_one_machine() -> None:
    pattern = forbidden()
    found = [
        f"{file.relative_to(ROOT)}:{number}: {line.strip()[:120]}"
        for file in project_files()
        if file.suffix in _TEXT
        for number, line in enumerate(file.read_text(errors="replace").splitlines(), 1)
        if pattern.search(line)
    ]
    assert not found, "\n".join(found)


def test_the_pattern_finds_what_it_is_for() -> None:
    assert forbidden().search(f"see {ROOT}/x")
    assert forbidden().search("/ro" + "ot/.ssh/id")
    assert not forbidden().search("root inside is /home/daytona/x")


def test_no_file_is_too_large_to_review() -> None:
    assert [str(file) for file in project_files() if file.stat().st_size > 2 << 20] == []


@pytest.mark.parametrize("name", ["install", "lint", "check", "test", "bench", "lock"])
def test_scripts_can_be_run(name: str) -> None:
    script = ROOT / "scripts" / name
    assert script.stat().st_mode & stat.S_IXUSR
    assert script.read_text().startswith("#!/bin/sh\n")
    assert "set -eu" in script.read_text()


def test_the_lock_pins_everything_and_names_no_index() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line[0].isspace()]
    assert pins
    assert [line for line in pins if "==" not in line] == []
    assert [
        line for line in lines if line.startswith(" ") and not line.strip().startswith("--hash=sha256:")
    ] == []
