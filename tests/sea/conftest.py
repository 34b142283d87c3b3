"""Sandboxes for sea, and one run over the shipped examples that several tests look at."""

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


@pytest.fixture(scope="session")
def evolved(box: Box, tmp_path_factory: pytest.TempPathFactory) -> tuple[Funnel, Library]:
    """What the shipped examples become."""
    library = Library(tmp_path_factory.mktemp("evolved") / "tools")
    return evolve([EXAMPLES], library, box=box), library
