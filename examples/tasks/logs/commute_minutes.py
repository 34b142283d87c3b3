"""Commutes took 34, 29, 41, 30, 38, 33, 65, 31, 36 and 30 minutes. How much time must be planned to be
on time on 8 of 10 days, and on 9 of 10 (nearest rank)?"""

import math

commutes = [34, 29, 41, 30, 38, 33, 65, 31, 36, 30]
for level in (80, 90):
    by_length = sorted(commutes)
    step = math.ceil(level / 100 * len(by_length))
    print(level, by_length[step - 1])
