"""An online shop promises delivery six working days (Monday to Friday) after the order day.
An order came in on 2024-03-14. On which date must the parcel arrive at the latest?"""

from datetime import date, timedelta

ordered = date.fromisoformat("2024-03-14")
left = 6
arrival = ordered
while left > 0:
    arrival += timedelta(days=1)
    if arrival.weekday() < 5:
        left -= 1
print(arrival.isoformat())
