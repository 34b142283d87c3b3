"""What counts as a difference between a program and its rewrite."""

import pytest

from sea.box import Box, Job
from sea.driver import LATE
from sea.score import run_patiently

BUSY = "import time\nwhile time.process_time() < {}:\n    pass\nprint(1)"


@pytest.mark.thorough
def test_one_of_two_that_is_late_alone_is_given_more_time_and_two_that_are_late_are_not(box: Box) -> None:
    quick, slow, endless = (Job(text, limit_s=1) for text in ("print(1)", BUSY.format(2), BUSY.format(60)))
    found = run_patiently([[quick, quick, slow, slow, quick, endless, endless], [slow]], box)
    assert [[ran.output or ran.error for ran in group] for group in found] == [
        ["1\n", "1\n", "1\n", "1\n", "1\n", LATE, LATE],
        ["1\n"],
    ]
    assert [
        [ran.output or ran.error for ran in group] for group in run_patiently([[quick, quick, endless]], box)
    ] == [["1\n", "1\n", LATE]]
