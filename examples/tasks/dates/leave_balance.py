"""An employee has 24 days of leave. He was away from 2024-04-22 until he came back on 2024-05-03 and
again from 2024-08-12 until he came back on 2024-08-26. Only Mondays to Fridays are charged, and the
public holiday 2024-05-01 is not charged. How many days of leave are left?"""

from datetime import date, timedelta

holidays = {"2024-05-01"}
trips = [("2024-04-22", "2024-05-03"), ("2024-08-12", "2024-08-26")]
balance = 24
for away, back in trips:
    cursor = date.fromisoformat(away)
    until = date.fromisoformat(back)
    charged = 0
    while cursor < until:
        if cursor.weekday() < 5 and cursor.isoformat() not in holidays:
            charged += 1
        cursor += timedelta(days=1)
    balance -= charged
print(balance)
