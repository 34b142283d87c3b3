"""A workshop needs 3 working days per bicycle and takes them one after the other, beginning on the
first working day after Wednesday 2024-07-03. There are four bicycles. When is each one ready?"""

from datetime import date, timedelta

day = date.fromisoformat("2024-07-03")
ready = []
for _bike in range(4):
    todo = 3
    while todo > 0:
        day += timedelta(days=1)
        if day.weekday() < 5:
            todo -= 1
    ready.append(day.isoformat())
for number, when in enumerate(ready, start=1):
    print(f"bicycle {number}: {when}")
