"""Pages weigh 310, 95, 1200, 240, 180, 2050, 400 and 330 kB. What is the 25th percentile and the 75th
by nearest rank, and their distance?"""

import math


def solution():
    pages = [310, 95, 1200, 240, 180, 2050, 400, 330]
    found = []
    for share in (25, 75):
        sizes = sorted(pages)
        rank = math.ceil(share / 100 * len(sizes))
        found.append(sizes[rank - 1])
    return found


low, high = solution()
print(low, high, high - low)
