"""Count the responses per status code: 10.0.0.4 GET /a 200 / 10.0.0.9 GET /b 404 / 10.0.0.4 POST /a 201
/ 10.0.0.7 GET /c 200 / broken line / 10.0.0.9 GET /b 404"""

import re

access = """10.0.0.4 GET /a 200
10.0.0.9 GET /b 404
10.0.0.4 POST /a 201
10.0.0.7 GET /c 200
broken line
10.0.0.9 GET /b 404"""


def count_by_group(text, pattern, group):
    tally = {}
    for line in text.splitlines():
        hit = re.match(pattern, line)
        if hit:
            value = hit.group(group)
            tally[value] = tally.get(value, 0) + 1
    return tally


codes = count_by_group(access, r"(\S+) (\w+) (\S+) (\d+)", 4)
for code in sorted(codes):
    print(code, codes[code])
