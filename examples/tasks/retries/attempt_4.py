"""A hall has 18 rows. The first row has 22 seats and each further row has 3 seats more than the one
before. How many seats are there in all?"""

rows = 18
first = 22
last = first + (rows - 1) * 3
print(rows * (first + last) // 2)
