"""Exceptions to answers: every class of the engine has its place, and the bodies are those of the protocol."""

import json
from collections.abc import Iterator

import pytest

from tidepool.engine import errors as engine
from tidepool.server.answers import is_toolbox, refusal
from tidepool.server.errors import TABLE, status_of


def family(kind: type[Exception]) -> Iterator[type[Exception]]:
    yield kind
    for child in kind.__subclasses__():
        yield from family(child)


# Those of other rooms count as the nearest of these, as the last test here shows.
ALL = sorted(
    {kind for kind in family(engine.TidepoolError) if kind.__module__ == engine.__name__},
    key=lambda kind: kind.__name__,
)


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_every_exception_of_the_engine_is_mapped(kind: type[Exception]) -> None:
    assert kind in TABLE


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_whose_fault_it_is_decides_the_status(kind: type[Exception]) -> None:
    status, _ = status_of(kind("why"))
    if issubclass(kind, engine.Refused):
        assert 400 <= status < 500
    elif issubclass(kind, engine.Unavailable):
        assert status == 503
    elif issubclass(kind, engine.NotSaved):
        assert status == 507
    else:
        assert status == 500


def test_a_class_that_is_not_there_yet_counts_as_its_base() -> None:
    class TooLong(engine.InvalidSpec):
        """Not in the table."""

    assert status_of(TooLong("x")) == TABLE[engine.InvalidSpec]
    assert status_of(RuntimeError("x")) == (500, "")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/api/sandbox", False),
        ("/api/sandbox/toolbox", False),
        ("/api/sandbox/x/toolbox-proxy-url", False),
        ("/toolbox", False),
        ("/toolbox/x/files", True),
        ("/api/toolbox/x/toolbox/files", True),
    ],
)
def test_which_api_a_path_belongs_to(path: str, expected: bool) -> None:
    assert is_toolbox(path) is expected
    body = json.loads(bytes(refusal({"path": path, "method": "GET"}, 404, "why").body))
    assert ("source" in body) is expected
    assert body["message"] == "why"
    assert body["timestamp"].endswith("Z")
    assert (body["code"] if expected else body["error"]) == ("NOT_FOUND" if expected else "Not Found")
