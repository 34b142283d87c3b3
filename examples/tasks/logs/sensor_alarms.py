"""Sensors reported "s1 23.5C ok", "s2 80.1C alarm", "s1 24.0C ok", "s3 79.9C alarm", "noise", "s2 81.4C
alarm". How many reports of each kind were there?"""

import re

reports = """s1 23.5C ok
s2 80.1C alarm
s1 24.0C ok
s3 79.9C alarm
noise
s2 81.4C alarm"""

kinds = {}
for report in reports.splitlines():
    match = re.match(r"(\w+) ([\d.]+)C (\w+)", report)
    if match:
        kind = match.group(3)
        kinds[kind] = kinds.get(kind, 0) + 1
for kind in sorted(kinds):
    print(kind, kinds[kind])
