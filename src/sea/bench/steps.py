"""M11: how many steps macros take off tool-calling conversations of tasks they were not found in."""

import gzip
import json
from collections.abc import Callable, Iterator

from sea.bench.rows import Row, Setting
from sea.macros import LEAST_BOUND, ceiling, conversation, cover, mine
from sea.score import side

FILE = "gpt-4o-airline.jsonl.gz"
_STEPS = 2.2


def rows(setting: Setting, say: Callable[[str], None]) -> Iterator[Row]:
    """Calls per step, and the share of arguments that follow the data."""
    say("M11: tool-calling conversations")
    with gzip.open(setting.file(FILE), "rt") as lines:
        found = [conversation(json.loads(line)) for line in lines]
    test = [one for one in found if side(one.task, setting.seed) == "test"]
    learn = [one for one in found if side(one.task, setting.seed) != "test"]
    covered = cover(test, mine(learn))
    strict = cover(test, mine(learn, most=1), passed=1)
    met = covered.compression >= _STEPS and covered.bound >= LEAST_BOUND
    text = (
        f"{covered.compression:.2f}, {covered.bound:.0%} bound (one place an argument, each one passed a step more:"
        f" {strict.strict:.2f}; at most {ceiling(test, learn):.2f} can be)"
    )
    yield Row("M11", "tau_airline", text, "2.08, names only", ">= 2.2, >= 90 % bound", met)
