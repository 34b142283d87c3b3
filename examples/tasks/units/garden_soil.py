"""A raised bed needs "0.8 m3" of soil; in the shed are "150 l" and "12 gal" (3.785411784 l each). Bags
hold 40 l. How many bags must be bought?"""

import math

table = {"l": 1.0, "gal": 3.785411784, "m3": 1000.0}
stored = 0.0
for heap in ["150 l", "12 gal"]:
    amount, measure = heap.split()
    stored += float(amount) * table[measure]
needed = 0.8 * table["m3"]
print(math.ceil((needed - stored) / 40))
