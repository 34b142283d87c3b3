"""Cron wrote: "backup: done in 41s", "mail: failed in 3s", "index: done in 12s", "backup: done in 44s",
"mail: done in 2s". How many jobs had each outcome, and what was the median duration (nearest rank)?"""

import math
import re

cron = """backup: done in 41s
mail: failed in 3s
index: done in 12s
backup: done in 44s
mail: done in 2s"""


def solution():
    outcomes = {}
    seconds = []
    for row in cron.splitlines():
        match = re.match(r"(\w+): (\w+) in (\d+)s", row)
        if match:
            outcome = match.group(2)
            outcomes[outcome] = outcomes.get(outcome, 0) + 1
            seconds.append(int(match.group(3)))
    rising = sorted(seconds)
    spot = math.ceil(50 / 100 * len(rising))
    return outcomes, rising[spot - 1]


outcomes, median = solution()
print(sorted(outcomes.items()))
print(median)
