"""A batch of transfers names "FR14 2004 1010 0505 0001 3M02 606", "ES91 2100 0418 4502 0005 1332" and
"CH93 0076 2011 6238 5295 8". With the first four characters moved to the end and letters as 10 to 35,
each must be 1 modulo 97. Which are wrong?"""

batch = [
    "FR14 2004 1010 0505 0001 3M02 606",
    "ES91 2100 0418 4502 0005 1332",
    "CH93 0076 2011 6238 5295 8",
]
rejected = []
for iban in batch:
    tight = iban.replace(" ", "")
    rotated = tight[4:] + tight[:4]
    big = int("".join(str(int(symbol, 36)) for symbol in rotated))
    if big % 97 != 1:
        rejected.append(iban)
print(rejected if rejected else "none")
