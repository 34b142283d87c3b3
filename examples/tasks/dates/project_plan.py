"""A project has the phases design 8, build 15 and test 5 working days (Monday to Friday). Each begins
on the working day after the one before; design counts from Monday 2025-02-10 on, exclusive. On which
dates does each phase end?"""

from datetime import date, timedelta

phases = [("design", 8), ("build", 15), ("test", 5)]
point = date.fromisoformat("2025-02-10")
for phase, needed in phases:
    open_days = needed
    while open_days > 0:
        point += timedelta(days=1)
        if point.weekday() < 5:
            open_days -= 1
    print(phase, point.isoformat())
