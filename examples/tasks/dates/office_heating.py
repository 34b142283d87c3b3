"""An office is heated on working days from 2024-11-04 to before 2024-12-23, for 11 hours a day at 6.4
kW. How many kWh are needed, and what do they cost at 0.31 each?"""

from datetime import date, timedelta


def solution():
    start = date.fromisoformat("2024-11-04")
    stop = date.fromisoformat("2024-12-23")
    heated = 0
    current = start
    while current < stop:
        if current.weekday() < 5:
            heated += 1
        current += timedelta(days=1)
    energy = heated * 11 * 6.4
    return energy, energy * 0.31


energy, cost = solution()
print(f"{energy:.1f} kWh, {cost:.2f}")
