"""A courier's list has depot, weight in kg and parcels: a;12;3 b;7;1 a;5;2 c;30;4 b;9;2. Rank the
depots by the number of parcels, most first, ties by name."""

courier = """depot;kg;parcels
a;12;3
b;7;1
a;5;2
c;30;4
b;9;2"""

rows = courier.strip().splitlines()
titles = rows[0].split(";")
loads = [dict(zip(titles, row.split(";"), strict=True)) for row in rows[1:]]
parcels = {}
for load in loads:
    depot = load["depot"]
    parcels[depot] = parcels.get(depot, 0) + int(load["parcels"])
ranking = sorted(parcels.items(), key=lambda item: (-item[1], item[0]))
for depot, number in ranking:
    print(depot, number)
