"""A hall has 18 rows. The first row has 22 seats and each further row has 3 seats more than the one
before. How many seats are there in all?"""

rows = 18
seats = 22
step = 3
total = 0
for _row in range(rows):
    total += seats
    seats += step
print(total)
