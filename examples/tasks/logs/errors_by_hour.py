"""In which hour do most lines occur, and how many? 2024-06-11 09:12:44 ERROR timeout / 09:47:01 ERROR
timeout / 10:02:13 ERROR refused / 10:05:59 ERROR timeout / 10:31:00 ERROR reset"""

import re

journal = """2024-06-11 09:12:44 ERROR timeout
2024-06-11 09:47:01 ERROR timeout
2024-06-11 10:02:13 ERROR refused
2024-06-11 10:05:59 ERROR timeout
2024-06-11 10:31:00 ERROR reset"""

per_hour = {}
for entry in journal.splitlines():
    found = re.match(r"(\S+) (\d\d):(\S+) (\w+)", entry)
    if found:
        hour = found.group(2)
        per_hour[hour] = per_hour.get(hour, 0) + 1
peak = max(per_hour, key=per_hour.get)
print(peak, per_hour[peak])
