"""A specification made by hand, for the stages behind it."""

import ast
from typing import Any

from sea.specify import Example, Parameter, Specification


def specification(
    body: str = "return price * 2",
    calls: tuple[tuple[int, Any], ...] = ((3, 6), (5, 10)),
    imports: tuple[str, ...] = (),
) -> Specification:
    """`double(price)` with another body, other recorded calls, imports."""
    return Specification(
        name="double",
        description="Return the double.",
        parameters=(Parameter("price", "int", "for example 3"),),
        return_type="int",
        body=tuple(ast.parse(body).body),
        imports=imports,
        examples=tuple(Example((given,), result, "id") for given, result in calls),
        pattern_id="p",
        support=3,
    )
