"""Support tickets were opened and closed on these days: A 2024-01-04/2024-01-15, B 2024-01-08/2024-01-09,
C 2024-01-12/2024-01-30, D 2024-01-19/2024-01-22. Measured in working days from the opening day up to
(not including) the closing day, which ticket took longest, and what is the mean?"""

from datetime import date, timedelta

tickets = {
    "A": ("2024-01-04", "2024-01-15"),
    "B": ("2024-01-08", "2024-01-09"),
    "C": ("2024-01-12", "2024-01-30"),
    "D": ("2024-01-19", "2024-01-22"),
}
taken = {}
for name, (opened, closed) in tickets.items():
    today = date.fromisoformat(opened)
    end = date.fromisoformat(closed)
    n = 0
    while today < end:
        if today.weekday() < 5:
            n += 1
        today += timedelta(days=1)
    taken[name] = n
worst = max(taken, key=taken.get)
print(worst, taken[worst])
print(round(sum(taken.values()) / len(taken), 2))
