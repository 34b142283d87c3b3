"""Which host tried to log in most often without success?
May 3 sshd failed ana from 10.1.1.8 / May 3 sshd failed root from 10.9.9.1 / May 3 sshd ok bo from 10.1.1.3 /
May 4 sshd failed root from 10.9.9.1"""

import re

auth = """May 3 sshd failed ana from 10.1.1.8
May 3 sshd failed root from 10.9.9.1
May 3 sshd ok bo from 10.1.1.3
May 4 sshd failed root from 10.9.9.1"""

hosts = {}
for record in auth.splitlines():
    m = re.match(r"\w+ \d+ sshd failed (\w+) from (\S+)", record)
    if m:
        host = m.group(2)
        hosts[host] = hosts.get(host, 0) + 1
suspect = max(hosts, key=hosts.get)
print(f"{suspect} failed {hosts[suspect]} times")
