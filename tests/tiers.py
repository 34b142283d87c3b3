"""What of a table belongs to the default tier of tests; the rest is `thorough` (CONTRIBUTING.md)."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest


def thorough_after(count: int, rows: Sequence[Any] | Mapping[str, Any]) -> list[Any]:
    """Rows for `parametrize`, all but the first so many marked as thorough; a tuple is a row of several names."""
    marked = [
        pytest.param(*(row if isinstance(row, tuple) else [row]), marks=pytest.mark.thorough) for row in rows
    ]
    return [row if place < count else marked[place] for place, row in enumerate(rows)]
