"""Road works close kilometres 12-18, 3-7, 16-21, 30-31 and 6-9 of a road. Which stretches are closed,
and how many kilometres in all?"""

closures = [(12, 18), (3, 7), (16, 21), (30, 31), (6, 9)]
ordered = sorted(closures)
stretches = [list(ordered[0])]
for start, stop in ordered[1:]:
    if start <= stretches[-1][1]:
        stretches[-1][1] = max(stretches[-1][1], stop)
    else:
        stretches.append([start, stop])
print(stretches)
print(sum(end - begin for begin, end in stretches))
