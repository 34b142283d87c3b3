"""Nightly builds took these minutes: 31 29 35 28 90 33 30 32 31 29 34 30. What is the 75th percentile
by nearest rank, and how many builds were slower than that?"""

import math

builds = [31, 29, 35, 28, 90, 33, 30, 32, 31, 29, 34, 30]
in_order = sorted(builds)
place = math.ceil(75 / 100 * len(in_order))
limit = in_order[place - 1]
slower = sum(1 for build in builds if build > limit)
print(limit, slower)
