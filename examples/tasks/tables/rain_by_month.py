"""Rain gauge readings: 2024-01-05,12 2024-01-19,8 2024-02-02,21 2024-02-27,4 2024-03-08,17 2024-03-30,1
(date, millimetres). Give the rain of each month in order, and the wettest month."""

csv_text = """date,mm
2024-01-05,12
2024-01-19,8
2024-02-02,21
2024-02-27,4
2024-03-08,17
2024-03-30,1"""


def read_table(source):
    lines = source.strip().splitlines()
    names = lines[0].split(",")
    return [dict(zip(names, line.split(","), strict=True)) for line in lines[1:]]


months = {}
for reading in read_table(csv_text):
    month = reading["date"][:7]
    months[month] = months.get(month, 0) + int(reading["mm"])
for month, rain in sorted(months.items()):
    print(month, rain)
print("wettest:", max(months, key=months.get))
