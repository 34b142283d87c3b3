"""For a loan of 6,500 at 7.5 percent a year, what are the monthly payments over 12, 24 and 36 months,
and what does each loan cost in interest?"""

loan = 6500
i = 7.5 / 100 / 12
for term in (12, 24, 36):
    per_month = loan * i / (1 - (1 + i) ** -term)
    cost = per_month * term - loan
    print(term, round(per_month, 2), round(cost, 2))
