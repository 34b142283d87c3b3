"""Calls lasted 10:02-10:31, 10:15-10:20, 10:40-11:05 and 11:05-11:09. Between which minutes was at
least one line busy, and what share of the 90 minutes from 10:00 on was that (percent, one decimal)?"""

calls = ["10:02-10:31", "10:15-10:20", "10:40-11:05", "11:05-11:09"]
busy = []
for call in calls:
    rang, ended = call.split("-")
    rh, rm = rang.split(":")
    eh, em = ended.split(":")
    busy.append((int(rh) * 60 + int(rm), int(eh) * 60 + int(em)))
busy.sort()
lines = [list(busy[0])]
for low, high in busy[1:]:
    if low <= lines[-1][1]:
        lines[-1][1] = max(lines[-1][1], high)
    else:
        lines.append([low, high])
print([f"{a - 600}-{b - 600}" for a, b in lines])
print(f"{100 * sum(b - a for a, b in lines) / 90:.1f}%")
