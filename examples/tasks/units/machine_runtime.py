"""A machine was on for 5 shifts of 27,340 s and stood still for 9,415 s of that. Its filter lasts 200
hours. How much time is left until the filter is due, as hh:mm:ss?"""

on = 5 * 27340 - 9415
budget = 200 * 3600
remaining = budget - on
whole, tail = divmod(remaining, 3600)
mins, secs = divmod(tail, 60)
text = f"{whole:02d}:{mins:02d}:{secs:02d}"
print(text)
