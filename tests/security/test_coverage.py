"""That the list of probes has no gap: each number once, each with a test that exists or a reason, and told in docs."""

import ast
from pathlib import Path

import pytest

from tests.security.coverage import GROUPS, PAGE, PROBES, Probe

ROOT = Path(__file__).parents[2]
COUNT = 98


def test_every_number_is_there_once() -> None:
    assert list(PROBES) == list(range(1, COUNT + 1))
    assert sum(len(group) for group in GROUPS.values()) == COUNT


@pytest.mark.parametrize("number", PROBES)
def test_every_probe_names_tests_that_exist_or_a_reason(number: int) -> None:
    assert missing(PROBES[number]) == []


def missing(probe: Probe) -> list[str]:
    """What it names that is not there."""
    if not probe.tests:
        return [] if probe.note else ["a test or a reason"]
    return [one for one in probe.ids if not exists(*one.split("::"))]


def exists(path: str, name: str) -> bool:
    """Whether a file defines a test of this name."""
    file = ROOT / path
    if not (name.startswith("test_") and file.is_file()):
        return False
    return name in {
        node.name for node in ast.parse(file.read_text()).body if isinstance(node, ast.FunctionDef)
    }


def test_what_does_not_exist_is_found() -> None:
    assert missing(Probe("x", ("test_probes.py::test_of_nothing",))) == [
        "tests/security/test_probes.py::test_of_nothing"
    ]
    assert missing(Probe("x", ("tests/no/such.py::test_x",))) == ["tests/no/such.py::test_x"]
    assert missing(Probe("x")) == ["a test or a reason"]
    assert missing(Probe("x", note="cannot be tried here")) == []


def test_the_page_is_this_table() -> None:
    from tests.security import coverage

    assert PAGE.read_text() == coverage.page(), "run `python -m tests.security.coverage`"
