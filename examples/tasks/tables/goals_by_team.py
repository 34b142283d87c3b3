"""Results of a tournament, one line per team and match: owls,3 bears,1 owls,0 foxes,2 bears,4 foxes,2
owls,2. Print the teams by goals, most first, ties by name, with the difference to the leader."""

scores = """team,goals
owls,3
bears,1
owls,0
foxes,2
bears,4
foxes,2
owls,2"""


def table_of(text):
    lines = text.strip().splitlines()
    names = lines[0].split(",")
    return [dict(zip(names, line.split(","), strict=True)) for line in lines[1:]]


goals = {}
for match in table_of(scores):
    team = match["team"]
    goals[team] = goals.get(team, 0) + int(match["goals"])
order = sorted(goals.items(), key=lambda pair: (-pair[1], pair[0]))
for team, scored in order:
    print(team, scored, order[0][1] - scored)
