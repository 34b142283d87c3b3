"""A room is booked 09:00-10:30, 10:15-11:00, 13:00-14:00 and 13:30-15:45. For how many minutes is it in
use?"""

bookings = ["09:00-10:30", "10:15-11:00", "13:00-14:00", "13:30-15:45"]
spans = []
for booking in bookings:
    begin, end = booking.split("-")
    h1, m1 = begin.split(":")
    h2, m2 = end.split(":")
    spans.append((int(h1) * 60 + int(m1), int(h2) * 60 + int(m2)))
spans.sort()
merged = [list(spans[0])]
for low, high in spans[1:]:
    if low <= merged[-1][1]:
        merged[-1][1] = max(merged[-1][1], high)
    else:
        merged.append([low, high])
print(sum(b - a for a, b in merged))
