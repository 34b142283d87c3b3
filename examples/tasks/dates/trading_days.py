"""How many possible trading days (Monday to Friday, without 2024-12-25 and 2025-01-01) lie in the span
from 2024-12-16 inclusive to 2025-01-13 exclusive, and what is one percent a trading day compounded?"""

from datetime import date, timedelta

closed = [date(2024, 12, 25), date(2025, 1, 1)]


def solution():
    begin = date.fromisoformat("2024-12-16")
    finish = date.fromisoformat("2025-01-13")
    span = [begin + timedelta(days=i) for i in range((finish - begin).days)]
    days = [d for d in span if d.weekday() < 5 and d not in closed]
    growth = 1.01 ** len(days)
    return len(days), round((growth - 1) * 100, 2)


count, percent = solution()
print(f"{count} trading days, {percent} percent")
