"""A tip jar holds $318.65. It is shared by 9 waiters, as equally as cents allow, and 4 of them worked
double shifts and get two shares. What are the shares, and what does a waiter with two of the largest
shares get?"""

jar = "$318.65"
shares = 9 + 4
coins = round(float(jar.replace("$", "").replace(",", "")) * 100)
small, more = divmod(coins, shares)
pieces = [small + 1 if i < more else small for i in range(shares)]
print(sorted(set(pieces)))
print(f"{2 * max(pieces) / 100:.2f}")
