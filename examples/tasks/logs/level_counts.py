"""How many lines of each level does this log hold? 2024-05-01 08:00:01 INFO start / 08:00:02 WARN disk
81% / 08:00:09 ERROR no route / 08:01:00 INFO retry / 08:01:03 ERROR no route"""

import re

log = """2024-05-01 08:00:01 INFO start
2024-05-01 08:00:02 WARN disk 81%
2024-05-01 08:00:09 ERROR no route
2024-05-01 08:01:00 INFO retry
2024-05-01 08:01:03 ERROR no route"""

levels = {}
for line in log.splitlines():
    match = re.match(r"(\S+) (\S+) (\w+) (.*)", line)
    if match:
        level = match.group(3)
        levels[level] = levels.get(level, 0) + 1
for level in sorted(levels):
    print(level, levels[level])
