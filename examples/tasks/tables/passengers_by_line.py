"""Bus counts by line and stop: line 4 / Mill Lane / 31, line 4 / Harbour / 52, line 9 / Harbour / 17,
line 9 / Station / 66, line 12 / Station / 8. Sum passengers by line, then by stop; print both rankings."""

counts = """line,stop,passengers
4,Mill Lane,31
4,Harbour,52
9,Harbour,17
9,Station,66
12,Station,8"""

lines = counts.strip().splitlines()
header = lines[0].split(",")
rows = [dict(zip(header, line.split(","), strict=True)) for line in lines[1:]]
for column in ("line", "stop"):
    tally = {}
    for row in rows:
        tally[row[column]] = tally.get(row[column], 0) + int(row["passengers"])
    order = sorted(tally.items(), key=lambda item: (-item[1], item[0]))
    print(column + ":", ", ".join(f"{name} {number}" for name, number in order))
