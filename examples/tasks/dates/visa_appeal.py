"""A visa was refused on Friday 2024-05-17. An appeal may be handed in during the next 14 working days.
Appeals on the last day must be in before noon. What weekday and date is that last day?"""

from datetime import date, timedelta

refused = date.fromisoformat("2024-05-17")
period = 14

deadline = refused
open_days = period
while open_days > 0:
    deadline += timedelta(days=1)
    if deadline.weekday() < 5:
        open_days -= 1

names = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
print(f"{names[deadline.weekday()]} {deadline.isoformat()} before noon")
