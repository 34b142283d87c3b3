"""Three invoices were written on 2023-12-21, 2024-01-31 and 2024-02-23. Each must be paid within
ten working days (weekends do not count). Print the due date of each, one per line."""

from datetime import date, timedelta


def add_working_days(start, count):
    current = start
    remaining = count
    while remaining > 0:
        current += timedelta(days=1)
        if current.weekday() < 5:
            remaining -= 1
    return current


for written in ["2023-12-21", "2024-01-31", "2024-02-23"]:
    due = add_working_days(date.fromisoformat(written), 10)
    print(written, "->", due.isoformat())
