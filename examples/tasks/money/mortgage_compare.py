"""A couple borrows 240,000 over 25 years. Bank A asks 3.85 percent a year, bank B 3.6 percent plus a
fee of 4,500 paid at once. Which bank is cheaper in all, and by how much?"""


def instalment(loan, yearly_percent, count):
    rate = yearly_percent / 100 / 12
    return loan * rate / (1 - (1 + rate) ** -count)


n = 25 * 12
bank_a = instalment(240000, 3.85, n) * n
bank_b = instalment(240000, 3.6, n) * n + 4500
cheaper = "A" if bank_a < bank_b else "B"
print(cheaper, round(abs(bank_a - bank_b), 2))
