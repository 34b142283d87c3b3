"""Seven friends share a bill of $187.40 fairly, to the cent; whoever pays first pays a cent more where it
does not divide. What does each pay?"""

bill = "$187.40"
cents = round(float(bill.replace("$", "").replace(",", "")) * 100)
friends = 7
base, extra = divmod(cents, friends)
shares = [base + 1 if i < extra else base for i in range(friends)]
for share in shares:
    print(f"{share / 100:.2f}")
