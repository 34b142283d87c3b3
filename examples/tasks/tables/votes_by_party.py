"""Votes came in per district: (district, party, votes). Sum them per party and rank the parties, most
votes first, ties by name: d1 red 120, d1 blue 98, d2 red 75, d2 green 48, d3 blue 97, d3 green 155."""

ballot = """district,party,votes
d1,red,120
d1,blue,98
d2,red,75
d2,green,48
d3,blue,97
d3,green,155"""

raw = ballot.strip().splitlines()
head = raw[0].split(",")
table = [dict(zip(head, r.split(","), strict=True)) for r in raw[1:]]
sums = {}
for record in table:
    party = record["party"]
    sums[party] = sums.get(party, 0) + int(record["votes"])
ranking = sorted(sums.items(), key=lambda pair: (-pair[1], pair[0]))
for place, (party, count) in enumerate(ranking, start=1):
    print(place, party, count)
