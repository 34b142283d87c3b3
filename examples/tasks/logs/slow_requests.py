"""Requests took 120, 85, 240, 310, 95, 130, 2200, 180, 75 and 140 ms. What are the 50th, 90th and 99th
percentile by the nearest-rank rule?"""

import math

durations = [120, 85, 240, 310, 95, 130, 2200, 180, 75, 140]
ranked = sorted(durations)
for percent in (50, 90, 99):
    rank = math.ceil(percent / 100 * len(ranked))
    print(f"p{percent}", ranked[rank - 1])
