"""Donations of a week: day, fund, amount: mon,trees,40 tue,water,25 tue,trees,60 wed,school,100
fri,water,35 sun,trees,5. Which funds reached at least 60?"""

donations = """day,fund,amount
mon,trees,40
tue,water,25
tue,trees,60
wed,school,100
fri,water,35
sun,trees,5"""

lines = donations.strip().splitlines()
labels = lines[0].split(",")
gifts = [dict(zip(labels, line.split(","), strict=True)) for line in lines[1:]]
funds = {}
for gift in gifts:
    fund = gift["fund"]
    funds[fund] = funds.get(fund, 0) + int(gift["amount"])
print(sorted(fund for fund in funds if funds[fund] >= 60))
