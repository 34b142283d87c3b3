"""A museum pass bought on 2025-03-03 is valid for opening days (Monday to Friday) only, up to but not
including 2025-04-14. A visit without the pass costs 9. From how many visits on does a pass of 105 pay,
and are there enough opening days for that?"""

import math
from datetime import date, timedelta

bought = date.fromisoformat("2025-03-03")
ends = date.fromisoformat("2025-04-14")
opening = 0
day = bought
while day < ends:
    if day.weekday() < 5:
        opening += 1
    day += timedelta(days=1)
visits = math.ceil(105 / 9)
print(visits, "enough" if visits <= opening else "too few", opening)
