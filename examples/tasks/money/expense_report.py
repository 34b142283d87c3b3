"""Add up these receipts: $1,204.99, $86.00, $7.45, $13.10, $940.53. The trip is split among 4 departments as
equally as cents allow (earlier departments take the odd cents). What does each pay?"""

receipts = ["$1,204.99", "$86.00", "$7.45", "$13.10", "$940.53"]
total = 0
for receipt in receipts:
    total += round(float(receipt.replace("$", "").replace(",", "")) * 100)
departments = 4
share, odd = divmod(total, departments)
payments = [share + 1 if d < odd else share for d in range(departments)]
print(f"total {total / 100:.2f}")
print(" ".join(f"{payment / 100:.2f}" for payment in payments))
