"""A boat costs 52,000; 12,000 are paid at once and the rest over 84 months at 6.25 percent a year. What
is paid in all?"""


def monthly_payment(amount, annual, months):
    per_month = annual / 100 / 12
    return amount * per_month / (1 - (1 + per_month) ** -months)


rest = 52000 - 12000
payment = monthly_payment(rest, 6.25, 84)
print(round(payment, 2))
print(round(12000 + payment * 84, 2))
