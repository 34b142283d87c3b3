"""Two monitors reported outages, in minutes of the day: one 10-25, 300-320, 900-930, the other 20-40,
310-315, 925-960, 1200-1201. How many minutes was the service down according to at least one monitor?"""

first = [(10, 25), (300, 320), (900, 930)]
second = [(20, 40), (310, 315), (925, 960), (1200, 1201)]
everything = sorted(first + second)
union = [list(everything[0])]
for down, up in everything[1:]:
    if down <= union[-1][1]:
        union[-1][1] = max(union[-1][1], up)
    else:
        union.append([down, up])
print(sum(span[1] - span[0] for span in union))
