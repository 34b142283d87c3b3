"""Jobs ran on a machine at seconds 0-40, 35-80, 200-260, 250-251, 300-420 of a log of 600 s. What is
the machine's load in percent, and how long was the longest idle time inside the log?"""

jobs = [(0, 40), (35, 80), (200, 260), (250, 251), (300, 420)]
window = 600


def solution():
    timeline = sorted(jobs)
    busy = [list(timeline[0])]
    for a, b in timeline[1:]:
        if a <= busy[-1][1]:
            busy[-1][1] = max(busy[-1][1], b)
        else:
            busy.append([a, b])
    load = sum(end - start for start, end in busy)
    edges = [0] + [edge for pair in busy for edge in pair] + [window]
    idle = max(edges[i + 1] - edges[i] for i in range(0, len(edges), 2))
    return round(100 * load / window, 1), idle


print(*solution())
