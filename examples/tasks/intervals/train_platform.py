"""Trains stand at a platform 07:05-07:20, 07:18-07:40, 08:00-08:10 and 08:10-08:25. List the times at
which the platform is taken, joined where they touch."""

stops = ["07:05-07:20", "07:18-07:40", "08:00-08:10", "08:10-08:25"]
taken = []
for stop in stops:
    arrive, leave = stop.split("-")
    hour, minute = arrive.split(":")
    hour2, minute2 = leave.split(":")
    taken.append((int(hour) * 60 + int(minute), int(hour2) * 60 + int(minute2)))
taken.sort()
joined = [list(taken[0])]
for t0, t1 in taken[1:]:
    if t0 <= joined[-1][1]:
        joined[-1][1] = max(joined[-1][1], t1)
    else:
        joined.append([t0, t1])
for t0, t1 in joined:
    print(f"{t0 // 60:02d}:{t0 % 60:02d}-{t1 // 60:02d}:{t1 % 60:02d}")
