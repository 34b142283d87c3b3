"""Sales records (region, product, units):
north,lamp,14 / south,lamp,9 / north,desk,3 / east,chair,22 / south,desk,7 / north,chair,5.
How many units did each region sell? Print the regions in alphabetical order."""

text = """region,product,units
north,lamp,14
south,lamp,9
north,desk,3
east,chair,22
south,desk,7
north,chair,5"""

lines = text.strip().splitlines()
header = lines[0].split(",")
rows = [dict(zip(header, line.split(","), strict=True)) for line in lines[1:]]
totals = {}
for row in rows:
    key = row["region"]
    totals[key] = totals.get(key, 0) + int(row["units"])
for key in sorted(totals):
    print(key, totals[key])
