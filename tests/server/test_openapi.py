"""The OpenAPI document against the routes it is made of; the table of endpoints against the protocol's description."""

import ast
import inspect
import re
import textwrap
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Server
from tests.server.client import Api
from tidepool.server import openapi, operations
from tidepool.server.app import routes
from tidepool.wire import protocol
from tidepool.wire.protocol import Endpoint, endpoints, shape

EVERY = list(openapi.served(routes()))
DESCRIPTION = Path(__file__).parents[2] / "../shared/daytona-wire.md"
_ROW = re.compile(
    r"\| \w+ \| (?P<method>[A-Z]+) \| `(?P<path>[^`]+)` \| (?P<query>[^|]*) \| [^|]* \| (?P<success>[^|]*) \|"
)


def described(text: str, area: str) -> dict[tuple[str, str, str], tuple[tuple[int, ...], tuple[str, ...]]]:
    """Endpoints in the tables of the description: success statuses and names of query parameters."""
    found = {}
    for row in _ROW.finditer(text):
        statuses = tuple(map(int, re.findall(r"\b\d{3}\b", row["success"]))) or (204,)
        query = tuple(name.strip() for name in row["query"].split(",") if name.strip())
        found[area, row["method"], row["path"]] = (statuses, query)
    return found


@pytest.fixture(scope="module")
def description() -> str:
    """The protocol's description."""
    if not DESCRIPTION.is_file():
        pytest.skip("the protocol's description is not beside the project")
    return DESCRIPTION.read_text()


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """The document."""
    return openapi.document(routes())


def test_the_table_of_endpoints_is_the_descriptions(description: str) -> None:
    start, middle, end = (description.index(f"## Appendix {letter}") for letter in "ABC")
    toolbox, _, older = description[middle:end].partition("Control endpoints that 0.110.1's client knows")
    expected = {
        **described(older, "control"),
        **described(description[start:middle], "control"),
        **described(toolbox, "toolbox"),
    }
    ours = {
        (one.area, one.method, one.path): (one.statuses, one.query)
        for one in endpoints()
        if not (one.is_older and one.area == "toolbox")  # those stand in a sentence there
    }
    assert len(expected) > 280
    assert ours == expected


def test_every_route_is_in_the_document(document: dict[str, Any]) -> None:
    assert len(EVERY) > 100
    missing = [one for one in EVERY if one.method.lower() not in document["paths"].get(one.path, {})]
    assert missing == []
    operation_ids = [item["operationId"] for path in document["paths"].values() for item in path.values()]
    assert len(operation_ids) == len(set(operation_ids))


def test_every_route_is_declared() -> None:
    silent = {f"{one.method} {one.below}" for one in EVERY if openapi.row_of(one) is None}
    assert not silent, f"declare in tidepool/server/operations.py: {sorted(silent)}"


def test_every_row_has_a_route() -> None:
    have = {one.key for one in EVERY}
    tables = {"control": operations.CONTROL, "toolbox": operations.TOOLBOX, "root": operations.ROOT}
    rows = {(area, method, shape(path)) for area, table in tables.items() for method, path in table}
    assert rows - have == set()


def test_success_statuses_and_parameters_are_the_protocols(document: dict[str, Any]) -> None:
    known = {endpoint.shape: endpoint for endpoint in reversed(endpoints())}
    wrong = []
    for one in EVERY:
        endpoint, item = known.get(one.key), document["paths"][one.path][one.method.lower()]
        [status] = (int(code) for code in item["responses"] if code != "default")
        names = {part["name"] for part in item["parameters"] if part["in"] == "query"}
        if endpoint and (status not in endpoint.statuses or not set(endpoint.query) <= names):
            wrong.append((one.method, one.below, status, sorted(names)))
    assert wrong == []


def read_models(handler: Any) -> set[str]:
    """Names of the models a handler reads its body as."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(handler))))
    return {
        ast.unparse(node.args[1]).rpartition(".")[2]
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "read_json"
    }


def test_request_models_are_those_that_handlers_read() -> None:
    wrong = []
    for one in EVERY:
        row = openapi.row_of(one)
        read = read_models(one.handler)
        declared = {row.request.__name__} if row is not None and row.request is not None else set()
        if row is not None and read != declared:
            wrong.append((one.method, one.below, read, declared))
    assert wrong == []


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    def references(node: Any) -> set[str]:
        if isinstance(node, dict):
            own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
            return own.union(*map(references, node.values()))
        return set().union(*map(references, node)) if isinstance(node, list) else set()

    found = references(document)
    assert found
    assert found <= {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}


def test_every_operation_says_what_it_is_for(document: dict[str, Any]) -> None:
    items = [(path, item) for path, methods in document["paths"].items() for item in methods.values()]
    assert [path for path, item in items if len(item["summary"]) < 4 or "`" in item["summary"]] == []


def test_it_is_served_without_a_key_and_is_this_document(server: Server, document: dict[str, Any]) -> None:
    api = Api(server.url, None, "")
    answer = api.call("GET", "/openapi.json")
    api.close()
    assert answer.status == 200
    assert answer.json["paths"].keys() == document["paths"].keys()
    assert answer.json["paths"]["/api/health"]["get"]["security"] == []


def test_words_of_a_route() -> None:
    def handler() -> None:
        """`GET /x` (ours): the newest
        output. And more."""

    one = openapi.Served("GET", "/api/x", "control", "/x", handler)
    assert openapi.words(one, None) == ("The newest output", "The newest output. And more.")
    endpoint = Endpoint("control", "GET", "/x", (200,), (), "Read it", is_older=False)
    assert openapi.words(one, endpoint)[0] == "Read it"


def test_shapes() -> None:
    assert shape("/a/{b}/{c:path}/d") == "/a/{}/{}/d"
    assert protocol.endpoints()[0].shape == ("control", "GET", "/api-keys")
