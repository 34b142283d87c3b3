"""Which user acted most often? "2024-02-02 ana login", "2024-02-02 bo upload", "2024-02-03 ana upload",
"2024-02-03 cy login", "2024-02-04 ana logout"."""

import re

events = """2024-02-02 ana login
2024-02-02 bo upload
2024-02-03 ana upload
2024-02-03 cy login
2024-02-04 ana logout"""

actions = {}
for event in events.splitlines():
    fit = re.match(r"(\S+) (\w+) (\w+)", event)
    if fit:
        user = fit.group(2)
        actions[user] = actions.get(user, 0) + 1
most = max(actions, key=actions.get)
print(most, actions[most])
