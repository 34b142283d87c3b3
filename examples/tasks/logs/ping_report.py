"""Two servers answered pings in these milliseconds: alpha 11 14 12 60 13 12 11, beta 20 22 19 21 23 25
20. Compare the 95th percentile (nearest rank) and name the better server."""

import math


def percentile(values, p):
    ascending = sorted(values)
    index = math.ceil(p / 100 * len(ascending))
    return ascending[index - 1]


pings = {"alpha": [11, 14, 12, 60, 13, 12, 11], "beta": [20, 22, 19, 21, 23, 25, 20]}
results = {server: percentile(sample, 95) for server, sample in pings.items()}
print(results)
print(min(results, key=results.get))
