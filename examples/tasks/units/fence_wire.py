"""A fence needs "220 yd" of wire on one side and "95.5 m" on the other; rolls hold "150 ft" (1 ft = 0.3048 m,
1 yd = 0.9144 m). How many rolls must be bought?"""

import math

table = {"m": 1.0, "ft": 0.3048, "yd": 0.9144}
sides = ["220 yd", "95.5 m"]
length = 0.0
for side in sides:
    figure, symbol = side.split()
    length += float(figure) * table[symbol]
roll = "150 ft"
figure, symbol = roll.split()
rolls = math.ceil(length / (float(figure) * table[symbol]))
print(rolls)
