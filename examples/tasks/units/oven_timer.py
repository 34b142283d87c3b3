"""An oven needs 35 s per degree below 200 and then bakes for 2,700 s. It is at 64 degrees. When, as
hh:mm:ss from now, is the bread ready, and how much of it is heating?"""

heating = (200 - 64) * 35
whole = heating + 2700
for seconds in (whole, heating):
    h, over = divmod(seconds, 3600)
    m, s = divmod(over, 60)
    print(f"{h:02d}:{m:02d}:{s:02d}")
