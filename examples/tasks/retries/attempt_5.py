"""A hall has 18 rows. The first row has 22 seats and each further row has 3 seats more than the one
before. How many seats are there in all?"""

lines = 18
chairs = 22
more = 3
places = 0
for _line in range(lines):
    places += chairs
    chairs += more
print(places)
