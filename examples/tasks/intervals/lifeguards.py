"""Lifeguards stand at the pool 8-12, 11-15, 16-19 and 18-20 o'clock. The pool is open 8-20. During
which hours is nobody there?"""

from itertools import pairwise

shifts = [(16, 19), (8, 12), (18, 20), (11, 15)]
shifts.sort()
blocks = [list(shifts[0])]
for on, off in shifts[1:]:
    if on <= blocks[-1][1]:
        blocks[-1][1] = max(blocks[-1][1], off)
    else:
        blocks.append([on, off])
gaps = []
for before, after in pairwise(blocks):
    gaps.append((before[1], after[0]))
print(gaps)
