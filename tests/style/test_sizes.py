"""House measures of the source: sizes of files and functions, and what every public thing must say of itself.

A ceiling is raised only by a decision record in docs/decisions.
"""

import ast
from statistics import median

import pytest

from tests.style.source import (
    ROOT,
    body_length,
    code_lines,
    definitions,
    functions,
    is_public,
    parameters,
    parsed,
    python_files,
)

FILE_LINES = 500
FUNCTION_LINES = 60
MEDIAN_FUNCTION_LINES = 8
PARAMETERS = 7
ENGINE_LINES = 10000


@pytest.mark.parametrize("top", ["src", "tests", "scripts", "benchmarks", "examples"])
def test_files_are_short(top: str) -> None:
    lengths = {str(file.relative_to(ROOT)): len(file.read_text().splitlines()) for file in python_files(top)}
    assert {name: lines for name, lines in lengths.items() if lines > FILE_LINES} == {}


@pytest.mark.parametrize("top", ["src", "tests", "scripts", "benchmarks"])
def test_functions_are_short(top: str) -> None:
    assert {
        where: body_length(node) for where, node in functions(top) if body_length(node) > FUNCTION_LINES
    } == {}


def test_the_median_function_is_small() -> None:
    assert median(body_length(node) for _, node in functions("src")) <= MEDIAN_FUNCTION_LINES


def test_functions_take_few_parameters() -> None:
    assert {
        where: parameters(node) for where, node in functions("src") if parameters(node) > PARAMETERS
    } == {}


def test_the_engine_can_be_read_in_a_day() -> None:
    # Code alone: what explains it makes reading shorter, not longer (docs/decisions).
    assert sum(code_lines(file.read_text()) for file in python_files("src/tidepool/engine")) <= ENGINE_LINES


def test_every_public_thing_says_what_it_is() -> None:
    everything = (one for file in python_files("src") for one in definitions(file))
    silent = [one.where for one in everything if is_public(one) and not ast.get_docstring(one.node)]
    assert not silent, "\n".join(silent)


def test_every_module_says_what_lives_in_it() -> None:
    files = [
        file for file in python_files("src", "tests", "scripts", "benchmarks") if file.read_text().strip()
    ]
    assert [str(file.relative_to(ROOT)) for file in files if not ast.get_docstring(parsed(file))] == []
