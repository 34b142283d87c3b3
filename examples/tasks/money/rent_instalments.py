"""A yearly rent of $9,999.95 is paid in 12 instalments that differ by at most a cent, larger ones first.
Print the first and the last instalment, and check that they add up."""


def split_cents(total, parts):
    quotient, remainder = divmod(total, parts)
    return [quotient + 1 if i < remainder else quotient for i in range(parts)]


rent = "$9,999.95"
total = round(float(rent.replace("$", "").replace(",", "")) * 100)
instalments = split_cents(total, 12)
print(f"{instalments[0] / 100:.2f} {instalments[-1] / 100:.2f}")
print(sum(instalments) == total)
