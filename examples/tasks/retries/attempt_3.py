"""A hall has 18 rows. The first row has 22 seats and each further row has 3 seats more than the one
before. How many seats are there in all?"""

count = 18
current = 22
plus = 3
hall = 0
for _index in range(count):
    hall += current
    current += plus
print(hall)
