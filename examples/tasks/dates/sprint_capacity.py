"""A team of 5 works every weekday from 2024-09-02 up to but not including 2024-09-27, six focused
hours a day each. How many focused hours does the team have?"""

from datetime import date, timedelta

first = date.fromisoformat("2024-09-02")
last = date.fromisoformat("2024-09-27")

weekdays = 0
day = first
while day < last:
    if day.weekday() < 5:
        weekdays += 1
    day += timedelta(days=1)

team = 5
hours = weekdays * team * 6
print(hours)
