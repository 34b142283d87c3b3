"""Films of 6,480, 7,215 and 5,930 seconds are shown with two breaks of 20 minutes. How long does the
night last, and when does it end if it begins at 17:00:00, both as hh:mm:ss?"""

films = [6480, 7215, 5930]
length = sum(films) + 2 * 20 * 60
for moment in (length, 17 * 3600 + length):
    hour, part = divmod(moment, 3600)
    minute, second = divmod(part, 60)
    print(f"{hour:02d}:{minute:02d}:{second:02d}")
