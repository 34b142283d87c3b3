"""A temporary worker earns 148.50 per working day. She started on 2024-10-07 and her first day off
was 2024-11-06 (she was paid for every Monday to Friday before it). What did she earn?"""

from datetime import date, timedelta


def working_days(begin, stop):
    d = begin
    total = 0
    while d < stop:
        if d.weekday() < 5:
            total += 1
        d += timedelta(days=1)
    return total


start = date.fromisoformat("2024-10-07")
end = date.fromisoformat("2024-11-06")
rate = 148.50
print(f"{working_days(start, end) * rate:.2f}")
