"""A forked run shows exactly what the real interpreter shows: output, errors, exit status, files left."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.guest import forking, programs
from tidepool.engine.guest import preload

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def parent(python: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[forking.Parent]:
    made = forking.Parent(tmp_path_factory.mktemp("parent"), python=python)
    assert made.preloaded["failed"] == {}
    assert made.preloaded["refused"] == ""
    yield made
    made.close()


@pytest.fixture(scope="module")
def deep_parent(python: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[forking.Parent]:
    """One that has no stage: programs run on top of its frames."""
    made = forking.Parent(tmp_path_factory.mktemp("deep"), python=python, stage=False)
    yield made
    made.close()


@pytest.mark.parametrize("name", programs.TEXTS)
def test_text(parent: forking.Parent, work: Path, name: str) -> None:
    forked, executed = forking.both_ways(parent, work, programs.TEXTS[name])
    assert forked == executed


@pytest.mark.parametrize("name", programs.SCRIPTS)
def test_script(parent: forking.Parent, work: Path, name: str) -> None:
    forked, executed = forking.both_ways(parent, work, programs.SCRIPTS[name], ("script.py", "a", "-b"))
    assert forked == executed


@pytest.mark.parametrize("name", [*preload.STANDARD, "os", "multiprocessing", "unittest.mock", "http.server"])
def test_what_an_import_brings(parent: forking.Parent, work: Path, name: str) -> None:
    forked, executed = forking.both_ways(parent, work, programs.BROUGHT.format(name=name))
    assert forked == executed


@pytest.mark.parametrize(
    "name", ["uncaught", "exit_with_number", "keyboard_interrupt", "finalizers", "main_module"]
)
def test_without_a_stage(deep_parent: forking.Parent, work: Path, name: str) -> None:
    forked, executed = forking.both_ways(deep_parent, work, programs.TEXTS[name])
    assert forked == executed


def test_the_stage_is_what_empties_the_stack(deep_parent: forking.Parent, work: Path) -> None:
    forked, executed = forking.both_ways(deep_parent, work, programs.TEXTS["stack"])
    assert forked != executed


def test_input_is_the_programs(parent: forking.Parent, work: Path) -> None:
    ended = parent.run_source(
        b"print(input() + '|' + input())", work, parent.environment, stdin=b"one\ntwo\n"
    )
    assert (ended.status, ended.stdout, ended.stderr) == (0, b"one|two\n", b"")


def test_time_zone_of_the_run(parent: forking.Parent, work: Path) -> None:
    env = {**parent.environment, "TZ": "Asia/Tokyo"}
    source = b"import time\nprint(time.tzname[0], time.localtime(0).tm_hour)"
    assert parent.why_not_fork(env, work) == ""
    assert parent.run_source(source, work, env).stdout == b"JST 9\n"


def test_home_of_the_run(parent: forking.Parent, work: Path) -> None:
    env = {**parent.environment, "HOME": str(work)}
    ended = parent.run_source(b"import site\nprint(site.USER_BASE)", work, env)
    assert ended.stdout.decode() == f"{work / '.local'}\n"


@pytest.mark.parametrize(
    "source",
    [
        b"import random; print(random.random())",
        b"import uuid; print(uuid.uuid4())",
        b"import uuid; print(uuid.uuid1())",
        b"import secrets; print(secrets.token_hex())",
        b"import tempfile; print(tempfile.mktemp())",
        b"import ssl; print(ssl.RAND_bytes(8))",
        b"import multiprocessing; print(bytes(multiprocessing.current_process().authkey))",
    ],
)
def test_siblings_share_no_secrets(parent: forking.Parent, work: Path, source: bytes) -> None:
    first, second = (parent.run_source(source, work, parent.environment) for _ in range(2))
    assert first.status == second.status == 0
    assert first.stdout != second.stdout


def test_a_run_leaves_the_parent_as_it_was(parent: forking.Parent, work: Path) -> None:
    parent.run_source(b"import json, sys\njson.x = 1\nsys.y = 2\n", work, parent.environment)
    ended = parent.run_source(
        b"import json, sys\nprint(hasattr(json, 'x'), hasattr(sys, 'y'))", work, parent.environment
    )
    assert ended.stdout == b"False False\n"
