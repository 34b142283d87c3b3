"""Tables and quantities for a person's eyes."""

from datetime import UTC, datetime, timedelta

import pytest

from tidepool.cli import output

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_columns_are_aligned_and_lines_have_no_trailing_blanks() -> None:
    text = output.table(("ID", "NAME"), [("a", "x"), ("long", "")])
    assert text == "ID    NAME\na     x\nlong"


def test_a_table_without_rows_is_its_header() -> None:
    assert output.table(("ID", "NAME"), []) == "ID  NAME"


def test_escape_sequences_in_a_name_do_not_reach_the_terminal() -> None:
    assert "\x1b" not in output.table(("NAME",), [("\x1b[2Jgone\n",)])


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (59, "59s"), (60, "1m"), (3599, "59m"), (7200, "2h"), (90000, "1d"), (-5, "0s")],
)
def test_ages_are_whole_units(seconds: int, text: str) -> None:
    assert output.age(NOW - timedelta(seconds=seconds), NOW) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0B"),
        (1023, "1023B"),
        (1024, "1KiB"),
        (512 << 20, "512MiB"),
        (1 << 30, "1GiB"),
        (3 << 29, "1.5GiB"),
    ],
)
def test_sizes_are_in_the_largest_unit(count: int, text: str) -> None:
    assert output.size(count) == text
