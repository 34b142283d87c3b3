"""Types are those of the observed values; names come from the traces."""

import ast

import pytest

from sea import patterns
from sea.specify import Example, common_type, draft, specify
from sea.trace import Step, Trace


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ([1, 2], "int"),
        ([1, 2.5], "float | int"),
        ([None, "a"], "None | str"),
        ([True], "bool"),
        ([[1], [2, 3]], "list[int]"),
        ([(1, "a")], "tuple[int | str, ...]"),
        ([{"a": 1.5}], "dict[str, float]"),
        ([[]], "list"),
        ([1, "a", None, 2.5], "object"),
    ],
)
def test_common_type(values, name):
    assert common_type(values) == name


def pattern() -> patterns.Pattern:
    traces = [
        Trace(
            f"id-{n}",
            f"t-{n}",
            "f:1",
            (Step(f"price = {n}\nlimit = {n + 3}\nans = (price * limit - 5) / limit"),),
        )
        for n in range(8)
    ]
    sources = patterns.load(traces)
    return patterns.mine(sources)[0]


def test_names_come_from_the_traces_and_never_clash():
    taken: set[str] = set()
    first, second = draft(pattern(), taken), draft(pattern(), taken)
    assert set(first.parameters) & {"price", "limit"}
    assert len(set(first.parameters)) == len(first.parameters)
    assert first.name != second.name
    assert taken == {first.name, second.name}


def test_examples_make_the_specification():
    drafted = draft(pattern(), set())
    arguments = tuple(range(1, len(drafted.parameters) + 1))
    spec = specify(drafted, [Example(arguments, 1.5, "id-1"), Example(arguments, 1.5, "id-2")])
    shape = spec.as_dict()
    assert [given["type"] for given in shape["input_parameters"]] == ["int"] * len(arguments)
    assert shape["return_type"] == "float"
    assert len(shape["example_calls"]) == 1
    assert shape["example_calls"][0]["expected_output"] == "1.5"


def test_nothing_observed_nothing_specified():
    with pytest.raises(ValueError, match="no call was observed"):
        specify(draft(pattern(), set()), [])


def test_a_tool_imports_what_it_uses_not_what_it_is_given():
    codes = [
        f"from math import sqrt\nn = {n}\nans = [i * i for i in range(2, int(sqrt(n + 9)) + 1)]"
        for n in range(4)
    ]
    codes += [f"from math import sqrt\nn = {n}\nans = [i * i for i in range(2, n * 3 + 1)]" for n in range(4)]
    read = patterns.load(
        Trace(f"{n}", f"{n}", "f:1", (Step(code, answer="0", result_name="ans"),))
        for n, code in enumerate(codes)
    )
    with_it = set()
    for found in patterns.mine(read):
        drafted = draft(found, set())
        uses = any("sqrt" in ast.unparse(stmt) for stmt in drafted.body)
        assert drafted.imports == (("from math import sqrt",) if uses else ()), drafted
        with_it.add(uses)
    assert with_it == {True, False}
