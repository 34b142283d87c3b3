"""A hall has 18 rows. The first row has 22 seats and each further row has 3 seats more than the one
before. How many seats are there in all?"""

n = 18
first = 22
growth = 3
everything = 0
for _ in range(n):
    everything += first
    first += growth
print(everything)
