"""Clients of a real server with a real engine, and sandboxes in it that are gone after each test."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.conftest import Server, StateDirs
from tests.server.client import Api
from tests.server.tenants import TwoTenants


@dataclass(frozen=True)
class Box:
    """One sandbox: its description when it was made, and a client of its toolbox."""

    id: str
    described: dict[str, Any]
    toolbox: Api

    def run(self, command: str, **more: Any) -> dict[str, Any]:
        """Run a shell line, which must be answered with 200."""
        answer = self.toolbox.call("POST", "/process/execute", {"command": command, **more})
        assert answer.status == 200, answer.body
        found: dict[str, Any] = answer.json
        return found


@pytest.fixture
def api(server: Server) -> Iterator[Api]:
    """A client of the control API."""
    found = Api(server.url, server.key)
    yield found
    found.close()


@pytest.fixture
def make_box(api: Api) -> Iterator[Callable[..., Box]]:
    """Makes sandboxes; the request's fields are given as they stand on the wire."""
    made: list[Box] = []

    def make(**fields: Any) -> Box:
        answer = api.call("POST", "/sandbox", {"networkBlockAll": True, **fields})
        assert answer.status == 200, answer.body
        found = answer.json
        assert found["toolboxProxyUrl"] == api.url + "/toolbox"
        made.append(Box(found["id"], found, api.at(f"/toolbox/{found['id']}")))
        return made[-1]

    yield make
    for box in made:
        assert api.call("DELETE", f"/sandbox/{box.id}").status in (200, 404)


@pytest.fixture
def box(make_box: Callable[..., Box]) -> Box:
    """A fresh sandbox."""
    return make_box()


@pytest.fixture(scope="session")
def two(state_dirs: StateDirs) -> Iterator[TwoTenants]:
    """A server with two keys in this process."""
    found = TwoTenants(state_dirs.state, state_dirs.runtime)
    yield found
    found.close()
