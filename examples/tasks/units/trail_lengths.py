"""Three trail signs say "4.2 km", "2600 m" and "1.5 mi" (a mile is 1609.344 m). How long is the walk over
all three, in kilometres with two decimals?"""

metres = {"m": 1.0, "km": 1000.0, "mi": 1609.344}
signs = ["4.2 km", "2600 m", "1.5 mi"]
total = 0.0
for sign in signs:
    value, unit = sign.split()
    total += float(value) * metres[unit]
print(f"{total / 1000:.2f}")
