"""An exam is on 2025-06-18. A student starts on 2025-05-05 and reads 14 pages every weekday before the
exam and 30 pages on Saturdays, nothing on Sundays. Can she finish a book of 640 pages, and with how
many pages to spare?"""

from datetime import date, timedelta

exam = date.fromisoformat("2025-06-18")
begin = date.fromisoformat("2025-05-05")

weekdays = 0
saturdays = 0
day = begin
while day < exam:
    if day.weekday() < 5:
        weekdays += 1
    elif day.weekday() == 5:
        saturdays += 1
    day += timedelta(days=1)
pages = weekdays * 14 + saturdays * 30
print("yes" if pages >= 640 else "no", pages - 640)
