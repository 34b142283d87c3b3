"""A nurse worked 06:45-14:15 on Monday, 13:30-21:00 on Tuesday and 07:00-12:20 on Thursday at 31.20 an
hour. What did she earn?"""

shifts = ["06:45-14:15", "13:30-21:00", "07:00-12:20"]
minutes = 0
for shift in shifts:
    first, last = shift.split("-")
    fh, fm = first.split(":")
    lh, lm = last.split(":")
    minutes += (int(lh) * 60 + int(lm)) - (int(fh) * 60 + int(fm))
print(f"{minutes / 60 * 31.20:.2f}")
