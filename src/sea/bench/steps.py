"""M11: how many steps macros take off tool-calling conversations of tasks they were not found in."""

import gzip
import json
from collections.abc import Callable, Iterator

from sea.bench.rows import Row, Setting
from sea.macros import conversation, cover, fitting_price, mine
from sea.score import side

FILE = "gpt-4o-airline.jsonl.gz"
_STEPS, _BOUND = 2.2, 0.9


def rows(setting: Setting, say: Callable[[str], None]) -> Iterator[Row]:
    """Calls per step, and the share of arguments that follow the data."""
    say("M11: tool-calling conversations")
    with gzip.open(setting.file(FILE), "rt") as lines:
        found = [conversation(json.loads(line)) for line in lines]
    by = {name: [one for one in found if side(one.task, setting.seed) == name] for name in _SIDES}
    price = fitting_price(by["validation"], mine(by["train"]))
    covered = cover(by["test"], mine([*by["train"], *by["validation"]]), price)
    met = covered.compression >= _STEPS and covered.bound >= _BOUND
    text = f"{covered.compression:.2f}, {covered.bound:.0%} bound"
    yield Row("M11", "tau_airline", text, "2.08, names only", ">= 2.2, >= 90 % bound", met)


_SIDES = ("train", "validation", "test")
