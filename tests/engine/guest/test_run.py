"""A forked run shows exactly what the real interpreter shows: output, errors, exit status, files left."""

import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.guest import forking, programs
from tidepool.engine.guest import preload

PYTHONS = os.environ.get("TIDEPOOL_TEST_PYTHONS", sys.executable).split(":")
"""Interpreters to try, none older than 3.11."""


@pytest.fixture(scope="module", params=PYTHONS)
def python(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def parent(python: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[forking.Parent]:
    made = forking.Parent(tmp_path_factory.mktemp("parent"), python=python)
    assert made.preloaded["failed"] == {}
    assert made.preloaded["refused"] == ""
    yield made
    made.close()


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """The programs' directory: the same path for both ways, empty at the start of each."""
    return tmp_path / "work"


def _empty(work: Path) -> None:
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()


def _left(work: Path) -> dict[str, bytes]:
    found = (path for path in work.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {str(path.relative_to(work)): path.read_bytes() for path in found}


def _shown(ended: forking.Ended) -> tuple[int, str, str]:
    """What a run showed, without what differs between two runs of the same interpreter."""

    def plain(data: bytes) -> str:
        text = re.sub(r"\b0x[0-9a-f]{4,}", "0x", data.decode("utf-8", "backslashreplace"))
        text = re.sub(r"(MainThread|ForkPoolWorker|Thread-\d+)(, started) \d+", r"\1\2", text)
        text = re.sub(r"\(pid=\d+\)", "(pid)", text)
        text = re.sub(r"Ran (\d+ tests?) in .*s", r"Ran \1", text)
        # 3.11 counts a few of our calls into the limit; see run.DIFFERENCES.
        return re.sub(r"repeated 9\d\d more times", "repeated 9xx more times", text)

    return ended.status, plain(ended.stdout), plain(ended.stderr)


def _both(
    parent: forking.Parent, python: str, work: Path, source: str, argv: tuple[str, ...] = ("-",)
) -> tuple[tuple[object, ...], tuple[object, ...]]:
    data = source.encode("utf-8", "surrogateescape")
    ends = []
    for fork in (True, False):
        _empty(work)
        if argv[0] != "-":
            (work / argv[0]).write_bytes(data)
            (work / "sibling.py").write_text("X = __file__\n")
        if fork:
            ended = parent.run_source(data, work, parent.environment, argv)
        else:
            ended = forking.execute(data, work, parent.environment, argv, python)
        ends.append((*_shown(ended), _left(work)))
    return ends[0], ends[1]


@pytest.mark.parametrize("name", programs.TEXTS)
def test_text(parent: forking.Parent, python: str, work: Path, name: str) -> None:
    forked, executed = _both(parent, python, work, programs.TEXTS[name])
    assert forked == executed


@pytest.mark.parametrize("name", programs.SCRIPTS)
def test_script(parent: forking.Parent, python: str, work: Path, name: str) -> None:
    forked, executed = _both(parent, python, work, programs.SCRIPTS[name], ("script.py", "a", "-b"))
    assert forked == executed


@pytest.mark.parametrize("name", [*preload.STANDARD, "os", "multiprocessing", "unittest.mock", "http.server"])
def test_what_an_import_brings(parent: forking.Parent, python: str, work: Path, name: str) -> None:
    forked, executed = _both(parent, python, work, programs.BROUGHT.format(name=name))
    assert forked == executed
