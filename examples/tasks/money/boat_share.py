"""Five owners share a boat bought for $31,250.75: first the price is divided to the cent (odd cents to
the earlier owners), then owner 2 sells his part for 12 percent more. What did he get, rounded to the
cent?"""

price = "$31,250.75"
owners = 5


def solution():
    cents = round(float(price.replace("$", "").replace(",", "")) * 100)
    part, left = divmod(cents, owners)
    parts = [part + 1 if owner < left else part for owner in range(owners)]
    sold = parts[1] * 112 / 100
    return round(sold) / 100


print(f"{solution():.2f}")
