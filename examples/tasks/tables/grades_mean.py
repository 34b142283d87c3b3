"""Marks of a class, separated by bars: pupil, subject, mark. Compute each pupil's mean mark with two
decimals, best first (low is good, ties by name): Ida maths 2, Ida music 1, Tom maths 3, Tom music 2,
Eva maths 1, Eva art 2."""

marks = """pupil|subject|mark
Ida|maths|2
Ida|music|1
Tom|maths|3
Tom|music|2
Eva|maths|1
Eva|art|2"""

rows = marks.strip().splitlines()
names = rows[0].split("|")
cells = [dict(zip(names, row.split("|"), strict=True)) for row in rows[1:]]
total, count = {}, {}
for cell in cells:
    who = cell["pupil"]
    total[who] = total.get(who, 0) + int(cell["mark"])
    count[who] = count.get(who, 0) + 1
means = {who: total[who] / count[who] for who in total}
for who, mean in sorted(means.items(), key=lambda kv: (kv[1], kv[0])):
    print(who, f"{mean:.2f}")
