"""Generated text: what the specification says, and taken by other tools as it is."""

import ast
import importlib.util
from collections import Counter
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from math import inf

import pytest

from sea import generate
from sea.generate import tool_code
from tests.sea.specs import specification


def test_the_text_has_types_sections_imports_and_body():
    code = tool_code(specification("return math.floor(price)", imports=("import math",)))
    tree = ast.parse(code)
    function = tree.body[-1]
    assert isinstance(function, ast.FunctionDef)
    assert ast.unparse(function.args) == "price: int"
    assert ast.get_docstring(function).splitlines()[0] == "Return the double."
    assert "Args:\n    price: A int value, for example 3." in ast.get_docstring(function)
    assert ast.unparse(function.body[-1]) == "return math.floor(price)"
    assert code.startswith("import math\n")


def test_the_tests_hold_every_recorded_call():
    code = generate.test_code(specification())
    assert "((3,), 6)," in code
    assert "((5,), 10)," in code
    compile(code, "test_tool.py", "exec")


def test_langchain_takes_the_tool_as_it_is(tmp_path):
    tools = pytest.importorskip("langchain_core.tools", reason="langchain_core is not installed")
    (tmp_path / "tool.py").write_text(tool_code(specification()))
    place = importlib.util.spec_from_file_location("generated_tool", tmp_path / "tool.py")
    module = importlib.util.module_from_spec(place)
    place.loader.exec_module(module)
    made = tools.tool(parse_docstring=True)(module.double)
    assert made.invoke({"price": 4}) == 8
    assert made.args["price"]["type"] == "integer"


def test_the_tests_import_what_their_values_need():
    values = (
        Decimal("1.5"),
        Fraction(1, 3),
        date(2024, 2, 1),
        [timedelta(days=2)],
        {"far": inf},
        Counter("aa"),
    )
    code = generate.test_code(specification(calls=tuple(enumerate(values))))
    scope = {"tool": None}
    head = code[: code.index("@pytest")].replace("from tool import double\n", "")
    exec(head, scope)  # our own text
    assert [expected for _, expected in scope["CASES"]] == list(values)


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("int | float", "float"),
        ("int | float | list", "float | list"),
        ("list[dict[str, int]]", "list"),
        ("None | str", "None | str"),
        ("Decimal", "object"),
        ("date | None", "object"),
        ("len", "object"),
    ],
)
def test_types_that_are_not_built_in_are_objects(name, written):
    assert generate.annotation(name) == written
