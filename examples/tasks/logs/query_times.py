"""A database log says "took=12ms", "took=7ms", "took=45ms", "took=9ms", "took=30ms", "took=11ms". Is
the 90th percentile (nearest rank) below the limit of 40 ms?"""

import math
import re

lines = ["took=12ms", "took=7ms", "took=45ms", "took=9ms", "took=30ms", "took=11ms"]
times = []
for line in lines:
    hit = re.search(r"took=(\d+)ms", line)
    if hit:
        times.append(int(hit.group(1)))
ordered = sorted(times)
position = math.ceil(90 / 100 * len(ordered))
p90 = ordered[position - 1]
print(p90, "below" if p90 < 40 else "not below")
