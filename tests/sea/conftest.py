"""Sandboxes for sea, and one run over a small set of traces that several tests look at."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from daytona_sdk import Daytona, DaytonaConfig
from sea.box import Box
from sea.evolve import Funnel, evolve
from sea.library import Library
from tests.conftest import Server

EXAMPLES = Path(__file__).parents[2] / "examples" / "traces"


@pytest.fixture(scope="session")
def box(server: Server) -> Iterator[Box]:
    with Daytona(DaytonaConfig(api_key=server.key, api_url=server.url)) as client:
        yield Box(client)


def records() -> list[dict[str, str]]:
    """Traces of 36 tasks in which three computations recur."""
    found = []
    for n in range(24):
        code = f"price = {n}\ncount = {n * 3 + 1}\nprint((price * count - 5) * (price + 7) // (count + 2))"
        value = (n * (n * 3 + 1) - 5) * (n + 7) // (n * 3 + 3)
        found.append({"task": f"sum {n}", "code": code, "output": str(value)})
    for n in range(12):
        words = [f"w{n}", "Of", "x" * n]
        code = f"words = {words!r}\nfor word in words:\n    print(word.strip().lower().title().center(len(word) + 4))"
        value = "\n".join(word.strip().lower().title().center(len(word) + 4) for word in words)
        found.append({"task": f"words {n}", "code": code, "output": value})
    return found


@pytest.fixture(scope="session")
def traces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of `records`."""
    path = tmp_path_factory.mktemp("traces") / "traces.jsonl"
    path.write_text("\n".join(map(json.dumps, records())))
    return path


@pytest.fixture(scope="session")
def evolved(box: Box, traces: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Funnel, Library]:
    """What these traces become."""
    library = Library(tmp_path_factory.mktemp("evolved") / "tools")
    return evolve([traces], library, box=box), library
